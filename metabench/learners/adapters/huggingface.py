"""An image encoder of transformers as a learner."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.errors import MetabenchError
from metabench.learners.adapters.embedding import EmbeddingLearner
from metabench.learners.contract import TaskInfo


class HuggingFaceLearner(EmbeddingLearner):
    """Subclass it: ``card``, and ``make`` that returns an encoder of images (ViTModel, AutoModel).

    Inputs [N, C, H, W] in 0..1 are resized to the ``image_size`` of the encoder's configuration, if
    it has one, grey ones repeated to its ``num_channels``, then brought to ``mean`` and ``std``;
    vectors are pictures one pixel high. ``pooling`` is the encoder's own (``pooler_output``) or the
    mean of ``last_hidden_state``, which is also for encoders without a pooler. Nothing is
    downloaded unless ``make`` does; ``head`` is as in EmbeddingLearner.
    """

    pooling: Literal["own", "mean"] = "own"
    mean: ClassVar[tuple[float, ...]] = (0.5,)
    std: ClassVar[tuple[float, ...]] = (0.5,)
    """One value a channel, or one for all: ViT's; look into the encoder's image processor."""
    batch: ClassVar[int] = 256
    """Images that are encoded at once, at most."""

    def make(self, info: TaskInfo) -> Any:
        """The encoder, on the CPU, as from ``from_pretrained`` or from a configuration."""
        raise NotImplementedError

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Make it; MetabenchError where transformers is missing or it is no encoder of images."""
        import_transformers()
        super().setup(info, seed, device)
        name = type(self.module).__name__
        if getattr(self.module, "main_input_name", "pixel_values") != "pixel_values":
            raise MetabenchError(f"{name} does not encode images (pixel_values)")
        config: Any = getattr(self.module, "config", None)
        self.channels = int(getattr(config, "num_channels", 3))
        side = getattr(config, "image_size", None)
        self.size = (side, side) if isinstance(side, int) else side and tuple(side)
        found = info.input_shape[0] if len(info.input_shape) == 3 else 1
        if found not in (1, self.channels):
            raise MetabenchError(f"{name} takes {self.channels} channels, inputs have {found}")

    def pixels(self, x: Tensor) -> Tensor:
        """Inputs [N, *X] -> what the encoder takes [N, C, H, W]."""
        if x.ndim != 4:
            x = x.flatten(1)[:, None, None]
        if self.size is not None and x.shape[2:] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        x = x.expand(-1, self.channels, -1, -1)
        mean, std = (x.new_tensor(v).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return (x - mean) / std

    def embed_items(self, x: Tensor) -> Tensor:
        """Inputs [N, *X] -> embeddings [N, F]."""
        return torch.cat([self._encoded(part) for part in x.split(self.batch)])

    def _encoded(self, x: Tensor) -> Tensor:
        output = self.module(pixel_values=self.pixels(x))
        pooled = getattr(output, "pooler_output", None)
        if self.pooling == "own" and pooled is not None:
            z: Tensor = pooled.flatten(1)
            return z
        hidden: Tensor = output.last_hidden_state  # [N, L, F], of convolutions [N, F, H, W]
        return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)


def import_transformers() -> Any:
    """The package; raises MetabenchError naming the extra where it is not installed."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MetabenchError(
            f"an encoder of transformers needs it: pip install 'metabench[huggingface]' ({error})"
        ) from None
