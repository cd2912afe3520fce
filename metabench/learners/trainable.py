"""What learners share that meta-train by an optimiser on a dictionary of parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metabench.errors import MetabenchError
from metabench.learners.contract import MetaLearner, State, StepLog


class Trainable(MetaLearner[State]):
    """Holds ``parameters`` (trained), ``buffers`` (not trained) and the optimiser.

    ``state_dict`` has all three, so that an interrupted training resumes with the same bits.
    """

    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    optimiser: torch.optim.Optimizer

    def hold(
        self,
        parameters: Mapping[str, Tensor],
        device: torch.device,
        lr: float,
        buffers: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Take fresh parameters and set up the optimiser."""
        self.parameters = {k: p.to(device).requires_grad_() for k, p in parameters.items()}
        self.buffers = {k: b.to(device) for k, b in (buffers or {}).items()}
        self.optimiser = self.make_optimiser(list(self.parameters.values()), lr)

    def make_optimiser(self, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """Adam; a learner whose paper uses another one overrides this."""
        return torch.optim.Adam(parameters, lr=lr, fused=True)

    def set_rate(self, lr: float) -> None:
        """The optimiser's rate from the next step on."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def update(
        self,
        loss: Tensor,
        gradients: Mapping[str, Tensor] | None = None,
        clip: float | None = None,
    ) -> StepLog:
        """One step on the loss, or on gradients already computed, at most ``clip`` long."""
        self.optimiser.zero_grad()
        if gradients is None:
            loss.backward()
        else:
            for name, parameter in self.parameters.items():
                parameter.grad = gradients[name]
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), clip)
        self.optimiser.step()
        return StepLog(loss.detach())

    @property
    def frozen(self) -> dict[str, Tensor]:
        """The parameters, detached: what adapting and predicting use."""
        return {name: p.detach() for name, p in self.parameters.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters, buffers and the optimiser's moments, by path."""
        state = {f"parameters/{k}": p.detach().clone() for k, p in self.parameters.items()}
        state |= {f"buffers/{k}": b.clone() for k, b in self.buffers.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                if value is None:
                    continue  # momentum that is switched off
                state[f"optimiser/{name}/{key}"] = value.clone()
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy a state in; raises MetabenchError if it belongs to another architecture."""
        for name, target in (*self._targets("parameters"), *self._targets("buffers")):
            if name not in state or state[name].shape != target.shape:
                found = list(state[name].shape) if name in state else "nothing"
                raise MetabenchError(
                    f"checkpoint: {name}: expected {list(target.shape)}, found {found}"
                )
            target.data.copy_(state[name])
        for name, parameter in self.parameters.items():
            prefix = f"optimiser/{name}/"
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            if own:
                # Moments lie beside the parameter, the step count only in a fused optimiser.
                fused = self.optimiser.defaults.get("fused")
                self.optimiser.state[parameter] = {
                    k: v.clone() if k == "step" and not fused else v.to(parameter.device, copy=True)
                    for k, v in own.items()
                }

    def _targets(self, group: str) -> list[tuple[str, Tensor]]:
        return [(f"{group}/{k}", t) for k, t in getattr(self, group).items()]
