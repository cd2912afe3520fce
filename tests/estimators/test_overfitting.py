"""Meta-overfitting: every estimator by hand, and how often its flag is a false alarm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabench.estimators import ESTIMATORS, Panel, probe_table
from metabench.estimators.overfitting import (
    d_index,
    initial_encoding,
    memorization_gap,
    negative_adaptation,
    permutation_consistency,
    support_dependence,
    zero_shot_leak,
)
from metabench.records import IN_DISTRIBUTION, ORACLE, Probe
from metabench.statistics import t_interval
from tests.estimators.tables import panel_of, role, rows, value_of

Array = NDArray[np.float64]

ROLES = {
    name: role(name)
    for name in (
        "other-support",
        "label-permutation",
        "shuffled-labels",
        "empty-support",
        "seen-tasks",
        "no-adaptation",
        "no-adaptation-seen",
    )
}
GUESSING = {
    "kind": "classification",
    "metric": "accuracy",
    "oracle": "declared",
    "ceiling": 0.9,
    "episode": "5-way, 1 shot, 15 query a class",
}


def at(name: str) -> str:
    return ROLES[name].name


def panel(*parts: pd.DataFrame, **protocol: object) -> Panel:
    return panel_of(*parts, conditions=list(ROLES.values()), **protocol)


def risks(label: str, home: float, **there: float) -> list[pd.DataFrame]:
    """Two episodes with that mean risk, in distribution and at each role."""
    wanted = {IN_DISTRIBUTION: home} | {at(k.replace("_", "-")): v for k, v in there.items()}
    return [rows(label, name, [risk - 0.01, risk + 0.01]) for name, risk in wanted.items()]


def accuracies(label: str, home: float, **there: float) -> list[pd.DataFrame]:
    wanted = {IN_DISTRIBUTION: home} | {at(k.replace("_", "-")): v for k, v in there.items()}
    return [rows(label, name, [share], metric="accuracy") for name, share in wanted.items()]


def test_support_dependence_is_the_share_of_the_oracles_rise() -> None:
    table = support_dependence(
        panel(
            *risks(ORACLE, 0.1, other_support=1.7),
            *risks("maml", 0.2, other_support=0.6),
            *risks("ignorer", 0.9, other_support=0.9),
        )
    )
    assert value_of(table, "maml") == pytest.approx(0.4 / 1.6)
    assert value_of(table, "ignorer") == pytest.approx(0)
    assert value_of(table, ORACLE) == pytest.approx(1)


def test_with_a_ceiling_another_tasks_support_is_worth_a_guess() -> None:
    table = support_dependence(panel(*accuracies("maml", 0.8, other_support=0.45), **GUESSING))
    # Guessing among five errs in 0.8, the ceiling in 0.1.
    assert value_of(table, "maml") == pytest.approx(0.35 / 0.7)


def test_support_dependence_is_undefined_where_the_oracle_hardly_needs_it() -> None:
    parts = [*risks(ORACLE, 0.1, other_support=0.14), *risks("maml", 0.1, other_support=0.2)]
    assert np.isnan(value_of(support_dependence(panel(*parts)), "maml"))


def test_consistency_is_agreement_beyond_that_of_guesses() -> None:
    def agreeing(label: str, *shares: float) -> pd.DataFrame:
        return rows(label, at("label-permutation"), shares, metric="agreement")

    parts = [agreeing("protonet", 1, 1), agreeing("map", 0, 0), agreeing("maml", 0.2, 0.9)]
    table = permutation_consistency(panel(*parts, **GUESSING))
    assert value_of(table, "protonet") == pytest.approx(1)
    assert value_of(table, "map") == pytest.approx(-1 / 4)
    assert value_of(table, "maml") == pytest.approx((0.55 - 0.2) / 0.8)
    guess = permutation_consistency(panel(agreeing("g", 0.2), **GUESSING))
    assert value_of(guess, "g") == pytest.approx(0)
    varying = GUESSING | {"episode": "(2, 5)-way, 1 shot, 15 query a class"}
    assert np.isnan(value_of(permutation_consistency(panel(*parts, **varying)), "maml"))


def test_the_memorization_gap_is_a_share_of_what_there_is_to_gain() -> None:
    parts = [*risks("ridge", 0.9), *risks(ORACLE, 0.1)]
    parts += [*risks("maml", 0.6, seen_tasks=0.2), *risks("fresh", 0.6, seen_tasks=0.6)]
    table = memorization_gap(panel(*parts))
    assert value_of(table, "maml") == pytest.approx(0.4 / 0.8)
    assert value_of(table, "fresh") == pytest.approx(0)
    assert (table["condition"] == at("seen-tasks")).all()
    close = [*risks("ridge", 0.14), *risks(ORACLE, 0.1), *risks("maml", 0.2, seen_tasks=0.1)]
    assert np.isnan(value_of(memorization_gap(panel(*close)), "maml"))


def distances(label: str, bayes: float, discrete: float, apart: float) -> list[pd.DataFrame]:
    numbers = {
        "distance-bayes": bayes,
        "distance-dmmse": discrete,
        "distance-bayes-dmmse": apart,
        "mse": 0.5,
    }
    return [rows(label, IN_DISTRIBUTION, [v, v], metric=m) for m, v in numbers.items()]


def test_the_d_index_is_one_for_the_memorizer_and_minus_one_for_the_learner() -> None:
    parts = [*distances("memorizer", 0.4, 0, 0.4), *distances("learner", 0, 0.4, 0.4)]
    table = d_index(panel(*parts, *distances("both", 0.3, 0.1, 0.4)))
    assert value_of(table, "memorizer") == pytest.approx(1)
    assert value_of(table, "learner") == pytest.approx(-1)
    assert value_of(table, "both") == pytest.approx(0.5)
    assert np.isnan(value_of(d_index(panel(*distances("same", 0.1, 0.1, 0))), "same"))
    assert d_index(panel(*risks("maml", 0.5))).empty


@given(st.floats(-1, 2), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_between_the_two_predictors_the_d_index_is_linear(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bayes, discrete = rng.normal(size=(2, 6, 10))
    own = bayes + share * (discrete - bayes)

    def squares(a: Array, b: Array) -> Array:
        return np.asarray(((a - b) ** 2).mean(axis=1))

    found = d_index(
        panel(
            rows("f", IN_DISTRIBUTION, squares(own, bayes), metric="distance-bayes"),
            rows("f", IN_DISTRIBUTION, squares(own, discrete), metric="distance-dmmse"),
            rows("f", IN_DISTRIBUTION, squares(bayes, discrete), metric="distance-bayes-dmmse"),
        )
    )
    assert value_of(found, "f") == pytest.approx(2 * share - 1)


def by_halves(label: str, condition: str, a: list[float], b: list[float]) -> list[pd.DataFrame]:
    return [rows(label, condition, v, metric=m) for m, v in (("half-a", a), ("half-b", b))]


BEFORE = by_halves("maml", at("no-adaptation"), [0.5] * 5, [0.5] * 5)
AFTER = by_halves("maml", IN_DISTRIBUTION, [0.6, 0.6, 0.4, 0.5, 0.1], [0.7, 0.4, 0.3, 0.9, 0.1])


def test_adaptation_is_negative_where_both_halves_of_the_queries_say_so() -> None:
    table = negative_adaptation(panel(*BEFORE, *AFTER))
    # Worse in both: episode 0. Episode 1 in one half only, episode 3 draws in one.
    assert value_of(table, "maml", condition=at("no-adaptation")) == pytest.approx(1 / 5)
    # Of accuracies, the lower is the worse: episodes 2 and 4.
    turned = negative_adaptation(panel(*BEFORE, *AFTER, **GUESSING))
    assert value_of(turned, "maml") == pytest.approx(2 / 5)


def test_an_episode_without_its_other_half_does_not_count() -> None:
    lacking = [*BEFORE, AFTER[0], AFTER[1].iloc[:4]]
    assert value_of(negative_adaptation(panel(*lacking)), "maml") == pytest.approx(1 / 4)
    assert negative_adaptation(panel(*BEFORE)).empty
    frozen = by_halves("maml", IN_DISTRIBUTION, [0.5] * 5, [0.5] * 5)
    assert value_of(negative_adaptation(panel(*BEFORE, *frozen)), "maml") == 0


START = [*risks("ridge", 0.5), *risks(ORACLE, 0.1, no_adaptation=0.9)]
"""Without support the risk is 0.9 at best; the support is worth 0.8."""


def test_a_leak_is_skill_without_support() -> None:
    parts = [*START, *risks("maml", 0.3, empty_support=0.5, shuffled_labels=0.6)]
    table = zero_shot_leak(panel(*parts, *risks("cnp", 0.3, empty_support=0.9)))
    assert value_of(table, "maml") == pytest.approx(0.5)
    assert value_of(table, "cnp") == pytest.approx(0)
    # Shuffled targets still tell their mean and spread.
    assert set(table["condition"]) == {at("empty-support")}


def test_in_classification_without_support_one_guesses() -> None:
    found = zero_shot_leak(
        panel(*accuracies("maml", 0.8, empty_support=0.2, shuffled_labels=0.34), **GUESSING)
    )
    assert value_of(found, "maml", condition=at("empty-support")) == pytest.approx(0)
    assert value_of(found, "maml", condition=at("shuffled-labels")) == pytest.approx(0.14 / 0.7)


def test_the_initialisation_holds_what_seen_tasks_gain_before_adaptation() -> None:
    parts = [*risks("maml", 0.3, no_adaptation_seen=0.7), *risks("bad", 3, no_adaptation_seen=2.5)]
    table = initial_encoding(panel(*START, *parts))
    assert value_of(table, "maml") == pytest.approx(0.2 / 0.8)
    assert value_of(table, "bad") == pytest.approx(-1.6 / 0.8)
    unknown = [*risks(ORACLE, 0.1), *risks("maml", 0.3, no_adaptation_seen=0.7)]
    assert np.isnan(value_of(initial_encoding(panel(*unknown)), "maml"))


FINITE = st.floats(0.1, 3)


@given(FINITE, FINITE, FINITE, st.integers(1, 50), st.integers(-5, 5))
@settings(max_examples=10, deadline=None)
def test_shares_have_no_unit_and_no_origin(
    home: float, there: float, start: float, scale: int, offset: int
) -> None:
    def found(scale: float, offset: float) -> list[float]:
        def risk(value: float) -> float:
            return scale * value + offset

        whole = panel(
            *risks("ridge", risk(0.8)),
            *risks(ORACLE, risk(0.1), other_support=risk(1.5), no_adaptation=risk(0.9)),
            *risks(
                "f",
                risk(home),
                other_support=risk(there),
                seen_tasks=risk(there),
                empty_support=risk(start),
                no_adaptation_seen=risk(start),
            ),
        )
        names = ("sdi", "gap", "zero-shot-leak", "ei")
        return [value_of(ESTIMATORS.get(n).compute(whole), "f") for n in names]

    assert found(scale, offset) == pytest.approx(found(1, 0), abs=1e-6)


RUNS, EPISODES = 1000, 8


def normal(
    rng: np.random.Generator, mean: float | Array, seeds: int, sd: float = 0.3, own: float = 0.0
) -> Array:
    """Risks [RUNS * seeds, EPISODES] about the mean of each seed."""
    about = np.broadcast_to(mean, RUNS * seeds) + own * rng.normal(size=RUNS * seeds)
    return np.asarray(about[:, None] + sd * rng.normal(size=(RUNS * seeds, EPISODES)))


def learners(seeds: int) -> tuple[list[str], list[int]]:
    """RUNS learners with seeds of their own each: independent replicates in one panel."""
    return [f"f{i // seeds}" for i in range(RUNS * seeds)], list(range(RUNS * seeds))


def frame(
    condition: str, seeds: int, values: Array, label: str | None = None, metric: str = "mse"
) -> pd.DataFrame:
    names, numbers = learners(seeds)
    name = names if label is None else label
    return rows(name, condition, values, seed=numbers, metric=metric)


def sdi_panel(rng: np.random.Generator, truth: float, seeds: int, **protocol: object) -> Panel:
    """Episodes share their difficulty between oracle and learner; the SDI of a seed varies."""
    hard, other = normal(rng, 0.0, seeds), normal(rng, 0.0, seeds, sd=0.5)
    own = truth + 0.1 * rng.normal(size=(RUNS * seeds, 1))
    return panel(
        frame(IN_DISTRIBUTION, seeds, 0.3 + hard, ORACLE),
        frame(at("other-support"), seeds, 1.8 + hard + other, ORACLE),
        frame(IN_DISTRIBUTION, seeds, 0.5 + hard + normal(rng, 0, seeds, sd=0.1)),
        frame(at("other-support"), seeds, 0.5 + hard + own * (1.5 + other)),
        **protocol,
    )


def gap_panel(rng: np.random.Generator, truth: float, seeds: int, **protocol: object) -> Panel:
    """Gain 0.8; seen tasks are other episodes, and the seed's risk varies by itself."""
    hard, own = normal(rng, 0.0, seeds), 0.5 + 0.05 * rng.normal(size=RUNS * seeds)
    seen = normal(rng, own - 0.8 * truth, seeds, own=0.05)
    return panel(
        frame(IN_DISTRIBUTION, seeds, 1.0 + hard, "ridge"),
        frame(IN_DISTRIBUTION, seeds, 0.2 + 0.5 * hard, ORACLE),
        frame(IN_DISTRIBUTION, seeds, own[:, None] + hard),
        frame(at("seen-tasks"), seeds, seen),
        **protocol,
    )


def lpc_panel(rng: np.random.Generator, truth: float, seeds: int, **protocol: object) -> Panel:
    """75 queries an episode; the agreement of a seed varies."""
    share = 0.2 + 0.8 * (truth + 0.02 * rng.normal(size=(RUNS * seeds, 1)))
    agreed = rng.binomial(75, share.clip(0, 1), size=(RUNS * seeds, EPISODES)) / 75
    part = frame(at("label-permutation"), seeds, agreed, metric="agreement")
    return panel(part, **(GUESSING | protocol))


def nar_panel(rng: np.random.Generator, truth: float, seeds: int, **protocol: object) -> Panel:
    """A task is harmed in both halves with the rate of the seed, and else in one at most."""
    rate = (truth + 0.02 * rng.normal(size=(RUNS * seeds, 1))).clip(0, 1)
    shape = (RUNS * seeds, EPISODES)
    harmed, which = rng.random(shape) < rate, rng.integers(3, size=shape)
    a, b = harmed | (which == 0), harmed | (which == 1)
    still = np.full(shape, 0.5)
    return panel(
        frame(at("no-adaptation"), seeds, still, metric="half-a"),
        frame(at("no-adaptation"), seeds, still, metric="half-b"),
        frame(IN_DISTRIBUTION, seeds, 0.4 + 0.2 * a, metric="half-a"),
        frame(IN_DISTRIBUTION, seeds, 0.4 + 0.2 * b, metric="half-b"),
        **protocol,
    )


def ei_panel(rng: np.random.Generator, truth: float, seeds: int, **protocol: object) -> Panel:
    """The support is worth 0.8."""
    hard = normal(rng, 0.0, seeds)
    start = normal(rng, 1.0 - 0.8 * truth, seeds, own=0.05)
    return panel(
        frame(IN_DISTRIBUTION, seeds, 0.2 + 0.3 * hard, ORACLE),
        frame(at("no-adaptation"), seeds, 1.0 + hard, ORACLE),
        frame(at("no-adaptation-seen"), seeds, start),
        **protocol,
    )


def estimates(name: str, whole: Panel, seeds: int) -> Array:
    """[RUNS, seeds]."""
    table = ESTIMATORS.get(name).compute(whole)
    table = table[~table["label"].isin([ORACLE, "ridge"])].sort_values("seed")
    return table["value"].to_numpy(np.float64).reshape(RUNS, seeds)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(
    ("name", "generator", "truth"), [("sdi", sdi_panel, 0.6), ("gap", gap_panel, 0.1)]
)
def test_the_interval_over_seeds_covers_the_truth(
    name: str, generator: Callable[..., Panel], truth: float, seeds: int
) -> None:
    values = estimates(name, generator(np.random.default_rng(seeds), truth, seeds), seeds)
    intervals = [t_interval(list(v)) for v in values]
    covered = np.mean([i.low <= truth <= i.high for i in intervals if i.low and i.high])
    assert abs(covered - 0.95) < 3 * (0.95 * 0.05 / RUNS) ** 0.5


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(
    ("name", "generator", "threshold", "flag"),
    [
        ("sdi", sdi_panel, 0.25, "below"),
        ("gap", gap_panel, 0.25, "above"),
        ("lpc", lpc_panel, 0.8, "below"),
        ("nar", nar_panel, 0.1, "above"),
        ("ei", ei_panel, 0.1, "above"),
    ],
)
def test_a_learner_at_the_threshold_is_flagged_in_5_percent_at_most(
    name: str, generator: Callable[..., Panel], threshold: float, flag: str, seeds: int
) -> None:
    probe = Probe(estimator=name, threshold=threshold, flag=flag)  # type: ignore[arg-type]
    whole = generator(np.random.default_rng(seeds), threshold, seeds, probes=[probe])
    table = probe_table(whole)
    table = table[table["label"] != "ridge"]
    assert len(table) == RUNS
    # Three standard errors, for fifteen comparisons.
    assert table["flagged"].astype(float).mean() <= 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5
