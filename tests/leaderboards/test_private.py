"""Private episodes on leaderboards: commit and reveal, the gap, what is hidden."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import metabench
from metabench.boards import build_board
from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.leaderboards import (
    BoardSpec,
    build,
    load_spec,
    moves,
    open_release,
    reveal,
    standing,
    verify,
)
from metabench.leaderboards.latex import to_latex
from metabench.leaderboards.private import gap
from metabench.leaderboards.spec import Private
from metabench.leaderboards.standing import Entry, Leaderboard
from metabench.leaderboards.submissions import default_salt
from metabench.leaderboards.writing import to_csv, to_json, to_markdown
from metabench.learners import LearnerCard
from metabench.learners.controls.narrow_bayes import NarrowBayes
from metabench.reports import build_report
from metabench.reports.overview import overview
from metabench.running import replay as replaying
from metabench.salt import commitment, new_salt, read_salt
from metabench.store import Results, Store, load_records
from metabench.suite import load_suite
from metabench.validity.mechanisms import PUBLIC, Thief
from tests.factories import BASE, BAYES, Learner, constant, make_results, merge
from tests.leaderboards.salted import salted, written

SECRET = bytes(range(32))
COMMITTED = commitment(SECRET)
OPEN = {"release": "1", "commitment": COMMITTED, "opened": "2026-01-01"}
POOL = ["toy/toys ramp", "toy/toys flip"]
TOML = """
name = "toys"
title = "Toys"
suites = ["toy"]
preset = "standard"
command = "metabench run --suite toy"
"""


def spec(private: dict[str, object] | None = None, **changes: object) -> BoardSpec:
    known = {"name": "toys", "title": "Toys", "suites": ["toy"], "preset": "standard"}
    content = {**known, "command": "metabench run", "private": private or OPEN, **changes}
    return BoardSpec.model_validate(content)


def both(*learners: tuple[str, float, float]) -> Results:
    """Results of learners (name, skill on public episodes, skill on private ones)."""
    parts = [
        make_results([BASE, BAYES, *(Learner(n, constant(s[i])) for n, *s in learners)], seeds=5)
        for i in (0, 1)
    ]
    return merge(parts[0], salted(parts[1], COMMITTED))


def entry(board: Leaderboard, label: str) -> Entry:
    (found,) = [e for e in board.entries if e.label == label]
    return found


class Exploiter(Thief):
    """The seed-exploiter among the entrants."""

    card = LearnerCard("exploiter", "memory", ("regression",), citation=Thief.card.citation)


class Honest(NarrowBayes):
    """A healthy one."""

    card = LearnerCard("honest", "memory", ("regression",), citation=NarrowBayes.card.citation)


def test_who_knows_the_public_episodes_by_heart_is_flagged_and_the_honest_are_not(
    tmp_path: Path,
) -> None:
    new_salt(tmp_path / "a.salt")
    for salt in (None, tmp_path / "a.salt"):
        metabench.run(
            [Exploiter, Honest], PUBLIC, preset="full", out=tmp_path / "r", workers=0, salt=salt
        )
    committed = commitment(read_salt(tmp_path / "a.salt"))
    about = spec({**OPEN, "commitment": committed}, suites=["public-episodes"], preset="full")
    board = standing(about, load_records(tmp_path / "r"))
    found = {e.label: e.gap for e in board.entries}
    assert found["exploiter"] is not None
    assert found["exploiter"].flagged
    assert found["exploiter"].interval.mean > 0.5
    assert found["honest"] is not None
    assert not found["honest"].flagged
    assert abs(found["honest"].interval.mean) < 0.05
    # On public episodes it is the best of all; on private ones it is what it is.
    assert board.entries[0].label == "honest"
    assert found["exploiter"].interval.low is not None


def test_an_honest_learner_is_flagged_by_chance_in_five_percent_of_the_boards_at_most() -> None:
    """At the margin itself, where the error of the flag is largest."""
    rng = np.random.default_rng(0)
    about, flags = spec(gap_margin=0.05), 0
    index = pd.MultiIndex.from_product([["a"], range(5)], names=["label", "seed"])
    columns = pd.MultiIndex.from_product([["toy"], ["toys"], list("abcd")])
    for _ in range(400):
        trained = rng.normal(0.5, 0.1, (5, 1))
        one, other = (trained + rng.normal(0, 0.03, (5, 4)) for _ in range(2))
        tables = [pd.DataFrame(v, index, columns) for v in (one + 0.05, other)]
        found = gap(about, "a", *tables)
        assert found is not None
        flags += found.flagged
    assert flags / 400 < 0.083, "three standard errors above 0.05"


def test_ranks_come_from_private_episodes_and_the_gap_is_in_every_format() -> None:
    board = standing(spec(), both(("show-off", 0.95, 0.3), ("steady", 0.6, 0.6)))
    assert [e.label for e in board.entries] == ["steady", "show-off", "ridge"]
    show_off = entry(board, "show-off")
    assert show_off.gap is not None
    assert show_off.gap.interval.mean == pytest.approx(0.65, abs=0.05)
    assert show_off.iqm is not None
    assert show_off.iqm.mean == pytest.approx(0.3, abs=0.1)
    assert "flagged" in to_markdown(board)
    assert COMMITTED in to_markdown(board)
    rows = {r["learner"]: r for r in csv.DictReader(io.StringIO(to_csv(board)))}
    assert (rows["show-off"]["gap_flagged"], rows["steady"]["gap_flagged"]) == ("True", "False")
    assert all(bool(r["gap"]) == bool(r["gap_low"]) for r in rows.values())
    (latex,) = [line for line in to_latex(board).splitlines() if "show-off" in line]
    assert latex.count(r"\pm") == 4
    known = {e["label"]: e for e in json.loads(to_json(board))["entries"]}
    assert known["show-off"]["gap"]["flagged"] is True
    assert "private episodes" in board.board.panels[1].title


def test_without_private_episodes_of_its_own_a_learner_has_no_rank_beside_those_that_have() -> None:
    results = merge(both(("old", 0.5, 0.5)), make_results([Learner("new", constant(0.9))], seeds=5))
    board = standing(spec(), results)
    assert entry(board, "new").unranked == "no private episodes"
    assert entry(board, "old").place is not None


def test_records_of_a_secret_that_the_board_is_not_committed_to_are_refused() -> None:
    with pytest.raises(MetabenchError, match="has private episodes of commitment"):
        standing(spec({"release": "none"}), both(("a", 0.5, 0.5)))


def test_what_may_be_hidden_counts_for_nobody_until_the_secret_is_revealed() -> None:
    results = both(("a", 0.5, 0.5))
    hidden = {**OPEN, "pool": POOL, "hidden": 1}
    before = standing(spec(hidden), results)
    assert before.tasks == ("toy/toys in-distribution",)
    after = standing(spec({**hidden, "secret": SECRET.hex(), "revealed": "2026-02-01"}), results)
    (drawn,) = Private.model_validate({**hidden, "secret": SECRET.hex()}).drawn()
    assert set(after.tasks) == {"toy/toys in-distribution", drawn}
    assert drawn not in to_markdown(before).replace(", ".join(POOL), "")
    with pytest.raises(MetabenchError, match=r"private.pool: unknown task 'toy/toys flop'"):
        standing(spec({**OPEN, "pool": ["toy/toys flop"]}), results)


def test_the_secret_draws_every_candidate_equally_often_and_anew_for_each_release() -> None:
    names = [f"s/x {c}" for c in "abcd"]
    private = Private(release="1", pool=names, hidden=1)
    rng = np.random.default_rng(0)
    counts = Counter(private.drawn(rng.bytes(32))[0] for _ in range(2000))
    assert all(abs(counts[name] - 500) < 80 for name in names), "four standard deviations"
    again = [Private(release=str(i), pool=names, hidden=2).drawn(SECRET) for i in range(20)]
    assert len(set(again)) > 3
    assert private.left_out(SECRET) == set(names) - set(private.drawn(SECRET))
    assert private.left_out() == set(names)


@pytest.fixture(autouse=True)
def _no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take long, and nothing here asks for one."""
    monkeypatch.setattr("metabench.reports.write_report", lambda results, path, scores: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "toys"
    made.mkdir()
    (made / "board.toml").write_text(TOML)
    return made


def test_a_release_is_committed_to_revealed_and_verified(folder: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["board", "salt", str(folder), "--release", "one"])
    assert done.exit_code == 0, done.output
    path = default_salt(folder)
    secret = read_salt(path)
    private = load_spec(folder).private
    assert (private.release, private.commitment) == ("one", commitment(secret))
    assert private.secret is None
    assert not any(secret.hex() in p.read_text() for p in folder.rglob("*") if p.is_file())
    assert secret.hex() not in done.output
    with pytest.raises(MetabenchError, match="'one' is open; reveal it first"):
        open_release(folder, "two")
    results = make_results([BASE, BAYES, Learner("a", constant(0.5))])
    written(folder, merge(results, salted(results, private.commitment)))
    build(folder)
    assert verify(folder) == []
    wrong = folder.parent / "wrong.salt"
    new_salt(wrong)
    with pytest.raises(MetabenchError, match="not the secret that board toys is committed to"):
        reveal(folder, wrong)
    done = runner.invoke(app, ["board", "reveal", str(folder)])
    assert done.exit_code == 0, done.output
    assert load_spec(folder).private.secret == secret.hex()
    assert verify(folder), "the tables do not have the secret yet"
    build(folder)
    assert verify(folder) == []
    assert secret.hex() in (folder / "README.md").read_text()
    with pytest.raises(MetabenchError, match="revealed already"):
        reveal(folder)
    text = (folder / "board.toml").read_text()
    (folder / "board.toml").write_text(text.replace(secret.hex(), "0" * 64))
    with pytest.raises(MetabenchError, match="does not hash to the commitment"):
        verify(folder)


def test_the_next_release_keeps_what_the_owner_wrote(folder: Path) -> None:
    own = '\n[private]  # drawn anew\npool = ["toy/toys ramp"]\nhidden = 1\n'
    (folder / "board.toml").write_text(TOML + own)
    first = open_release(folder, "one")
    reveal(folder)
    first.unlink()
    open_release(folder, "two")
    private = load_spec(folder).private
    assert (private.release, private.pool, private.hidden) == ("two", ["toy/toys ramp"], 1)
    assert private.secret is None
    assert "# drawn anew" in (folder / "board.toml").read_text()


def test_a_secret_is_not_made_where_it_would_be_published(folder: Path) -> None:
    before = (folder / "board.toml").read_text()
    with pytest.raises(MetabenchError, match="which is published"):
        open_release(folder, out=folder / "deep" / "a.salt")
    with pytest.raises(MetabenchError, match="letters, digits"):
        open_release(folder, 'x"\ncommitment = "')
    (folder / "board.toml").write_text(TOML + "private = {}\n")
    with pytest.raises(MetabenchError, match="as a table"):
        open_release(folder)
    assert not default_salt(folder).exists()
    assert "commitment" not in before


def test_a_replay_finds_every_bit_and_a_number_that_was_changed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    toml = TOML.replace('["toy"]', '["tiny"]').replace("standard", "smoke")
    (folder / "board.toml").write_text(toml)
    salt = open_release(folder)
    metabench.run("narrow-bayes", tiny, out=folder, workers=0, seeds=2, salt=salt)
    reveal(folder)
    build(folder)
    monkeypatch.setattr(replaying, "load_suite", lambda name: load_suite(tiny))
    runner = CliRunner()
    done = runner.invoke(app, ["board", "verify", str(folder), "--replay", "2"])
    assert done.exit_code == 0, done.output
    assert "2 cells run again, 0 differ" in done.output
    store = Store(folder)
    for record in store.load().records:
        rows = store.read_rows(record)
        store.write(record, rows.assign(value=rows["value"] * (1 + 1e-12)))
    build(folder)
    done = runner.invoke(app, ["board", "verify", str(folder), "--replay", "1"])
    assert done.exit_code == 1
    assert "values differ" in done.output


def test_a_new_release_is_why_ranks_moved(folder: Path) -> None:
    (folder / "board.toml").write_text(TOML + "gap_margin = 0.1\n")
    public = make_results([BASE, BAYES, Learner("a", constant(0.9)), Learner("b", constant(0.5))])
    written(folder, public)
    build(folder)
    open_release(folder, "one")
    other = make_results([BASE, BAYES, Learner("a", constant(0.2)), Learner("b", constant(0.5))])
    written(folder, salted(other, load_spec(folder).private.commitment))
    build(folder)
    (line,) = [line for line in moves(folder) if line.startswith("a: ")]
    assert "public − private none -> 0.7" in line
    assert "flagged" in line
    assert "(episodes of the public -> release one)" in line


def test_aggregates_of_a_report_are_of_private_episodes_where_there_are_any() -> None:
    results = both(("a", 0.9, 0.1), ("b", 0.2, 0.5))
    made = overview(build_board(results))
    assert (made.salt, made.note, len(made.panels)) == (COMMITTED, "", 1)
    assert [s.label for s in made.tracks["inductive"]][:2] == ["b", "a"]
    only = merge(make_results([BASE, BAYES, Learner("c", constant(0.9))], seeds=5), results)
    (absent,) = [s for s in overview(build_board(only)).tracks["inductive"] if s.label == "c"]
    assert absent.iqm is None
    assert absent.reason == "not run on toy / toys, private episodes"
    assert "Private episodes only (" in build_report(results)


def test_releases_are_never_averaged() -> None:
    results = both(("a", 0.9, 0.1))
    made = overview(build_board(merge(results, salted(make_results(), "f" * 64))))
    assert made.note == "these records are of several releases of private episodes"
    assert all(s.iqm is None for standings in made.tracks.values() for s in standings)


def test_the_page_of_a_leaderboard_has_its_scores(folder: Path) -> None:
    written(folder, both(("a", 0.9, 0.1), ("b", 0.2, 0.5)))
    made = standing(spec(), Store(folder).load())
    (ours,) = [s for s in overview(made.board, made.scores).tracks["inductive"] if s.label == "a"]
    entry_of_a = entry(made, "a")
    assert (ours.iqm, ours.place) == (entry_of_a.iqm, entry_of_a.place)
