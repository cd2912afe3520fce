"""Results to look at: ``python -m tests.demo report.html``."""

from __future__ import annotations

import sys
from pathlib import Path

from metabench.records import Condition
from metabench.store import Results
from tests.factories import BAYES, Learner, constant, falling, make_protocol, make_results, merge


def demo(seeds: int = 3, preset: str = "standard") -> Results:
    """Regression with an oracle, classification with a ceiling, and things that went wrong."""
    return merge(_functions(seeds, preset), _glyphs(seeds, preset))


def _functions(seeds: int, preset: str) -> Results:
    bend = {"amplitude": 0.16, "phase": 0.42, "frequency": 0.75, "input-range": 0.3, "noise": 0.1}

    def narrow(start: float, factor: float):  # type: ignore[no-untyped-def]
        return lambda condition, level: start - factor * level * bend.get(condition, 0)

    protocol = make_protocol(
        suite_title="Out of distribution on function families",
        question="Does a learner that was meta-trained on one family of functions still learn "
        "when amplitude, phase, frequency, input range or label noise leave its range?",
        source_title="Sinusoids, 10-shot",
        episode="10 shot, 10 query",
        training="sinusoid (amplitude = (0.1, 5.0), phase = (0, π), inputs = (-5, 5))",
        baselines=["ridge", "nearest-neighbour", "scratch"],
        conditions=[
            Condition(name="amplitude", title="amplitude up to", values=[6, 7, 8, 9, 10]),
            Condition(
                name="phase",
                title="phase beyond π by up to",
                values=[0.2, 0.4, 0.6, 0.8, 1],
                unit="π",
            ),
            Condition(name="frequency", title="frequency", values=[1.25, 1.5, 1.75, 2, 2.25]),
            Condition(name="input-range", title="inputs from 5 up to", values=[6, 7, 8, 9, 10]),
            Condition(name="noise", title="noise on targets, SD", values=[0.1, 0.2, 0.3, 0.4, 0.5]),
        ],
        episodes=100,
    )
    learners = [
        BAYES,
        Learner("ridge", constant(0), "baseline"),
        Learner("nearest-neighbour", constant(-0.35), "baseline"),
        Learner("scratch", falling(-0.8, 0.1), "baseline"),
        Learner("narrow-bayes", narrow(1.0, 1.0), "control"),
        Learner("maml", narrow(0.82, 0.45), "gradient", parameters={"inner_steps": 1}),
        Learner("maml", narrow(0.88, 0.3), "gradient", parameters={"inner_steps": 5}),
        Learner("mann", narrow(0.7, 1.1), "memory"),
        Learner(
            "gpt-zero", constant(0.4), "in-context", status="diverged", failed_seeds=[1],
            error="DivergedError: meta-loss is NaN at step 1,204 (last finite value 3.1e+07)",
        ),
    ]  # fmt: skip
    return make_results(
        learners, seeds=seeds, preset=preset, protocol=protocol, base=4.25, best=0.05,
        suite="ood-functions", source="sinusoid", seed_sd=0.04,
        fingerprint="93d9e1e3aff371d4",
    )  # fmt: skip


def _glyphs(seeds: int, preset: str) -> Results:
    protocol = make_protocol(
        suite_title="Out of distribution on font glyphs",
        question="Does a learner that was meta-trained to tell characters of some scripts apart "
        "do so for scripts it never saw, and for distorted queries?",
        source_title="Glyphs, 5-way 1-shot",
        kind="classification",
        metric="accuracy",
        oracle="declared",
        ceiling=1.0,
        episode="5 way, 1 shot, 5 query",
        training="glyphs (split = train)",
        baselines=["nearest-neighbour", "scratch"],
        conditions=[
            Condition(name="unseen-scripts", title="scripts never seen", values=[]),
            Condition(name="within-script", title="all classes of one script", values=[]),
            Condition(
                name="rotation", title="queries rotated by", values=[15, 30, 45, 60, 90], unit="°"
            ),
            Condition(
                name="noise", title="noise on queries, SD", values=[0.1, 0.2, 0.35, 0.5, 0.8]
            ),
            Condition(name="inversion", title="queries inverted", values=[]),
        ],
        episodes=100,
    )
    hard = {"unseen-scripts": 0.15, "within-script": 0.3, "inversion": 0.6}

    def shifted(start: float, step: float):  # type: ignore[no-untyped-def]
        return lambda condition, level: start - hard.get(condition, step * level)

    learners = [
        Learner("nearest-neighbour", constant(0), "baseline"),
        Learner("scratch", constant(-0.2), "baseline"),
        Learner("protonet", shifted(0.9, 0.19), "metric"),
        Learner("maml", shifted(0.75, 0.24), "gradient"),
        Learner("mann", shifted(0.6, 0.2), "memory"),
        Learner("relation-transductive", shifted(0.93, 0.15), "metric", transductive=True),
        Learner(
            "my_lab:BigModel", constant(0.4), "other", status="failed",
            error="ContractError: predict returned shape (32, 5, 4), expected (32, 25, 5)",
        ),
    ]  # fmt: skip
    return make_results(
        learners, seeds=seeds, preset=preset, protocol=protocol, base=0.55, best=0.0,
        suite="ood-glyphs", source="glyphs", seed_sd=0.03, data={"glyphs": "f00dfeed" * 8},
        fingerprint="5a17bc02d9e14c77",
    )  # fmt: skip


if __name__ == "__main__":
    from metabench.reports import write_report

    preset = sys.argv[3] if len(sys.argv) > 3 else "standard"
    write_report(demo(int(sys.argv[2]) if len(sys.argv) > 2 else 3, preset), Path(sys.argv[1]))
