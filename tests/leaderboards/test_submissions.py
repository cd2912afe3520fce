"""Public scores of submissions: an attacker who climbs by feedback gains nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.leaderboards import build, load_spec, open_release, reveal, submit, told, verify
from metabench.leaderboards.submissions import MOVED, OLD, default_salt, private_store
from metabench.salt import read_salt
from metabench.store import Results, load_records
from tests.factories import BASE, BAYES, Learner, constant, make_protocol, make_results
from tests.leaderboards.salted import salted, written

TOML = """
name = "toys"
title = "Toys"
suites = ["toy"]
preset = "standard"
least_seeds = 2
command = "metabench run --suite toy"
"""
EPISODES, TRIES = 150, 60
Bits = NDArray[np.int64]


@pytest.fixture(autouse=True)
def _no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and disks take long, and nothing here asks for either."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr("metabench.reports.write_report", lambda results, path, scores: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "toys"
    made.mkdir()
    (made / "board.toml").write_text(TOML)
    open_release(made, "one")
    return made


def run(folder: Path, name: str, *learners: Learner, seeds: int = 3) -> Path:
    """A run folder of private episodes."""
    committed = load_spec(folder).private.commitment
    results = make_results([BASE, BAYES, *learners], seeds=seeds)
    written(folder.parent / name, salted(results, committed))
    return folder.parent / name


def test_the_first_score_is_told_and_then_only_what_is_better_by_more_than_its_error(
    folder: Path,
) -> None:
    first = submit(folder, run(folder, "a", Learner("a", constant(0.5))), "ann")
    assert (first.outcome, first.number) == (MOVED, 1)
    assert first.score == pytest.approx(0.5, abs=0.05)
    again = submit(folder, run(folder, "b", Learner("b", constant(0.49))), "ann")
    assert (again.outcome, again.number, again.score) == (OLD, 2, first.score)
    worse = submit(folder, run(folder, "c", Learner("c", constant(0.1))), "ann")
    assert (worse.outcome, worse.score) == (OLD, first.score)
    other = submit(folder, run(folder, "d", Learner("d", constant(0.3))), "bob")
    assert other.outcome == MOVED, "another author has a ladder of his own"
    better = submit(folder, run(folder, "e", Learner("e", constant(0.9))), "ann")
    assert better.outcome == MOVED
    assert better.score > first.score
    assert [h.number for h in told(folder)] == [1, 2, 3, 4, 5]


def test_the_boards_folder_says_no_more_of_a_submission_than_its_author_heard(
    folder: Path,
) -> None:
    """Two worlds in which the author hears the same leave the same bytes in the board's folder."""
    seen = []
    for skill in (0.3, 0.1):
        submit(folder, run(folder, "a", Learner("a", constant(0.5))), "ann")
        heard = submit(folder, run(folder, "b", Learner("b", constant(skill))), "ann")
        assert heard.outcome == OLD
        seen.append({p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})
        store = private_store(folder, load_spec(folder))
        assert store.stat().st_mode & 0o077 == 0
        for path in sorted(store.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (folder / "history" / "submissions.csv").unlink()
        for record in (folder.parent / "b" / "records").iterdir():
            record.unlink()
    assert seen[0] == seen[1]
    assert set(seen[0]) == {"board.toml", "submissions.csv"}


PROTOCOL = make_protocol(
    kind="classification",
    metric="accuracy",
    oracle="declared",
    ceiling=1.0,
    conditions=[],
    episodes=EPISODES,
)


def answered(folder: Path, path: Path, right: Bits, answers: Bits, template: Results) -> None:
    """The run of a learner that gives these answers [2, n], one query an episode and seed."""
    table = template.episodes
    mine = table["learner"] == "guesser"
    value = table["value"].astype(float)
    value[mine] = (answers == right).astype(float).reshape(-1)
    value[~mine] = np.tile([0.0, 1.0], (~mine).sum() // 2)
    written(path, Results(template.records, table.assign(value=value)))


def test_the_boosting_attack_climbs_a_plain_board_and_not_this_one(folder: Path) -> None:
    """Blum and Hardt 2015, section 4, through ``submit``, on questions answered by yes or no.

    The skill of a baseline that guesses is 0 and that of every right answer 1, so scores are
    max(0, skill) = 1 if right: the truth of any answer that knows nothing is 0.5.
    """
    rng = np.random.default_rng(0)
    committed = load_spec(folder).private.commitment
    learners = [BASE, Learner("guesser", constant(0.5))]
    template = salted(make_results(learners, seeds=2, protocol=PROTOCOL), committed)
    right = rng.integers(0, 2, (2, EPISODES))
    path = folder.parent / "attack"

    def heard(answers: Bits) -> float:
        answered(folder, path, right, answers, template)
        return submit(folder, path, "mallory").score

    def plain(answers: Bits) -> float:
        return float((answers == right).mean())

    def majority(kept: list[Bits]) -> Bits:
        return (np.mean(kept, axis=0) > 0.5).astype(int) if kept else tries[0]

    tries = [rng.integers(0, 2, right.shape) for _ in range(TRIES)]
    start = heard(tries[0])
    assert start == plain(tries[0]), "the first score is told as it is"
    naive = plain(majority([t for t in tries if plain(t) > 0.5]))
    scores = [start, *(heard(t) for t in tries[1:])]
    climbed = majority([t for t, s in zip(tries, scores, strict=True) if s > start])
    final = heard(climbed)
    # Half the guesses kept, 0.4 sd above chance on average: right with Phi(0.8 sqrt(30 / 300)).
    assert naive > 0.57
    # The luckiest of 60 guesses is 2.3 sd = 0.067 above chance; feedback adds nothing to it.
    assert final <= max(plain(t) for t in tries) <= 0.5 + 0.067 + 0.03
    assert final < naive
    assert len(set(scores)) < 8, "most submissions heard nothing new"
    outcomes = [h.outcome for h in told(folder)]
    assert outcomes.count(OLD) > 0.85 * TRIES


def test_after_the_reveal_the_records_behind_the_scores_are_the_boards(folder: Path) -> None:
    runner = CliRunner()
    for name, author, skill in (("a", "ann", 0.5), ("b", "ann", 0.2), ("c", "bob", 0.7)):
        path = run(folder, name, Learner(name, constant(skill)))
        done = runner.invoke(app, ["board", "submit", str(folder), str(path), "--author", author])
        assert done.exit_code == 0, done.output
        assert ("heard the old score" in done.output) == (name == "b")
    reveal(folder)
    names = {r.key.learner for r in load_records(folder).records}
    assert names == {"a", "c", "ridge", "oracle"}, "b was never told"
    build(folder)
    assert verify(folder) == []
    text = (folder / "README.md").read_text()
    assert "| bob | c |" in text
    with pytest.raises(MetabenchError, match="submissions are over"):
        submit(folder, folder.parent / "a", "ann")
    default_salt(folder).unlink()
    open_release(folder, "two")
    assert told(folder) == [], "a release begins with an empty log"
    assert (folder / "history" / "submissions one.csv").exists()


def test_what_is_hidden_counts_in_the_public_score(tmp_path: Path) -> None:
    """Between learners that differ in one condition, its being drawn decides."""
    skills = {"ramp": 0.9, "flip": 0.1}
    learner = Learner("a", lambda condition, level: skills.get(condition, 0.5))
    heard = {}
    for i in range(8):
        folder = tmp_path / f"toys{i}"
        folder.mkdir()
        pool = '[private]\npool = ["toy/toys ramp", "toy/toys flip"]\nhidden = 1\n'
        (folder / "board.toml").write_text(TOML + pool)
        salt = open_release(folder, "one")
        (drawn,) = load_spec(folder).private.drawn(read_salt(salt))
        heard[drawn] = submit(folder, run(folder, f"r{i}", learner), "ann").score
    assert heard["toy/toys ramp"] > 0.75
    assert heard["toy/toys flip"] < 0.45


def test_a_submission_that_cannot_be_scored_is_refused_and_not_counted(folder: Path) -> None:
    public = make_results([BASE, BAYES, Learner("a", constant(0.5))])
    written(folder.parent / "public", public)
    with pytest.raises(MetabenchError, match="no standard records of its private episodes"):
        submit(folder, folder.parent / "public", "ann")
    failed = Learner("f", constant(0.5), status="failed", error="boom", failed_seeds=[1])
    with pytest.raises(MetabenchError, match="f on toy/toys: failed in a cell"):
        submit(folder, run(folder, "f", failed), "ann")
    with pytest.raises(MetabenchError, match="1 seeds"):
        submit(folder, run(folder, "one", Learner("a", constant(0.5)), seeds=1), "ann")
    two = run(folder, "two", Learner("a", constant(0.5)), Learner("b", constant(0.5)))
    with pytest.raises(MetabenchError, match=r"--learner: .*Allowed: a, b"):
        submit(folder, two, "ann")
    with pytest.raises(MetabenchError, match="author"):
        submit(folder, two, "\n", "a")
    assert told(folder) == []
    assert submit(folder, two, "ann", "a").number == 1
    fewer = run(folder, "fewer", Learner("a", constant(0.9)), seeds=2)
    with pytest.raises(MetabenchError, match="not the episodes of the first submission"):
        submit(folder, fewer, "ann")
    (folder / "history" / "submissions.csv").write_text("number\nx\n")
    with pytest.raises(MetabenchError, match="not a log of submissions"):
        told(folder)


def test_a_name_from_a_stranger_does_no_harm_in_the_log(folder: Path) -> None:
    evil = "=HYPERLINK(1)|<script>\n"
    submit(folder, run(folder, "a", Learner("a", constant(0.5))), evil)
    reveal(folder)
    build(folder)
    assert "<script>" not in (folder / "README.md").read_text()
    assert ",'=HYPERLINK" in (folder / "history" / "submissions.csv").read_text()
