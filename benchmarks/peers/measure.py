"""Measures metabench beside learn2learn, EasyFSL, Torchmeta and higher, all in one process.

    python benchmarks/peers/measure.py                    # one thread, everything but the sweep
    python benchmarks/peers/measure.py --threads 2        # each side at its better of one and two
    python benchmarks/peers/measure.py --device cuda --sweep

The two sides of a line take turns, round by round. Before a line is timed, both are shown to
compute the same in float64; a line on which they differ is marked, and the exit status is 1. The
result is merged by workload into results/<device>.json, from which docs/speed.md is rendered.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from datetime import UTC, datetime

import torch
from device import sweep
from libraries import PEERS, version
from measured import RESULTS, Conditions, Measured, Results, line
from overhead import memory, sampling_shares
from speed_page import write_page
from timing import Settings, load, tune_allocator

from metabench.errors import MetabenchError
from metabench.running.environment import describe
from metabench.running.plan import select_device

WORKLOADS = {
    "W1": "maml_sinusoid",
    "W2": "maml_conv4",
    "W3": "protonet_training",
    "W4": "episode_sampling",
    "W5": "evaluation_speed",
}


def main() -> int:
    """Measure, print, write the results and render the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2))
    parser.add_argument("--tuned-allocator", action="store_true", help="mallopt, for both sides")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--episodes", type=int, default=400, help="of W5, in all")
    parser.add_argument("--only", default=",".join((*WORKLOADS, "overhead")))
    parser.add_argument("--sweep", action="store_true", help="tasks a batch")
    given = parser.parse_args()

    # Before the first large allocation.
    tuned = given.tuned_allocator and tune_allocator()
    try:
        device = select_device(given.device)
    except MetabenchError as error:
        parser.error(str(error))
    threads = tuple(range(1, given.threads + 1))
    torch.set_num_threads(1)
    settings = Settings(device, threads, given.rounds, given.episodes)

    busy = load()
    if not busy.quiet:
        print(f"warning: the machine is not idle: load {busy.average}, {', '.join(busy.busy)}")
    peers = {name: version(name) for name in PEERS}
    print(", ".join(f"{name} {v or 'not installed'}" for name, v in peers.items()))
    conditions = Conditions(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "benchmarks/peers/measure.py", *sys.argv[1:]]),
        environment=describe(device),
        peers=peers,
        threads=threads,
        tuned_allocator=tuned,
        load=busy,
    )

    path = RESULTS / f"{device.type}.json"
    names = given.only.split(",") + ["sweep"] * given.sweep
    good = True
    for name in names:
        found = Measured(conditions=conditions)
        if name in WORKLOADS:
            for row in importlib.import_module(WORKLOADS[name]).rows(settings):
                print(f"{name} | {line(row)}", flush=True)
                found.rows.append(row)
                good &= row.same
        elif name == "overhead":
            for share in sampling_shares(settings):
                print(f"sampling | {share.work} | {share.share:.1%} of {share.step:.4g} s")
                found.shares.append(share)
            for peak in memory():
                print(f"memory | {peak.learner} | {peak.growth:+.1f} MiB")
                found.memory.append(peak)
        elif name == "sweep":
            for use in sweep(settings):
                print(f"sweep | {use.work} | {use.tasks} | {use.tasks_per_second:.4g} tasks/s")
                found.uses.append(use)
        else:
            parser.error(f"--only: {name!r} is none of {', '.join((*WORKLOADS, 'overhead'))}")
        results = Results.read(path)
        results.measured[name] = found
        results.write(path)
    write_page()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
