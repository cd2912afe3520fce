"""MAML on sinusoids at full length, beside the table of Finn et al. 2017 (5-shot, appendix).

    python benchmarks/reproduce/sinusoid_maml.py --seeds 3

Trains one learner for every number of shots and meta-seed with the paper's settings (MLP 40-40,
one inner step of 0.01, 25 tasks a step, Adam at 1e-3, 70,000 meta-iterations), tests each on 600
tasks after 0, 1, 5 and 10 steps, and writes the measured table to results/sinusoid_maml.json.
A learner that was trained for one step may blow up on a task when it takes ten: such tasks
(risk above 100, where predicting zero has 4.25) are counted beside the mean of the others.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import torch

from metabench.learners.contract import TaskInfo, TaskStream
from metabench.learners.gradient.maml import Maml
from metabench.records import Budget
from metabench.rng import Address
from metabench.running.environment import describe
from metabench.running.plan import select_device
from metabench.statistics import t_interval
from metabench.tasks import Shape, sample
from metabench.tasks.sinusoid import Sinusoid
from metabench.training import Checkpoint, train

STEPS = (0, 1, 5, 10)
PUBLISHED = {(5, 1): 0.67, (5, 5): 0.38, (5, 10): 0.35}
TEST_TASKS = 600
DIVERGED = 100.0
RESULTS = Path(__file__).parent / "results" / "sinusoid_maml.json"


def run(
    shot: int, seed: int, iterations: int, device_name: str, folder: Path
) -> dict[int, tuple[float, int]]:
    """Inner steps -> (mean squared error of the tasks that did not diverge, how many did)."""
    torch.set_num_threads(1)
    device = torch.device(device_name)
    shape = Shape(shot=shot, query=shot)
    info = TaskInfo("regression", (1,), 1, shape, 0)
    distribution = Sinusoid()
    base = Address.of("benchmark", "sinusoid-maml", shot)
    learner = Maml()
    learner.setup(info, seed, device)
    budget = Budget(tasks=25 * iterations, steps=iterations, seconds=1e6)
    stream = TaskStream(info, distribution, base.child("meta-train", seed), budget, device)
    checkpoint = Checkpoint(folder / f"{shot}-{seed}-{iterations}.safetensors")
    train(learner, stream, seed, checkpoint)
    test_shape = Shape(shot=shot, query=100)
    test = sample(
        distribution, test_shape, base.child("meta-test", seed), range(TEST_TASKS), device
    )
    measured = {}
    for steps in STEPS:
        learner.steps_at_test = steps
        output = learner.predict(learner.adapt(test.support), test.query).output
        risk = (output - test.query_y).double().square().mean(dim=(1, 2))
        sound = risk < DIVERGED
        measured[steps] = (float(risk[sound].mean()), int((~sound).sum()))
    return measured


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--iterations", type=int, default=70_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/sinusoid-maml"))
    options = parser.parse_args()
    device = select_device(options.device)
    began = time.monotonic()
    jobs = [(shot, seed) for shot in options.shots for seed in range(options.seeds)]
    with ProcessPoolExecutor(options.workers) as pool:
        futures = [
            pool.submit(run, shot, seed, options.iterations, str(device), options.folder)
            for shot, seed in jobs
        ]
        measured = {}
        for (shot, seed), future in zip(jobs, futures, strict=True):
            measured[shot, seed] = future.result()
            spent = time.monotonic() - began
            print(f"{shot}-shot seed {seed}: {measured[shot, seed]} ({spent:.0f} s)", flush=True)
    rows = []
    print(f"\n{'shots':>5} {'steps':>5} {'published':>9}  measured MSE (95 % over seeds)  diverged")
    for shot in options.shots:
        for steps in STEPS:
            values = [measured[shot, seed][steps][0] for seed in range(options.seeds)]
            diverged = [measured[shot, seed][steps][1] for seed in range(options.seeds)]
            interval = t_interval(values)
            published = PUBLISHED.get((shot, steps))
            shown = "—" if published is None else f"{published:.2f}"
            text = interval.text(3)
            print(f"{shot:>5} {steps:>5} {shown:>9}  {text:<30}  {diverged} of {TEST_TASKS}")
            rows.append(
                {
                    "shots": shot,
                    "steps": steps,
                    "published": published,
                    "seeds": values,
                    "diverged_tasks": diverged,
                }
            )
    environment = describe(device)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "command": f"python benchmarks/reproduce/sinusoid_maml.py --seeds {options.seeds}",
                "date": datetime.now(UTC).date().isoformat(),
                "iterations": options.iterations,
                "device": environment.device,
                "torch": environment.torch,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
