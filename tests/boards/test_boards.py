"""Boards: what they show, what they leave out, and that names cannot break them."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from metabench.boards import Board, build_board, to_csv, to_markdown, to_terminal
from metabench.records import Reference
from metabench.store import Results
from tests.factories import BASE, BAYES, Learner, constant, falling, make_protocol, make_results

MAML = Learner("maml", falling(0.8, 0.3), "gradient")
BETTER = Learner("better", constant(0.6), "metric")
FAILED = Learner("broken", family="memory", status="diverged", error="the meta-loss was inf")


def terminal(board: Board) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    to_terminal(board, console)
    return console.export_text()


def shown(results: Results) -> list[str]:
    board = build_board(results)
    return [terminal(board), to_markdown(board), to_csv(board)]


def test_rows_are_ordered_by_skill_outside_and_a_rank_is_a_set() -> None:
    (panel,) = build_board(make_results([BASE, BAYES, MAML, BETTER])).panels
    assert [r.label for r in panel.rows] == ["oracle", "better", "maml", "ridge"]
    assert panel.rows[0].place is None, "the oracle is no entrant"
    alike = [Learner("twin", constant(0.6)), Learner("other twin", constant(0.6))]
    (panel,) = build_board(make_results([BASE, BAYES, *alike], seeds=5)).panels
    ranks = {r.label: r.place and r.place.text for r in panel.rows}
    assert ranks == {"oracle": None, "twin": "1-2", "other twin": "1-2", "ridge": "3"}
    assert {r.place.tier for r in panel.rows if r.place} == {1, 2}
    assert "| 1-2 |" in to_markdown(build_board(make_results([BASE, BAYES, *alike], seeds=5)))


def test_who_has_no_rows_where_it_is_hard_gains_no_rank_by_it() -> None:
    def hard(condition: str, level: int) -> float:
        return -3.0 if condition == "flip" else 0.6

    able, absent = Learner("able", hard), Learner("absent", hard)
    results = make_results([BASE, BAYES, able, absent], seeds=5)
    rows = results.episodes
    spared = rows[~((rows["learner"] == "absent") & (rows["condition"] == "flip"))]
    (panel,) = build_board(Results(results.records, spared)).panels
    skill = {r.label: r.ood_skill.mean for r in panel.rows if r.ood_skill}
    assert skill["absent"] > skill["able"] + 1
    ranks = {r.label: r.place.text for r in panel.rows if r.place}
    assert ranks == {"able": "1-2", "absent": "1-2", "ridge": "3"}


def test_one_seed_ranks_nobody_and_a_failed_cell_leaves_its_learner_unranked() -> None:
    (panel,) = build_board(make_results([BASE, BAYES, MAML, BETTER], seeds=1)).panels
    assert {r.place.text for r in panel.rows if r.place} == {"1-3"}
    part = Learner("part", constant(0.9), status="failed", error="x", failed_seeds=[1])
    (panel,) = build_board(make_results([BASE, BAYES, BETTER, part])).panels
    assert {r.label: r.place is None for r in panel.rows}["part"]


def test_a_row_has_the_numbers_of_its_learner() -> None:
    (panel,) = build_board(make_results([BASE, BAYES, MAML], seed_sd=0.0)).panels
    (row,) = [r for r in panel.rows if r.label == "maml"]
    assert row.skill is not None
    assert row.ood_skill is not None
    assert row.skill.mean == pytest.approx(0.8)
    # ramp: mean of 0.5, 0.2, -0.1, -0.4, -0.7; flip: 0.5.
    assert row.ood_skill.mean == pytest.approx((-0.1 + 0.5) / 2)
    assert row.worst is not None
    assert row.worst[0] == "ramp"
    assert row.break_even is not None
    assert row.break_even[1].level == pytest.approx(8 / 3)


def test_a_failure_is_a_row_with_its_reason() -> None:
    for text in shown(make_results([BASE, BAYES, FAILED]))[:2]:
        assert "broken" in text
        assert "diverged: the meta-loss was inf" in text
    (panel,) = build_board(make_results([BASE, BAYES, FAILED])).panels
    (row,) = [r for r in panel.rows if r.label == "broken"]
    assert (row.seeds_ok, row.seeds, row.metric, row.skill) == (0, 3, None, None)


def test_one_seed_prints_no_interval() -> None:
    text = terminal(build_board(make_results(seeds=1)))
    assert "±" not in text
    assert "1 seed: no interval" in text
    assert "±" in terminal(build_board(make_results(seeds=2)))


def test_a_transductive_learner_is_in_a_track_of_its_own() -> None:
    cheat = Learner("cheat", constant(0.95), "metric", transductive=True)
    (panel,) = build_board(make_results([BASE, BAYES, MAML, cheat])).panels
    assert panel.rows[-1].label == "cheat"
    assert "transductive" in to_markdown(build_board(make_results([BASE, BAYES, cheat])))


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_narrow_terminal_shows_fewer_columns_whole_and_names_the_others(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    to_terminal(build_board(make_results([BASE, BAYES, MAML])), console)
    text = console.export_text()
    assert "…" not in text
    assert "OOD skill" in text
    assert ("Not shown for want of width" in text) == (width < 200)


def test_figures_from_elsewhere_stand_beside_the_table() -> None:
    people = Reference(name="people", value=0.045, condition="flip", source="Lake 2015")
    protocol = make_protocol(references=[people])
    for text in shown(make_results([BASE, BAYES], protocol=protocol))[:2]:
        assert "people: mean squared error 0.045, flipped (Lake 2015)." in " ".join(text.split())


HOSTILE = "<script>alert(1)</script>|`x`\n=1+1"


def test_names_from_records_are_harmless_in_markdown_and_csv() -> None:
    evil = Learner(HOSTILE, constant(0.5), "other")
    formula = Learner("=HYPERLINK(1)", constant(0.4), "other")
    board = build_board(make_results([BASE, BAYES, evil, formula]))
    text = to_markdown(board)
    assert "<script>" not in text
    table = [line for line in text.splitlines() if "script" in line and line.startswith("|")]
    assert len(table) == 1
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert len(rows) == 4
    assert not any(row["learner"].startswith("=") for row in rows)


def test_csv_numbers_are_in_full_and_missing_ones_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(build_board(make_results(seeds=1))))))
    (maml,) = [r for r in rows if r["learner"] == "maml"]
    assert float(maml["skill"]) == pytest.approx(0.8, abs=0.3)
    assert maml["skill_low"] == ""


def test_every_row_of_the_csv_has_a_status() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(build_board(make_results([BASE, FAILED]))))))
    assert {r["learner"]: r["status"] for r in rows} == {"ridge": "ok", "broken": "diverged"}
