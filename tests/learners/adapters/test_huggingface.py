"""Encoders of transformers, tiny and untrained: nothing is downloaded."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from metabench import LearnerCard, api
from metabench.errors import MetabenchError
from metabench.learners.adapters.huggingface import HuggingFaceLearner
from metabench.learners.contract import TaskInfo
from metabench.tasks import Shape

CPU = torch.device("cpu")


def info(*shape: int) -> TaskInfo:
    return TaskInfo("classification", shape, 0, Shape(way=3, shot=2, query=4), 5)


class Tiny(HuggingFaceLearner):
    card = LearnerCard("tiny-vit", "transfer", ("classification",))

    def make(self, info: TaskInfo) -> Any:
        transformers = pytest.importorskip("transformers")
        config = transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            image_size=16, patch_size=8,
        )  # fmt: skip
        return transformers.ViTModel(config)


class Mean(Tiny):
    card = LearnerCard("tiny-vit-probe", "transfer", ("classification",))
    head = "linear"
    pooling = "mean"


class Convolutional(HuggingFaceLearner):
    card = LearnerCard("tiny-resnet", "transfer", ("classification",))

    def make(self, info: TaskInfo) -> Any:
        transformers = pytest.importorskip("transformers")
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
        return transformers.ResNetModel(config)


@pytest.mark.parametrize("learner", [Tiny, Mean])
def test_an_encoder_keeps_the_contract(learner: type[HuggingFaceLearner]) -> None:
    pytest.importorskip("transformers")
    report = api.check(learner, "cpu")
    assert report.passed, report.lines()


def test_grey_images_are_what_the_encoder_takes() -> None:
    pytest.importorskip("transformers")
    learner = Tiny()
    learner.setup(info(1, 28, 28), 0, CPU)
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    pixels = learner.pixels(x)
    assert pixels.shape == (3, 3, 16, 16)
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    assert -1 <= float(pixels.min()) < 0 < float(pixels.max()) <= 1
    torch.testing.assert_close(learner.pixels(torch.ones(1, 1, 28, 28)), torch.ones(1, 3, 16, 16))
    output = learner.module(pixel_values=pixels)
    assert torch.equal(learner.embed_items(x), output.pooler_output)
    learner.batch = 2  # type: ignore[misc]
    torch.testing.assert_close(learner.embed_items(x), output.pooler_output)
    learner.pooling = "mean"
    torch.testing.assert_close(learner.embed_items(x), output.last_hidden_state.mean(dim=1))


def test_an_encoder_without_an_image_size_takes_images_as_they_are() -> None:
    pytest.importorskip("transformers")
    learner = Convolutional()
    learner.setup(info(3, 32, 40), 0, CPU)
    x = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    assert learner.pixels(x).shape == x.shape
    own = learner.embed_items(x)
    learner.pooling = "mean"
    torch.testing.assert_close(learner.embed_items(x), own)
    assert own.shape == (2, 16)


def test_channels_that_do_not_fit_are_an_error() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(MetabenchError, match="takes 3 channels, inputs have 4"):
        Tiny().setup(info(4, 28, 28), 0, CPU)


def test_the_extra_is_named_where_transformers_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MetabenchError, match=r"pip install 'metabench\[huggingface\]'"):
        Tiny().setup(info(1, 28, 28), 0, CPU)
