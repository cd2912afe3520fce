"""Gradients inside an inner loop, and their fusion by a compiler.

Two ways to the same numbers: by transforming functions, which ``vmap`` can lift over tasks, and by
recording one task, which costs less where tasks run in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad

from metabench.learners.backbones import Parameters

Loss = Callable[[Parameters], Tensor]


def transformed(loss: Loss, at: Parameters, *, second_order: bool) -> dict[str, Tensor]:
    """The gradient of ``loss`` by torch.func; a constant unless ``second_order``."""
    gradients: dict[str, Tensor] = grad(loss)(at)
    return gradients if second_order else {k: g.detach() for k, g in gradients.items()}


def recorded(loss: Loss, at: Parameters, *, second_order: bool) -> dict[str, Tensor]:
    """The gradient of ``loss`` by autograd; a constant under no_grad or unless ``second_order``."""
    keep = second_order and torch.is_grad_enabled()
    # A view is a variable of its own: a parameter computed from another one counts as independent.
    leaves = {
        k: p.view_as(p) if keep and p.requires_grad else p.detach().requires_grad_()
        for k, p in at.items()
    }
    with torch.enable_grad():
        found = torch.autograd.grad(
            loss(leaves), list(leaves.values()), create_graph=keep, materialize_grads=True
        )
    return dict(zip(leaves, found, strict=True))


class Fused:
    """A function of tensors, compiled at its first call.

    Where that fails, for want of a C++ compiler or of support for an operation, the function runs
    as it is; the numbers agree within the tolerance of the floating-point type. ``threaded`` lets
    several Python threads run it at once, and takes several times as long to compile.
    """

    def __init__(self, function: Callable[..., Any], *, threaded: bool = False) -> None:
        self.function = function
        # Kernels that are called from Python hold its lock while they run; those of a whole graph
        # in C++ don't.
        options: dict[str, Any] | None = {"cpp_wrapper": True} if threaded else None
        self.run: Callable[..., Any] = torch.compile(function, dynamic=False, options=options)

    def __call__(self, *arguments: Any) -> Any:
        """The function's value."""
        try:
            return self.run(*arguments)
        except Exception:  # what a compiler may raise is not documented; a real error comes again
            self.run = self.function
            return self.function(*arguments)
