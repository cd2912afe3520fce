"""Controls of what is set by hand, through the pipeline that scores any learner."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

import metabench
from metabench.boards import Board, build_board, to_csv, to_markdown, to_terminal
from metabench.reports import build_report
from metabench.store import Results

CLOSED = Path(__file__).parents[1] / "data" / "settings"
BROKEN, HEALTHY, IDLE = "edge-of-stability", "normalised-descent", "idle-knob"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    out = tmp_path_factory.mktemp("settings")
    return metabench.run([BROKEN, HEALTHY, IDLE], CLOSED, out=out, workers=0)


@pytest.fixture(scope="module")
def board(results: Results) -> Board:
    return build_board(results)


def test_the_rate_at_the_edge_of_stability_is_flagged_and_the_healthy_are_not(
    board: Board,
) -> None:
    for part in board.panels:
        flags = {row.label: row.flags for row in part.rows}
        assert flags[BROKEN] == ("failed-settings",)
        assert flags[HEALTHY] == flags[IDLE] == ()
    (design,) = board.designs
    assert design.flags[BROKEN] == ("failed-settings (narrow)", "failed-settings (wide)")


def test_where_it_is_set_the_broken_learner_is_as_good_as_the_oracle(board: Board) -> None:
    """Its defaults hide it: only other settings tell."""
    for part in board.panels:
        (row,) = [r for r in part.rows if r.label == BROKEN]
        assert row.skill is not None
        assert row.skill.mean == pytest.approx(1.0, abs=0.02)


def test_half_of_what_others_would_set_explodes(board: Board) -> None:
    """From 2 / lambda_max on, which is log(19 / 2) / log(100) = 49 % of the prior."""
    (design,) = board.designs
    found = {row.label: row for row in design.rows}
    assert found[BROKEN].failed == pytest.approx(0.49, abs=1 / 16)
    assert found[HEALTHY].failed == found[IDLE].failed == 0
    ((label, lost, whole),) = design.diverged
    assert (label, whole) == (BROKEN, 64)
    assert 0 < lost < whole / 2


def test_a_learner_whose_score_is_constant_has_phi_0_and_v95_1(board: Board) -> None:
    (idle,) = [row for row in board.designs[0].rows if row.label == IDLE]
    assert idle.phi is not None
    assert (idle.phi.mean, idle.phi.low, idle.phi.high) == (0, 0, 0)
    assert (idle.near_best.mean, idle.near_best_points.low) == (1, 1)
    assert idle.default == idle.best == pytest.approx(1.0)


def test_a_row_is_a_learner_in_every_format(results: Results, board: Board) -> None:
    text = to_markdown(board)
    assert text.count("settings v1, all settings") == 1
    assert text.count(f"| {BROKEN} |") == 3
    assert "trainings diverged; they count as failed" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert len(rows) == 2 * 5
    mine = [r for r in rows if r["learner"] == IDLE]
    assert [(r["settings"], float(r["v95"]), float(r["phi"])) for r in mine] == [("16", 1, 0)] * 2
    assert {r["settings"] for r in rows if r["learner"] == "ridge"} == {""}
    console = Console(width=240, file=io.StringIO())
    to_terminal(board, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "all settings" in shown
    assert "rate 1.00 (explains" in shown
    narrow = Console(width=80, file=io.StringIO())
    to_terminal(board, narrow)
    assert isinstance(narrow.file, io.StringIO)
    assert "Not shown for want of width, and in --format markdown" in narrow.file.getvalue()
    assert max(map(len, narrow.file.getvalue().splitlines())) <= 80


def test_the_report_draws_every_setting_once(results: Results) -> None:
    page = build_report(results)
    dots, crosses = page.count('r="3.2"'), page.count("M-2-2 2 2M2-2-2 2")
    assert dots + crosses == 3 * 2 * 16
    assert crosses == 2 * 7
    assert "Which knob matters" in page
    assert "not finished</dt><dd>0" in page.replace("\n", "")


def test_names_of_a_stranger_are_escaped_in_the_report(results: Results) -> None:
    records = []
    for record in results.records:
        knobs = [k.model_copy(update={"field": "<b>x"}) for k in record.learner.knobs]
        values = {("<b>x" if k == "rate" else k): v for k, v in record.key.parameters.items()}
        records.append(
            record.model_copy(
                update={
                    "learner": record.learner.model_copy(update={"knobs": knobs}),
                    "key": record.key.model_copy(update={"parameters": values}),
                }
            )
        )
    page = build_report(Results(records, results.episodes))
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
