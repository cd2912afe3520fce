"""Suites: parsing, validation, fingerprints, and what the shipped ones say."""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.errors import MetabenchError
from metabench.evaluation import evaluate
from metabench.learners import LEARNERS
from metabench.measures import Measures
from metabench.predictors import LearnerPredictor, OraclePredictor
from metabench.records import CellKey
from metabench.rng import Address
from metabench.running.plan import plan
from metabench.suite import load_suite, suite_names
from tests.conftest import CPU, TINY

TEXT = (TINY / "suite.toml").read_text()

GOLDEN = {
    "brittleness": (1, "18fa869bc46cbd55"),
    "domains": (1, "df2f77df69f33ea3"),
    "drift": (1, "67d14cde12560f40"),
    "efficiency": (1, "38073d29da326d23"),
    "goodhart": (1, "ae36b937a2e56554"),
    "ood-cifar-fs": (1, "232d456370e0c7b9"),
    "ood-functions": (2, "b87d339f1fade3b8"),
    "ood-glyphs": (2, "a2e4e6e11ede5b08"),
    "ood-omniglot": (2, "001ec8ed8e2395f5"),
    "overfitting": (1, "f87b95ff8789db8b"),
    "sensitivity": (1, "708ab1e717345f04"),
    "transfer": (1, "87055aeac2ece8df"),
    "transfer-images": (1, "f46d520ac04cd0e0"),
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", GOLDEN)
def test_a_shipped_fingerprint_moves_only_with_the_version(name: str) -> None:
    suite = load_suite(name)
    assert (suite.version, suite.fingerprint) == GOLDEN[name]


def test_every_shipped_suite_has_a_golden_fingerprint_a_readme_and_three_presets() -> None:
    assert set(suite_names()) == set(GOLDEN)
    for name in suite_names():
        assert set(load_suite(name).preset) >= {"smoke", "standard", "full"}
        folder = Path(__file__).parents[1] / "suites" / name
        assert (folder / "README.md").stat().st_size > 500


def test_words_do_not_move_the_fingerprint_and_numbers_do(tmp_path: Path) -> None:
    base = load_suite(TINY).fingerprint
    said = TEXT.replace("Does everything work?", "Does it?")
    assert load_suite(written(tmp_path, said)).fingerprint == base
    for old, new in (("levels = [1, 3]", "levels = [1, 4]"), ("shot = 6", "shot = 7")):
        assert load_suite(written(tmp_path, TEXT.replace(old, new))).fingerprint != base


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("question =", "questoin =", "unknown field 'questoin'. Did you mean 'question'"),
        ('shift = "shot"', 'shift = "shots"', "unknown shift 'shots'. Did you mean 'shot'"),
        ('task = "harmonics"', 'task = "harmonic"', "Did you mean 'harmonics'"),
        ('task = "harmonics"', 'task = "harmonics", noize = 1', "Did you mean 'noise'"),
        ('"fourier-ridge"]', '"fourier-rigde"]', "Did you mean 'fourier-ridge'"),
        ("episodes = 70", "epsodes = 70", "preset.smoke: unknown field 'epsodes'"),
        ("shot = 6", "shot = 0", "shot must be at least 1"),
        ("levels = [4, 3]", "levels = [4, 0]", "shot must be at least 1"),
        ("levels = [4, 3]", "levels = []", "levels"),
        ("query = 5", "query = 5, way = 3", "regression"),
        ('oracle = "bayes"', 'oracle = "declared"', "'ceiling' goes with"),
        ("version = 1", 'version = "one"', "version"),
        ("[[source]]", "[[source", "not valid TOML"),
        ("seeds = 1", "seeds = 0", "greater than 0"),
    ],
)
def test_a_mistake_in_a_suite_is_told_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in TEXT
    with pytest.raises(MetabenchError) as caught:
        load_suite(written(tmp_path, TEXT.replace(old, new, 1)))
    assert message in str(caught.value)
    assert "suite.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(MetabenchError, match="Did you mean 'ood-functions'"):
        load_suite("ood-function")


def test_a_narrow_bayes_learner_is_optimal_at_home_and_harmful_outside() -> None:
    """The control of the suite: skill 1 at level 0, below 0 from level 2 on."""
    source = load_suite("ood-functions").source[1]
    points = tuple(p for p in source.points if p.condition in ("in-distribution", "frequency"))

    def risk(predictor: object) -> list[float]:
        rows = evaluate(predictor, points, Address.of("control"), 400, Measures("mse"))  # type: ignore[arg-type]
        return rows.groupby("level")["value"].mean().tolist()

    oracle = risk(OraclePredictor())
    learners = {
        name: risk(LearnerPredictor(LEARNERS.get(name)(), CPU))
        for name in ("narrow-bayes", "fourier-ridge", "ridge", "nearest-neighbour")
    }
    narrow = learners.pop("narrow-bayes")
    base = [min(values) for values in zip(*learners.values(), strict=True)]
    skill = [(b - n) / (b - o) for b, n, o in zip(base, narrow, oracle, strict=True)]
    assert skill[0] == pytest.approx(1.0, abs=1e-6)
    assert 0 < skill[1] < 1
    assert all(s < 0 for s in skill[2:])
    assert all(o <= min(b, n) + 1e-9 for o, b, n in zip(oracle, base, narrow, strict=True))


def test_the_identity_of_a_cell_is_frozen() -> None:
    """Golden: if it moves, finished cells are computed again and records are orphaned."""
    key = CellKey(
        suite="s",
        fingerprint="f",
        preset="smoke",
        source="x",
        learner="maml",
        learner_version="1",
        learner_digest="",
        parameters={"inner_lr": 0.1, "steps": 3},
        seed=0,
        data={"glyphs": "abc"},
    )
    assert key.id == "d8d329f5a75fbe53dea0"
    assert key.model_copy(update={"seed": 1}).id != key.id


def test_a_source_may_declare_a_ceiling_in_place_of_the_oracle(tmp_path: Path) -> None:
    text = TEXT.replace("[[source]]\n", "[[source]]\nceiling = 0.5\n", 1)
    suite = load_suite(written(tmp_path, text))
    protocol = suite.protocol(suite.source[0], "smoke")
    assert (protocol.oracle, protocol.ceiling) == ("declared", 0.5)
    oracles = [c for c in plan(["maml"], [suite], "smoke") if c.learner is None]
    assert len(oracles) == len(suite.source) - 1
