"""An image encoder of transformers, weights as drawn; from_pretrained would load real ones."""

from metabench import LearnerCard
from metabench.learners.adapters.huggingface import HuggingFaceLearner


class Learner(HuggingFaceLearner):
    card = LearnerCard("image-encoder", "transfer", ("classification",))
    pooling = "mean"

    def make(self, info):
        from transformers import ViTConfig, ViTModel

        config = ViTConfig(
            image_size=28,
            patch_size=7,
            num_channels=1,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
        )
        return ViTModel(config)
