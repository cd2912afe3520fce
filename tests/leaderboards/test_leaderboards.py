"""Leaderboards: standing, policies, tables that rebuild byte for byte."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.leaderboards import BoardSpec, build, load_spec, moves, standing, verify
from metabench.leaderboards.latex import to_latex
from metabench.leaderboards.standing import Entry, Leaderboard
from metabench.leaderboards.writing import to_csv, to_json, to_markdown
from metabench.records import Probe, Record
from metabench.store import Results, Store
from tests.factories import BASE, BAYES, Learner, constant, make_protocol, make_results, merge
from tests.leaderboards.salted import written

GOOD, TWIN = Learner("good", constant(0.8), "gradient"), Learner("twin", constant(0.8), "memory")
PART = Learner("part", constant(0.9), status="diverged", error="inf", failed_seeds=[1])
SEES_ALL = Learner("sees-all", constant(0.95), transductive=True)
TOML = """
name = "toys"
title = "Toys & co"
suites = ["toy"]
preset = "standard"
command = "metabench run --suite toy"
"""


def spec(**changes: object) -> BoardSpec:
    known = {"name": "toys", "title": "Toys", "suites": ["toy"], "preset": "standard"}
    return BoardSpec.model_validate({**known, "command": "metabench run", **changes})


def made(*learners: Learner, seeds: int = 5, **changes: object) -> Leaderboard:
    return standing(spec(**changes), make_results([BASE, BAYES, *learners], seeds=seeds))


def entry(board: Leaderboard, label: str) -> Entry:
    (found,) = [e for e in board.entries if e.label == label]
    return found


def test_entries_are_ordered_ranked_in_sets_and_the_oracle_is_none_of_them() -> None:
    board = made(GOOD, TWIN)
    assert {e.label for e in board.entries[:2]} == {"good", "twin"}
    assert board.entries[2].label == "ridge"
    assert [e.place and e.place.text for e in board.entries] == ["1-2", "1-2", "3"]
    assert board.tasks == ("toy/toys flip", "toy/toys in-distribution", "toy/toys ramp")
    good = entry(board, "good").iqm
    assert good is not None
    assert good.mean == pytest.approx(0.8, abs=0.05)
    assert good.low is not None
    assert good.low < good.mean


def test_transductive_learners_have_a_track_of_their_own() -> None:
    board = made(GOOD, SEES_ALL)
    assert board.entries[-1].label == "sees-all"
    assert entry(board, "sees-all").place == entry(made(SEES_ALL), "sees-all").place
    assert "## Transductive track" in to_markdown(board)


def test_a_failed_cell_is_unranked_with_its_reason_or_counts_as_the_worst() -> None:
    strict = entry(made(GOOD, PART), "part")
    assert (strict.place, strict.iqm) == (None, None)
    assert strict.unranked == "diverged in 1 of 5 cells"
    counted = entry(made(GOOD, PART, failed="worst", worst=-3.0), "part")
    assert counted.place is not None
    assert counted.iqm is not None
    assert counted.mean_rank is not None
    assert counted.iqm.low is not None
    assert counted.iqm.low < 0.85


def test_too_few_seeds_are_shown_and_not_ranked() -> None:
    assert entry(made(GOOD, seeds=2), "good").unranked == "2 seeds, the board asks for 3"


def test_a_board_may_demand_that_submissions_were_contained() -> None:
    results = make_results([BASE, BAYES, GOOD, TWIN])

    def as_submitted(record: Record) -> Record:
        if record.key.learner != TWIN.name:
            return record
        key = record.key.model_copy(update={"learner_digest": "0123456789abcdef"})
        changes = {"key": key, "isolation": "process", "provenance": "verified"}
        return record.model_copy(update=changes)

    strange = Results([as_submitted(r) for r in results.records], results.episodes)
    demanding = {e.label: e for e in standing(spec(isolation="sandbox"), strange).entries}
    assert demanding[TWIN.name].place is None
    assert demanding[TWIN.name].unranked == "isolation process, the board asks for sandbox"
    assert demanding[GOOD.name].place is not None  # shipped: part of the scorer
    content = {e.label: e for e in standing(spec(isolation="process"), strange).entries}
    assert content[TWIN.name].place is not None
    assert content[TWIN.name].provenance == "verified, process"


def test_an_entrant_that_is_missing_on_a_suite_says_where() -> None:
    both = make_results([BASE, BAYES, GOOD, TWIN], seeds=3)
    other = make_results([BASE, BAYES, GOOD], seeds=3, suite="other")
    results = Results(both.records + other.records, pd.concat([both.episodes, other.episodes]))
    board = standing(spec(suites=["toy", "other"]), results)
    assert entry(board, "twin").unranked == "not scored on other/toys"
    assert entry(board, "good").place is not None


def test_a_board_says_what_it_cannot_show() -> None:
    with pytest.raises(MetabenchError, match="no standard records of suite 'other'"):
        made(GOOD, suites=["toy", "other"])
    twice = Learner("good", constant(0.3), "gradient", parameters={"steps": 2})
    with pytest.raises(MetabenchError, match="several variants"):
        made(GOOD, twice)


@pytest.mark.parametrize("sort", ["iqm", "mean_rank", "optimality_gap", "worst_suite"])
def test_the_named_column_orders_the_table(sort: str) -> None:
    board = made(Learner("low", constant(0.1)), Learner("high", constant(0.9)), sort=sort)
    assert [e.label for e in board.entries] == ["high", "low", "ridge"]


def test_every_format_has_every_entry_and_no_number_without_its_interval() -> None:
    board = made(GOOD, PART, SEES_ALL)
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert {r["learner"] for r in rows} == {e.label for e in board.entries}
    for name in ("iqm", "mean_rank", "optimality_gap", "worst_skill"):
        assert all(bool(r[name]) == bool(r[f"{name}_low"]) == bool(r[f"{name}_high"]) for r in rows)
        assert any(r[name] for r in rows)
    latex = to_latex(board)
    assert latex.count(r" \\") == 2 + 1 + len(board.entries)
    assert r"\pm" in latex
    assert len(json.loads(to_json(board))["entries"]) == len(board.entries)
    text = to_markdown(board)
    assert re.search(r"\| 0\.\d\d ± 0\.\d\d \|", text)
    assert "diverged in 1 of 5 cells" in text


def test_names_from_strangers_do_no_harm() -> None:
    evil = Learner("<script>alert(1)</script>|`x`\\input{/etc/passwd}\n%&_$#", constant(0.5))
    board = made(evil)
    assert "<script>" not in to_markdown(board)
    assert r"\input{" not in to_latex(board)
    (line,) = [line for line in to_latex(board).splitlines() if "script" in line]
    assert line.count("&") - line.count(r"\&") == 7
    dollar = made(Learner("$\\input{/etc/passwd}$", constant(0.5)))
    assert r"\input{" not in to_latex(dollar)
    formula = made(Learner("=HYPERLINK(1)", constant(0.5)))
    assert "\n=HYPERLINK" not in to_csv(formula)


def fill(folder: Path, *learners: Learner, seeds: int = 3) -> None:
    store = Store(folder)
    store.open()
    results = make_results([BASE, BAYES, *learners], seeds=seeds)
    for record in results.records:
        rows = results.episodes[results.episodes["record"] == record.id].drop(columns="record")
        store.write(record, rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "board.toml").write_text(TOML)
    fill(tmp_path, GOOD, TWIN)
    return tmp_path


def test_a_folder_is_built_verified_and_any_drift_is_found(folder: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["board", "verify", str(folder)]).exit_code == 1
    assert runner.invoke(app, ["board", "build", str(folder)]).exit_code == 0
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    assert set(before) >= {"README.md", "board.csv", "board.tex", "board.json", "report.html"}
    build(folder)
    after = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    assert after == before
    assert runner.invoke(app, ["board", "verify", str(folder)]).exit_code == 0
    text = (folder / "board.csv").read_text()
    (folder / "board.csv").write_text(text.replace("0.8", "0.9", 1))
    done = runner.invoke(app, ["board", "verify", str(folder)])
    assert done.exit_code == 1
    assert "board.csv" in done.output
    (drift,) = verify(folder)
    assert drift.startswith("---")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('preset = "standard"', 'prset = "standard"', "unknown field 'prset'"),
        ('suites = ["toy"]', "suites = []", "suites"),
        ('name = "toys"', 'name = "Toys"', "name"),
        ('title = "Toys & co"', "title = ", "not valid TOML"),
        ('command = "metabench run --suite toy"', "least_seeds = 1", "least_seeds"),
    ],
)
def test_a_mistake_in_a_board_is_told_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "board.toml").write_text(TOML.replace(old, new))
    with pytest.raises(MetabenchError) as caught:
        load_spec(tmp_path)
    assert message in str(caught.value)
    assert "board.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_past_builds_are_kept_and_say_who_moved_and_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metabench.reports.write_report", lambda results, path, scores: None)
    build(folder)
    with pytest.raises(MetabenchError, match="no past build"):
        moves(folder)
    build(folder)
    assert not (folder / "history").exists(), "nothing changed"
    fill(folder, GOOD, TWIN, Learner("newcomer", constant(0.99)))
    build(folder)
    assert [p.name for p in (folder / "history").iterdir()] == ["0001.json"]
    lines = moves(folder)
    assert lines[0].startswith("newcomer: new, ")
    (ridge,) = [line for line in lines if line.startswith("ridge")]
    assert "(the pool: newcomer came)" in ridge
    fill(folder, GOOD, TWIN, Learner("newcomer", constant(0.99)), seeds=5)
    build(folder)
    assert any("seeds 3 -> 5" in line for line in moves(folder))
    assert moves(folder, folder / "history" / "0001.json")[0].startswith("newcomer: new")
    done = CliRunner().invoke(app, ["board", "diff", str(folder)])
    assert done.exit_code == 0
    assert "seeds 3 -> 5" in done.output
    (folder / "history" / "0002.json").write_text("[]")
    with pytest.raises(MetabenchError, match=r"0002.json: not a leaderboard"):
        moves(folder)


def test_every_link_of_a_board_leads_to_a_section_of_its_page(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(TOML)
    probe = Probe(estimator="skill", condition="ramp", threshold=0.0, flag="below")
    protocol = make_protocol(probes=[probe])
    bad = Learner("bad", constant(-0.8))
    results = merge(
        make_results([BASE, BAYES, bad, GOOD], protocol=protocol),
        make_results([BASE, BAYES], suite="another", protocol=protocol),
    )
    written(tmp_path, results)
    build(tmp_path)
    text, page = ((tmp_path / name).read_text() for name in ("README.md", "report.html"))
    links = set(re.findall(r"\(report\.html#([\w-]+)\)", text))
    assert links
    assert all(f'id="{anchor}"' in page for anchor in links)
    assert "[toy/toys: skill]" in text.replace("\\", "")
    assert "another" not in page, "the page is of the board's suites"
    (pages,) = json.loads((tmp_path / "board.json").read_text())["page"].values()
    assert pages.removeprefix("report.html#") in links


def test_parameters_are_shown_where_they_were_counted() -> None:
    results = make_results([BASE, BAYES, GOOD, TWIN])
    records = []
    for record in results.records:
        size = {"parameters": 1000 + 500 * record.key.seed}
        if record.key.learner == "good":
            learner = record.learner.model_copy(update=size)
            records.append(record.model_copy(update={"learner": learner}))
        else:
            records.append(record)
    board = standing(spec(), Results(records, results.episodes))
    assert entry(board, "good").parameters == (1000, 2000)
    assert entry(board, "twin").parameters is None
    assert "| 1,000–2,000 |" in to_markdown(board)
