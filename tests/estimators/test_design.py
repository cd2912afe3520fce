"""What a design says of a learner, from records whose scores are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from metabench.boards import build_board, to_csv, to_markdown
from metabench.estimators import ESTIMATORS, Panel, Sensitivity, panels, probe_table, sensitivities
from metabench.estimators.design import EACH_KNOB
from metabench.estimators.design_scores import score_array, score_table
from metabench.records import ORACLE, Condition, Knob, Probe, Status
from metabench.reports import build_report
from metabench.store import Results
from tests.factories import (
    BASE,
    Learner,
    constant,
    make_protocol,
    make_record,
    make_rows,
    merge,
)

APART = Condition(name="no-step", title="no inner step", role="no-adaptation", values=[0])
KNOBS = [
    Knob(field="inner_lr", low=0.01, high=1.0, log=True, level=0),
    Knob(field="meta_lr", low=0.01, high=1.0, log=True, level=1),
]
LOST = None
"""The skill of a training that diverged."""


def designed(
    skills: Mapping[int, Sequence[float | None]],
    source: str = "toys",
    default: float = 0.5,
    grid: Sequence[Mapping[str, float]] | None = None,
    probes: Sequence[Probe] = (),
    noise: float = 0.0,
) -> Results:
    """Seed -> skill of every setting, at one source, with baseline, oracle and the defaults."""
    protocol = make_protocol(conditions=[APART], probes=list(probes), episodes=40)
    bayes = Learner(ORACLE, lambda name, level: -1.0 if level else 1.0, ORACLE)
    records, tables = [], []

    def add(learner: Learner, seed: int, knobs: Sequence[Knob], point: int | None) -> None:
        record = make_record(learner, seed, protocol=protocol, source=source)
        info = record.learner.model_copy(update={"knobs": list(knobs), "point": point})
        record = record.model_copy(update={"learner": info})
        records.append(record)
        if record.status == "ok":
            rows = make_rows(record, learner, base=1.0, best=0.0, seed_sd=0.0, episode_sd=noise)
            tables.append(rows.assign(record=record.id))

    for seed, scores in skills.items():
        places = grid or [{"inner_lr": 0.1, "meta_lr": 0.01 + i / 1000} for i in range(len(scores))]
        add(BASE, seed, [], None)
        add(bayes, seed, [], None)
        usual = {"inner_lr": 0.5, "meta_lr": 0.5}
        add(Learner("maml", constant(default), "gradient", parameters=usual), seed, KNOBS, None)
        for i, (skill, place) in enumerate(zip(scores, places, strict=True)):
            status: Status = "diverged" if skill is None else "ok"
            score = constant(0.0 if skill is None else skill)
            one = Learner("maml", score, "gradient", parameters=dict(place), status=status)
            add(one, seed, KNOBS, i)
    return Results(records, pd.concat(tables, ignore_index=True))


def panel_of(results: Results) -> Panel:
    (panel,) = panels(results.records, results.episodes)
    return panel


def summary(*results: Results) -> Sensitivity:
    whole = merge(*results)
    (found,) = sensitivities(panels(whole.records, whole.episodes))
    return found


def test_settings_are_one_learner_and_the_defaults_alone_are_its_row() -> None:
    panel = panel_of(designed({0: [0.1, 0.9], 1: [0.2, 0.8]}))
    assert {panel.label_of(r) for r in panel.settings} == {"maml"}
    assert [r.learner.point for r in panel.records if r.key.learner == "maml"] == [None, None]
    mine = panel.rows[panel.rows["label"] == "maml"]
    assert 1 - mine["risk"].mean() == pytest.approx(0.5)
    assert len(panel.setting_rows) == 4 * 40 * 2
    assert set(panel.history["record"]) == set(panel.rows["record"])


def test_a_score_is_skill_and_no_lower_than_that_of_guessing_without_support() -> None:
    table = score_table(panel_of(designed({0: [0.3, -0.9, -1.5, -18.5, -19.5, LOST]})))
    scores = score_array(table)
    assert scores.shape == (1, 2, 6)
    # Risks 2.5 and 19.5 are cut to 2; 20.5 is beyond ten times 2.
    expected = [0.3, -0.9, -1.0, -1.0, np.nan, np.nan]
    for half in (0, 1):
        assert scores[0, half] == pytest.approx(np.array(expected), nan_ok=True)


def test_without_settings_or_room_there_are_no_scores() -> None:
    panel = panel_of(designed({0: []}))
    assert score_table(panel).empty
    assert sensitivities([panel]) == []
    for name in ("v95", "failed-settings"):
        assert ESTIMATORS.get(name).compute(panel).empty
    narrow = panel_of(designed({0: [0.1, 0.2]}))
    narrow = replace(narrow, protocol=narrow.protocol.model_copy(update={"floor": 1.5}))
    assert score_table(narrow).empty


def test_a_seed_that_lacks_a_setting_is_no_array() -> None:
    table = score_table(panel_of(designed({0: [0.1, 0.9], 1: [0.2, 0.8]})))
    with pytest.raises(ValueError, match="every seed needs every point"):
        score_array(table.iloc[:-1])


TWENTY = [0.0] * 12 + [0.5] * 3 + [0.96, 1.0, 1.0, 1.0, 1.0]


def test_the_summary_of_one_source_by_hand() -> None:
    found = summary(designed({0: TWENTY, 1: [*TWENTY[:10], LOST, LOST, *TWENTY[12:]]}))
    (spread,) = found.spreads
    assert (found.label, found.settings, found.seeds) == ("maml", 20, 2)
    assert found.near_best.mean == pytest.approx(5 / 20)
    assert found.phi is None
    assert found.failed == pytest.approx(0.05)
    assert found.default == pytest.approx(0.5)
    assert found.best == pytest.approx(1.0)
    assert found.median == pytest.approx(0.0)
    assert found.mean == pytest.approx(np.mean(TWENTY))
    assert len(spread.scores) == 18
    assert found.near_best_points.low <= 0.25 <= found.near_best_points.high


def test_phi_is_over_sources_and_its_replicates_are_seeds() -> None:
    up = list(np.linspace(0, 1, 41))
    down = up[::-1]
    same = summary(designed({0: up, 1: up}, "one"), designed({0: up, 1: up}, "two"))
    assert same.phi is not None
    assert same.phi.mean == pytest.approx(0)
    found = summary(designed({0: up, 1: up}, "one"), designed({0: down, 1: down}, "two"))
    assert found.phi is not None
    assert found.phi.mean > 0.45
    assert found.phi.seeds == 2
    assert found.near_best.seeds == 4


def test_a_seed_counts_from_its_last_setting_on() -> None:
    results = designed({0: TWENTY, 1: TWENTY})
    (last,) = [r for r in results.records if (r.key.seed, r.learner.point) == (1, 19)]
    cut = Results([r for r in results.records if r is not last], results.episodes)
    found = summary(cut)
    assert (found.seeds, found.settings) == (1, 20)


def test_a_source_that_a_run_has_not_finished_is_left_out() -> None:
    begun = designed({0: TWENTY[:3]}, "two")
    found = summary(designed({0: TWENTY}, "one"), begun)
    assert [spread.source for spread in found.spreads] == ["one"]
    assert found.settings == 20


@hypothesis_settings(max_examples=8, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-40, 10)), min_size=2, max_size=6),
    st.permutations(range(6)),
)
def test_the_order_of_settings_does_not_matter(whole: list[int | None], order: list[int]) -> None:
    skills = [None if v is None else v / 10 + i / 1000 for i, v in enumerate(whole)]
    moved = [skills[i] for i in order if i < len(skills)]
    one, other = summary(designed({0: skills})), summary(designed({0: moved}))
    assert one.near_best.mean == pytest.approx(other.near_best.mean)
    assert one.failed == other.failed
    assert one.spreads[0].scores == pytest.approx(other.spreads[0].scores)
    assert 0 <= one.near_best.mean <= 1


def test_the_probes_of_a_panel_flag_over_seeds() -> None:
    probes = [
        Probe(estimator="v95", threshold=0.05, flag="below"),
        Probe(estimator="failed-settings", threshold=0.1, flag="above"),
    ]
    lost = {j: [LOST] * 15 + [0.1 * i + 0.01 * j for i in range(9)] for j in range(3)}
    table = probe_table(panel_of(designed(lost, probes=probes))).set_index(["label", "probe"])
    assert table.loc[("maml", "failed-settings"), "flagged"] is True
    # One in 64 is near the best.
    few = {j: [0.9, *np.linspace(-0.9, 0.1, 63)] for j in range(3)}
    table = probe_table(panel_of(designed(few, probes=probes))).set_index(["label", "probe"])
    assert table.loc[("maml", "v95"), "mean"] == pytest.approx(1 / 64)
    assert table.loc[("maml", "v95"), "flagged"] is True
    assert table.loc[("maml", "failed-settings"), "flagged"] is False


def test_who_learns_nothing_anywhere_is_not_called_robust() -> None:
    """Every setting is about as bad as guessing, so that all are near the best."""
    idle = summary(designed({0: [-0.99, -0.98, -1.0, -1.0]}))
    assert idle.learned == pytest.approx(0.01)
    assert not idle.learns
    able = summary(designed({0: [-0.99, -0.98, -1.0, 0.6]}))
    assert able.learned == pytest.approx(0.8)
    assert able.learns


def test_a_learner_that_diverges_wherever_it_is_set_is_flagged() -> None:
    probes = [Probe(estimator="failed-settings", threshold=0.1, flag="above")]
    table = probe_table(panel_of(designed({j: [LOST] * 4 for j in (0, 1)}, probes=probes)))
    (row,) = table[table["label"] == "maml"].to_dict("records")
    assert (row["mean"], row["flagged"]) == (1.0, True)
    found = summary(designed({0: [LOST] * 4}))
    assert (found.near_best.mean, found.failed) == (0.0, 1.0)
    assert np.isnan(found.median)
    assert found.spreads[0].scores == ()


def test_a_board_of_failures_has_no_numbers_that_are_none() -> None:
    board = build_board(designed({0: [LOST] * 4}))
    text = to_csv(board) + to_markdown(board)
    assert ",nan" not in text
    assert " nan" not in text
    assert ">nan" not in build_report(designed({0: [LOST] * 4}))


def grid(points: int) -> tuple[list[dict[str, float]], list[float]]:
    """Settings, and the score 4 u + v of their quantiles u (inner) and v (meta), scaled."""
    u = (np.arange(points) + 0.5) / points
    v = np.random.default_rng(0).permutation(u)
    places = [
        {"inner_lr": KNOBS[0].quantile(a), "meta_lr": KNOBS[1].quantile(b)}
        for a, b in zip(u, v, strict=True)
    ]
    return places, list((4 * u + v) / 5)


def test_knobs_and_the_termination_ratio_are_read_off_the_records() -> None:
    pytest.importorskip("sklearn")
    places, scores = grid(32)
    found = summary(designed({0: scores, 1: scores}, grid=places))
    assert found.knobs is not None
    totals = found.knobs.set_index("knob")["total"]
    assert totals["inner_lr"] == pytest.approx(16 / 17, abs=0.08)
    assert totals["meta_lr"] == pytest.approx(1 / 17, abs=0.08)
    assert found.explained is not None
    assert found.explained > 0.8
    assert found.ratios[0].value == pytest.approx(0.25, abs=0.1)
    assert found.terminates is True


def test_few_settings_carry_no_surrogate() -> None:
    places, scores = grid(2 * EACH_KNOB - 4)
    found = summary(designed({0: scores}, grid=places))
    assert found.knobs is None
    assert found.reason == "needs 20 settings"
    assert found.terminates is None
