"""A backbone with a linear head and the loss of one task: what an inner loop adapts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.learners.backbones import Backbone, Parameters, Statistics, dense
from metabench.learners.contract import TaskInfo

ABSENT = -1e4
"""Logit of a class that a task does not have; finite, so that second derivatives stay finite."""


@dataclass(frozen=True)
class Network:
    """Maps inputs [N, *X] of one task to logits [N, W] or outputs [N, D]."""

    backbone: Backbone
    info: TaskInfo
    std: float | None = None

    @property
    def outputs(self) -> int:
        """W or D."""
        if self.info.kind == "classification":
            return self.info.max_way
        return self.info.output_dim

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters of backbone and head."""
        parameters = self.backbone.init(generator)
        dense(parameters, "head", self.backbone.features, self.outputs, generator, self.std)
        return parameters

    def forward(
        self,
        parameters: Parameters,
        x: Tensor,
        statistics: Statistics | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Outputs and the normalisation statistics used (those of x if none are given)."""
        features, used = self.backbone(parameters, x, statistics, mask)
        return F.linear(features, parameters["head.weight"], parameters["head.bias"]), used

    def loss(
        self,
        parameters: Parameters,
        x: Tensor,
        y: Tensor,
        mask: Tensor | None,
        way: Tensor,
        statistics: Statistics | None = None,
    ) -> tuple[Tensor, Statistics]:
        """Mean loss over the items where ``mask`` holds, or over all, and the statistics used."""
        output, used = self.forward(parameters, x, statistics, mask)
        return item_loss(output, y, mask, way), used


def item_loss(output: Tensor, y: Tensor, mask: Tensor | None, way: Tensor) -> Tensor:
    """Cross-entropy over the task's classes, or squared error averaged over D; mean over items.

    output [N, W] or [N, D]; y [N] or [N, D]; mask [N], None for all; way []. A mean, not a sum: a
    support set given twice takes the same inner step.
    """
    if y.dtype == torch.int64:
        absent = torch.arange(output.shape[-1], device=output.device) >= way
        each = F.cross_entropy(output.masked_fill(absent, ABSENT), y, reduction="none")
    else:
        each = (output - y).square().mean(dim=-1)
    if mask is None:
        return each.mean()
    weight = mask.to(each.dtype)
    return (each * weight).sum() / weight.sum().clamp_min(1.0)
