"""The copy task of neural Turing machines (Graves et al. 2014, section 4.1).

    python benchmarks/reproduce/ntm_copy.py --only batch-1 --seeds 3

A sequence of up to 20 random bytes is shown, then a delimiter, then the machine writes it down
without further input. Tested also on sequences longer than any in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from common import Figure, Job, Score, Scores, Table, reproduce
from torch import Tensor
from torch.nn import functional as F

from metabench.episodes import Episodes, Kind, Query, Support
from metabench.learners.contract import MetaLearner, StepLog, TaskStream
from metabench.learners.memory.ntm_cell import NtmCell
from metabench.learners.trainable import Trainable
from metabench.rng import Address, BlockDraws, Plan
from metabench.tasks import Shape, TaskDistribution, sample

BITS = 8
LONGEST = 20
CLIP = 10.0
LENGTHS = (10, 20, 30, 40, 60, 120)
TEST_SEQUENCES = 500
BATCH = 100


class Copying(TaskDistribution):
    """A task is a sequence: its vectors are the support set, their recall in order the query."""

    kind: ClassVar[Kind] = "regression"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "sequences of random bits to be repeated"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The bits of one vector."""
        return (BITS,)

    @property
    def output_dim(self) -> int:
        """As many."""
        return BITS

    def plan(self, draws: BlockDraws, shape: Shape) -> Plan:
        """Bits [B, length, 8]; ``shape`` has the length as shot and as query."""
        return {"bits": draws("bits").integers(0, 2, (draws.size, shape.query, BITS))}

    def realise(self, plan: Plan, shape: Shape, device: torch.device) -> Episodes:
        """The sequence; nothing is shown while it is recalled."""
        bits = torch.from_numpy(plan["bits"]).float()
        mask = torch.ones(bits.shape[:2], dtype=torch.bool)
        way = torch.zeros(len(bits), dtype=torch.int64)
        query = Query(torch.zeros_like(bits), mask)
        return Episodes(Support(bits, bits, mask, way), query, bits)


class Copier(Trainable[Tensor]):
    """The machine with the paper's controller and memory, trained by RMSProp."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.cell = NtmCell(inputs=BITS + 1, outputs=BITS)

    def make_optimiser(self, parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """RMSProp with momentum."""
        return torch.optim.RMSprop(parameters, lr=lr, alpha=0.95, momentum=0.9)

    def recalled(self, parameters: dict[str, Tensor], bits: Tensor) -> Tensor:
        """Logits [N, L, 8] of a sequence of bits [N, L, 8], written after its delimiter."""
        n, length, _ = bits.shape
        x = bits.new_zeros(n, 2 * length + 1, BITS + 1)
        x[:, :length, :BITS] = bits
        x[:, length, BITS] = 1.0
        return self.cell.run(parameters, x)[:, length + 1 :]

    def meta_fit(self, tasks: TaskStream, seed: int) -> Iterator[StepLog]:
        """A batch of sequences of one random length a step; gradients are clipped one by one."""
        while True:
            draws = tasks.generator()
            length = int(torch.randint(1, LONGEST + 1, (), generator=draws))
            bits = tasks.next(self.batch, shot=length, query=length).query_y
            logits = self.recalled(self.parameters, bits)
            loss = F.binary_cross_entropy_with_logits(logits, bits)
            found = torch.autograd.grad(loss, list(self.parameters.values()))
            clipped = [g.clamp(-CLIP, CLIP) for g in found]
            yield self.update(loss, dict(zip(self.parameters, clipped, strict=True)))


@dataclass(frozen=True)
class CopyJob(Job):
    """Trains a machine on the raw sequences, not as a few-shot learner."""

    def fresh(self, seed: int, device: torch.device) -> Copier:
        """The machine before training."""
        batch = self.parameters["batch"]
        assert isinstance(batch, int)
        copier = Copier(batch)
        generator = Address.of("ntm-copy", "init", seed).torch_generator()
        copier.hold(copier.cell.init(generator), device, lr=1e-4)
        return copier


def setting(length: int, what: str) -> str:
    """``length 20, bits``."""
    return f"length {length}, {what}"


def score(job: Job, learner: MetaLearner[Any], seed: int, device: torch.device) -> Scores:
    """Percentage of bits, and of sequences, that came back wrong."""
    assert isinstance(learner, Copier)
    measured = {}
    for length in LENGTHS:
        wrong = []
        for start in range(0, TEST_SEQUENCES, BATCH):
            indices = range(start, start + BATCH)
            shape, address = Shape(shot=length, query=length), job.address("test", length, seed)
            bits = sample(job.source, shape, address, indices, device).query_y
            with torch.no_grad():
                wrong.append((learner.recalled(learner.frozen, bits) > 0) != (bits > 0.5))
        errors = torch.cat(wrong).double()
        name = f"ntm, {job.name}"
        measured[name, setting(length, "bits")] = Score(value=100 * float(errors.mean()))
        sequences = errors.flatten(1).amax(dim=1)
        measured[name, setting(length, "sequences")] = Score(value=100 * float(sequences.mean()))
    return measured


def job(batch: int, iterations: int) -> CopyJob:
    """So many sequences a step."""
    shape = Shape(shot=(1, LONGEST), query=LONGEST)
    return CopyJob(f"batch-{batch}", "ntm", Copying(), shape, iterations, {"batch": batch})


JOBS = (job(1, 50_000), job(16, 7_000))

TABLE = Table(
    name="ntm_copy",
    title="Copy task, neural Turing machine",
    unit="bits and sequences that came back wrong, %",
    digits=2,
    test=f"{TEST_SEQUENCES} sequences a length",
    notes=(
        "LSTM controller of 100, memory 128 x 20, one read and one write head, training lengths 1 "
        "to 20, RMSProp at 1e-4 (decay 0.95, momentum 0.9), gradients clipped to ±10, as in "
        "loudinthecloud/pytorch-ntm [R]: batch 1, at most 50,000 batches. *batch-16* is the same "
        "with 16 sequences of one length a step and fewer steps, for a CPU. Guessing scores 50 % "
        "of the bits. The papers show errors in figures only; Collier and Beel 2018 report that a "
        "machine trained to 20 degrades after item 36 of 40 [R]."
    ),
    figures=tuple(
        Figure(
            f"ntm, {one.name}",
            setting(length, what),
            one.name,
            gate=("at most", 1.0) if length <= LONGEST and what == "bits" else None,
        )
        for one in JOBS
        for what in ("bits", "sequences")
        for length in LENGTHS
    ),
    jobs=JOBS,
    score=score,
)

if __name__ == "__main__":
    reproduce(TABLE)
