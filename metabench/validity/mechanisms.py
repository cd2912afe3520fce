"""Known groups of the probes that the matrix on harmonic series does not reach.

Each has a suite of its own in ``mechanisms/``, with the tasks on which its fault can show.
"""

from __future__ import annotations

from pathlib import Path

import torch

from metabench.learners.contract import LearnerCard, TaskInfo
from metabench.learners.controls.harmonic import SeedExploiter
from metabench.rng import Address
from metabench.suite import load_suite
from metabench.tasks import sample
from metabench.validity.known_groups import BROKEN, HEALTHY, PRESET, Group

FOLDER = Path(__file__).parent / "mechanisms"
PUBLIC = FOLDER / "public-episodes.toml"


class Thief(SeedExploiter):
    """Draws the public episodes of its seed for itself: all that it takes is the suite's file."""

    card = LearnerCard("thief", "control", ("regression",), citation=SeedExploiter.card.citation)

    def setup(self, info: TaskInfo, seed: int, device: torch.device) -> None:
        """Steal."""
        suite = load_suite(PUBLIC)
        (source,) = suite.source
        base = Address.of("metabench", suite.fingerprint, source.name)
        episodes = range(suite.get_preset(PRESET).episodes)
        self.steal(sample(source.train, source.episode, base.child("meta-test", seed), episodes))


RIDGE, PIXELS = ("fourier-ridge",), ("nearest-neighbour",)


def _suite(name: str) -> Path:
    return FOLDER / f"{name}.toml"


MECHANISMS = (
    Group(
        "public episodes",
        PUBLIC,
        HEALTHY[:1],
        (Thief,),
        {"public-gap": ("thief",)},
    ),
    Group(
        "over-optimisation",
        _suite("over-optimisation"),
        ("scholar",),
        ("crammer",),
        {"turnover": ("crammer",)},
        most=60,
    ),
    Group(
        "starting points",
        _suite("starting-points"),
        ("prior-start",),
        ("init-encoder", "overshooter"),
        {"ei": ("init-encoder",), "nar": ("overshooter",)},
        most=200,
    ),
    Group(
        "drift",
        _suite("drift"),
        ("narrow-bayes", "forgetting-bayes"),
        ("sleeper",),
        {"drift-early 0.03": ("sleeper",)},
        RIDGE,
        most=60,
    ),
    Group(
        "labels",
        _suite("labels"),
        ("noise-features",),
        ("fixed-label-map", "position-cheat", "constant-score"),
        {"lpc": ("fixed-label-map", "position-cheat", "constant-score")},
        PIXELS,
        most=60,
    ),
    Group(
        "planted cue",
        _suite("planted-cue"),
        ("noise-features",),
        ("cue-reader", "position-cheat"),
        {"cue-gap": ("cue-reader",)},
        PIXELS,
        most=60,
    ),
    Group(
        "shots",
        _suite("shots"),
        ("narrow-bayes",),
        ("support-ignorer",),
        {f"der {shots}": ("support-ignorer",) for shots in (1, 8, 16)},
        most=60,
    ),
    Group(
        "shots of glyphs",
        _suite("shots-glyphs"),
        (),
        ("noise-features",),
        {f"der {shots}": ("noise-features",) for shots in (1, 8)},
    ),
    Group(
        "settings",
        _suite("settings"),
        ("normalised-descent", "idle-knob"),
        ("edge-of-stability",),
        {"failed-settings": ("edge-of-stability",)},
        most=60,
    ),
)
"""What is broken, and which probe must say so."""
NOTHING = Group(
    "nothing happens",
    _suite("again"),
    (*HEALTHY[:1], *BROKEN),
    baselines=RIDGE,
    most=60,
    null=True,
)
"""Fresh episodes in place of a shift, and fresh tasks in place of seen ones."""
