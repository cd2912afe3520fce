"""Streams met by learners: what they see, when they see it, and who is caught."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor

from metabench.episodes import Episodes, Prediction, Query, Support
from metabench.errors import TimeLimitError
from metabench.estimators import panels
from metabench.estimators.drift import (
    advantage_table,
    boundaries,
    constant_table,
    drift_table,
    regain_table,
)
from metabench.learners.baselines.ridge import FourierRidge
from metabench.learners.contract import LearnerCard, MetaLearner, TaskInfo
from metabench.learners.controls.narrow_bayes import NarrowBayes
from metabench.learners.memory.lstm import Lstm
from metabench.records import ORACLE, Condition
from metabench.rng import Address
from metabench.scoring import LARGEST
from metabench.streams import evaluate, evaluate_streams
from metabench.tasks import Shape
from metabench.tasks.drift import StreamSpec, draw_streams
from metabench.tasks.harmonics import Harmonics, linear_gaussian
from metabench.tasks.sinusoid import Sinusoid
from tests.factories import Learner, make_protocol, make_results

ADDRESS = Address.of("tests", "streams")
FAMILY = Harmonics()
SPEC = StreamSpec(name="drift", levels=[0.0, 0.05], steps=60, window=4)
CARD = LearnerCard("mine", "control", ("regression",))


class Last(MetaLearner[Tensor]):
    """Predicts the last label."""

    card = CARD

    def adapt(self, support: Support) -> Tensor:
        return support.y[:, -1:]

    def predict(self, state: Tensor, query: Query) -> Prediction:
        return Prediction(state.expand(-1, query.x.shape[1], -1))


class Static(MetaLearner[None]):
    """Predicts the prior mean."""

    card = CARD

    def adapt(self, support: Support) -> None:
        pass

    def predict(self, state: None, query: Query) -> Prediction:
        return Prediction(torch.zeros_like(query.x))


@dataclass(eq=False)
class Counting(MetaLearner[int]):
    """Counts what it has observed, and predicts the count."""

    card = CARD
    adapted: list[int] = field(default_factory=list)

    def adapt(self, support: Support) -> int:
        self.adapted.append(support.x.shape[1])
        return support.x.shape[1]

    def observe(self, state: int, support: Support) -> int:
        return state + support.x.shape[1]

    def predict(self, state: int, query: Query) -> Prediction:
        return Prediction(torch.full_like(query.x, float(state)))


@dataclass(eq=False)
class Forgetting(MetaLearner[Support]):
    """Ridge with the true prior, an item weighing ``keep`` times the one after it."""

    card = CARD
    keep: float = 0.9

    def adapt(self, support: Support) -> Support:
        return support

    def predict(self, state: Support, query: Query) -> Prediction:
        items = state.x.shape[1]
        weight = self.keep ** (torch.arange(items - 1, -1, -1, dtype=torch.float64) / 2)
        weight = weight[None, :, None]
        support = replace(state, y=(state.y * weight).float())
        episodes = Episodes(support, query, torch.zeros_like(query.x))
        features = FAMILY.features(state.x) * weight
        return Prediction(
            linear_gaussian(features, FAMILY.features(query.x), episodes, FAMILY.noise)
        )


def losses_of(rows: pd.DataFrame, metric: str = "mse") -> pd.DataFrame:
    """Levels by streams."""
    return rows[rows["metric"] == metric].pivot(index="level", columns="episode", values="value")


def test_an_item_is_predicted_from_the_labels_before_it() -> None:
    rows = evaluate_streams(Last(), FAMILY, SPEC, ADDRESS, 3)
    drawn = draw_streams(FAMILY, SPEC, ADDRESS, range(3))
    for level, hazard in enumerate(SPEC.levels, start=1):
        batch = drawn.at("hazard", hazard)
        expected = (batch.y[:, 3:-1, 0] - batch.target[:, 4:, 0]).square().mean(dim=1)
        assert losses_of(rows).loc[level].to_numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    assert set(rows["condition"]) == {"drift"}


def test_a_refrozen_learner_stays_as_it_is_until_the_next_adaptation() -> None:
    spec = SPEC.model_copy(update={"every": 20})
    rows = evaluate_streams(Last(), FAMILY, spec, ADDRESS, 3)
    batch = draw_streams(FAMILY, spec, ADDRESS, range(3)).at("hazard", 0.05)
    held = batch.y[:, [3, 23, 43], 0].repeat_interleave(20, dim=1)
    expected = (held - batch.target[:, 4:, 0]).square().mean(dim=1)
    assert losses_of(rows).loc[2].to_numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    assert (losses_of(rows, "interval") == 20).all(axis=None)


@pytest.mark.parametrize("every", [1, 20])
def test_how_many_items_are_evaluated_together_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    spec = SPEC.model_copy(update={"every": every})
    whole = evaluate_streams(NarrowBayes(), FAMILY, spec, ADDRESS, 3)
    monkeypatch.setattr(evaluate, "ITEMS", 1)
    singly = evaluate_streams(NarrowBayes(), FAMILY, spec, ADDRESS, 3)
    assert whole["value"].to_numpy() == pytest.approx(singly["value"].to_numpy(), rel=1e-4)


def test_online_a_learner_goes_on_with_its_state_and_others_have_a_window() -> None:
    spec = StreamSpec(name="drift", levels=[0.0], steps=5, window=4, online=True)
    learner = Counting()
    rows = evaluate_streams(learner, FAMILY, spec, ADDRESS, 2)
    assert learner.adapted == [4]
    target = draw_streams(FAMILY, spec, ADDRESS, range(2)).at("hazard", 0.0).target[:, 4:, 0]
    expected = (torch.arange(4.0, 9.0) - target).square().mean(dim=1)
    assert losses_of(rows).loc[1].to_numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    window = StreamSpec(name="drift", levels=[0.0], steps=5, window=4)
    online, windowed = (evaluate_streams(Last(), FAMILY, s, ADDRESS, 2) for s in (spec, window))
    pd.testing.assert_frame_equal(online, windowed)


def test_a_recurrent_learner_observes_what_it_would_have_read_at_once() -> None:
    learner = Lstm()
    info = TaskInfo("regression", (1,), 1, Shape(shot=5, query=5), 0)
    learner.setup(info, 0, torch.device("cpu"))
    spec = StreamSpec(name="drift", levels=[0.1], steps=6, window=4, online=True)
    batch = draw_streams(FAMILY, spec, ADDRESS, range(2)).at("hazard", 0.1)
    found = evaluate.stream_losses(learner, batch, spec, torch.device("cpu"))
    mask = torch.ones(2, 9, dtype=torch.bool)
    read = Support(batch.x[:, :9], batch.y[:, :9], mask, torch.zeros(2, dtype=torch.int64))
    output = learner.predict(learner.adapt(read), Query(batch.x[:, 9:], mask[:, :1])).output
    expected = (output - batch.target[:, 9:]).square().squeeze()
    assert torch.allclose(found[:, -1].float(), expected, rtol=1e-4)


def test_a_transductive_learner_is_never_shown_two_items_at_a_time() -> None:
    shown = []

    class Transductive(Last):
        card = LearnerCard("mine", "control", ("regression",), transductive=True)

        def predict(self, state: Tensor, query: Query) -> Prediction:
            shown.append(query.x.shape[1])
            return super().predict(state, query)

    spec = SPEC.model_copy(update={"every": 20})
    rows = evaluate_streams(Transductive(), FAMILY, spec, ADDRESS, 3)
    assert set(shown) == {1}
    pd.testing.assert_frame_equal(rows, evaluate_streams(Last(), FAMILY, spec, ADDRESS, 3))


def test_a_learner_that_fails_has_the_largest_loss() -> None:
    class Failing(Static):
        def predict(self, state: None, query: Query) -> Prediction:
            return Prediction(torch.full_like(query.x, float("nan")))

    rows = evaluate_streams(Failing(), FAMILY, SPEC, ADDRESS, 2)
    assert (losses_of(rows) == LARGEST).all(axis=None)


def test_losses_around_switches_are_means_over_the_switches_of_a_stream() -> None:
    rows = evaluate_streams(Static(), FAMILY, SPEC, ADDRESS, 4)
    batch = draw_streams(FAMILY, SPEC, ADDRESS, range(4)).at("hazard", 0.05)
    square, since = batch.target[..., 0].square(), batch.since
    for metric, age, shift in (("after-0", 0, 0), ("after-3", 3, 0), ("before", 0, 1)):
        for n in range(4):
            at = (since[n] == age).nonzero().flatten() - shift
            at = at[at >= SPEC.window]
            found = rows[(rows["metric"] == metric) & (rows["episode"] == n)]["value"]
            if len(at):
                assert found.item() == pytest.approx(float(square[n, at].mean()), rel=1e-5)
            else:
                assert found.empty
    assert not rows[(rows["level"] == 1)]["metric"].isin(["before", "after-0"]).any()


def test_time_runs_out_on_streams_too() -> None:
    with pytest.raises(TimeLimitError):
        evaluate_streams(Last(), FAMILY, SPEC, ADDRESS, 2, deadline=0.0)


def test_a_family_without_a_filter_can_be_met_but_has_no_oracle() -> None:
    assert len(evaluate_streams(Last(), Sinusoid(), SPEC, ADDRESS, 2))


HAZARDS = [0.0, 0.003, 0.01, 0.05]
SEEDS = 3
Met = dict[str, tuple[MetaLearner[object] | None, dict[str, int]]]
CONTROLS: Met = {
    ORACLE: (None, {}),
    "frozen": (Static(), {}),
    "seldom": (NarrowBayes(), {"every": 500}),
    "windowed": (NarrowBayes(), {}),
    "forgetting": (Forgetting(), {}),
    "flat ridge": (FourierRidge(), {}),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Episode rows of the controls, over seeds."""
    parts = []
    for label, (learner, changes) in CONTROLS.items():
        fields = {"name": "drift", "levels": HAZARDS, "steps": 1000, "hypotheses": 8, "window": 20}
        spec = StreamSpec.model_validate(fields | changes)
        for seed in range(SEEDS):
            rows = evaluate_streams(learner, FAMILY, spec, ADDRESS.child(seed), 6)
            risk = rows["value"].where(rows["metric"] == "mse")
            parts.append(rows.assign(label=label, seed=seed, checkpoint=0, risk=risk))
    return pd.concat(parts, ignore_index=True)


def flagged(table: pd.DataFrame, label: str, level: int, threshold: float = 0.1) -> bool:
    """Whether the upper 95 % bound of A over seeds is below the threshold."""
    rows = table[(table["label"] == label) & (table["level"] == level)]
    a = rows["value"].to_numpy(dtype=np.float64)
    bound = a.mean() + stats.t.ppf(0.95, len(a) - 1) * a.std(ddof=1) / len(a) ** 0.5
    return bool(bound < threshold)


def test_the_frozen_and_the_seldom_adapted_are_flagged_and_no_other_and_none_without_drift(
    table: pd.DataFrame,
) -> None:
    protocol = make_protocol(
        conditions=[Condition(name="drift", title="", role="hazard", values=HAZARDS)]
    )
    results = make_results([Learner("maml", family="gradient")], protocol=protocol)
    (panel,) = panels(results.records, results.episodes)
    panel = replace(panel, rows=table)
    advantage = advantage_table(panel)
    assert {label: flagged(advantage, label, 3) for label in CONTROLS} == {
        ORACLE: False,
        "frozen": True,
        "seldom": True,
        "windowed": False,
        "forgetting": False,
        "flat ridge": False,
    }
    adapting = [label for label in CONTROLS if label != "frozen"]
    assert not any(flagged(advantage, label, 1) for label in adapting)
    known = drift_table(panel).groupby("label")["A"]
    assert known.get_group(ORACLE).to_numpy() == pytest.approx(np.ones(len(HAZARDS) * SEEDS))
    assert known.get_group("frozen").to_numpy() == pytest.approx(
        np.zeros(len(HAZARDS) * SEEDS), abs=1e-6
    )
    assert known.max().max() <= 1.0
    assert 0.5 < constant_table(panel).set_index("label")["value"].loc["seldom"].mean() < 3
    assert boundaries(panel)["windowed", "drift"].rate is None
    times = regain_table(panel).query("level == 3").groupby("label")["value"].mean()
    assert times[ORACLE] < times["windowed"] <= 20
    assert np.isnan(times["frozen"])
