"""Private episodes: other ones for every secret, which is written nowhere."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import metabench
from metabench.boards import build_board
from metabench.cli import app
from metabench.errors import MetabenchError
from metabench.records import EPISODE_COLUMNS
from metabench.running.cell import Settings, addresses, run_cell
from metabench.running.environment import describe
from metabench.running.plan import plan
from metabench.salt import commitment, mixed, new_salt, read_salt
from metabench.store import Results, Store, load_records
from tests.conftest import CPU

SAME = ["learner", "seed", "condition", "level", "episode", "metric", "checkpoint"]


@pytest.fixture
def salt(tmp_path: Path) -> Path:
    new_salt(tmp_path / "one.salt")
    return tmp_path / "one.salt"


def values(results: Results) -> pd.Series:
    return results.episodes.set_index(SAME)["value"].sort_index()


def test_salted_cells_have_other_episodes_and_other_ids_and_the_same_training(
    tiny: Path, tmp_path: Path, salt: Path
) -> None:
    public = metabench.run("maml", tiny, out=tmp_path / "run", workers=0)
    private = metabench.run("maml", tiny, out=tmp_path / "run", workers=0, salt=salt)
    one, other = values(public), values(private)
    assert one.index.equals(other.index)
    assert not {r.id for r in public.records} & {r.id for r in private.records}
    assert (one != other).groupby(["learner", "condition", "level"]).mean().min() > 0.9
    assert len(list((tmp_path / "run" / "trainings").iterdir())) == 1
    (a,) = [r for r in public.records if r.key.learner == "maml"]
    (b,) = [r for r in private.records if r.key.learner == "maml"]
    assert a.training_log == b.training_log


def test_a_secret_gives_the_same_bits_in_this_process_and_in_workers(
    tiny: Path, tmp_path: Path, salt: Path
) -> None:
    runs = [
        metabench.run("narrow-bayes", tiny, out=tmp_path / str(n), workers=n, salt=salt)
        for n in (0, 2)
    ]
    assert all(r.status == "ok" for r in runs[1].records)
    first, second = ({r.id: r.rows_sha256 for r in run.records} for run in runs)
    assert first == second
    new_salt(tmp_path / "other.salt")
    third = metabench.run(
        "narrow-bayes", tiny, out=tmp_path / "3", workers=0, salt=tmp_path / "other.salt"
    )
    assert not set(first) & {r.id for r in third.records}
    assert not set(first.values()) & {r.rows_sha256 for r in third.records}


@pytest.mark.parametrize("suite", ["tiny", "drift"])
def test_everything_below_the_address_of_the_tests_moves_with_the_secret(
    tiny: Path, tmp_path: Path, salt: Path, suite: str
) -> None:
    """Streams under drift as well as conditions."""
    secret = read_salt(salt)
    named: str | Path = tiny if suite == "tiny" else suite
    settings = Settings(device="cpu", environment=describe(CPU), salt=secret, traceback=True)
    tables = []
    for committed in ("", commitment(secret)):
        store = Store(tmp_path / (committed[:4] or "public"))
        store.open()
        cells = plan(["narrow-bayes"], [named], "smoke", 1, None, committed)
        cell = next(c for c in cells if c.key.learner == "narrow-bayes")
        record = run_cell(cell, store, settings, lambda event: None)
        tables.append(store.read_rows(record))
    same = ["condition", "level", "episode", "metric", "checkpoint"]
    both = tables[0].merge(tables[1], on=same)
    moved = (both["value_x"] != both["value_y"]).groupby([both["condition"], both["level"]])
    assert moved.mean().min() > 0, "episodes of every condition are other ones"


def test_the_secret_stands_in_no_file_of_the_run_and_in_no_pickle(
    tiny: Path, tmp_path: Path, salt: Path
) -> None:
    secret = read_salt(salt)
    out = tmp_path / "run"
    metabench.run(["maml", "narrow-bayes"], tiny, out=out, workers=0, salt=salt)
    metabench.report(load_records(out), out / "report.html")
    forms = [secret, secret.hex().encode(), base64.b64encode(secret), repr(secret).encode()]
    files = [p for p in out.rglob("*") if p.is_file()]
    assert len(files) > 10
    for path in files:
        data = path.read_bytes()
        assert not any(form in data for form in forms), path
    (cell, *_) = plan(["maml"], [tiny], "smoke", 1, None, commitment(secret))
    assert not any(form in pickle.dumps(cell) for form in forms)
    settings = Settings(device="cpu", environment=describe(CPU), salt=secret)
    assert not any(form.decode("latin1") in repr(settings) for form in forms[1:])


def test_another_secret_than_the_cells_is_refused_without_being_told(
    tiny: Path, tmp_path: Path, salt: Path
) -> None:
    (cell, *_) = plan(["maml"], [tiny], "smoke", 1, None, commitment(read_salt(salt)))
    wrong = b"x" * 32
    for found in (None, wrong):
        with pytest.raises(MetabenchError, match="not the secret") as caught:
            addresses(cell, found)
        assert wrong.hex() not in str(caught.value)


def test_the_identity_of_a_public_cell_does_not_know_of_salt(tiny: Path) -> None:
    (cell, *_) = plan(["maml"], [tiny], "smoke", 1)
    old = {k: v for k, v in cell.key.model_dump().items() if k != "salt"}
    text = json.dumps(old, sort_keys=True, separators=(",", ":"))
    assert cell.id == hashlib.sha256(text.encode()).hexdigest()[:20]
    assert cell.key.model_copy(update={"salt": "0" * 64}).id != cell.id


def test_each_cell_has_its_own_mixture_of_the_secret() -> None:
    secret = bytes(range(32))
    assert mixed(secret, "ab", "c") != mixed(secret, "a", "bc")
    assert mixed(secret, "ab") != mixed(secret[::-1], "ab")


def test_public_and_private_records_never_share_a_panel(
    tiny: Path, tmp_path: Path, salt: Path
) -> None:
    metabench.run("narrow-bayes", tiny, out=tmp_path / "run", workers=0)
    metabench.run("narrow-bayes", tiny, out=tmp_path / "run", workers=0, salt=salt)
    public, private = build_board(load_records(tmp_path / "run")).panels
    assert (public.panel.salt, private.panel.salt) == ("", commitment(read_salt(salt)))
    assert "private episodes" in private.title
    assert "private" not in public.title
    assert not private.ambiguous


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("ab" * 32, 0o644, "chmod 600"),
        ("ab" * 16, 0o600, "expected 64 hexadecimal digits"),
        ("no secret at all", 0o600, "expected 64 hexadecimal digits"),
        ("\N{SNOWMAN}", 0o600, "expected 64 hexadecimal digits"),
        (None, 0, "no such file. A salt is"),
    ],
)
def test_a_secret_that_cannot_be_used_is_an_error_in_one_line_that_does_not_tell_it(
    tiny: Path, tmp_path: Path, text: str | None, mode: int, message: str
) -> None:
    path = tmp_path / "a.salt"
    if text is not None:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
    command = ["run", "--learner", "maml", "--suite", str(tiny), "--salt", str(path)]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, MetabenchError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert text is None or text not in str(done.exception)


def test_a_secret_is_written_for_its_owner_alone_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.salt"
    secret = new_salt(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_salt(path) == secret
    assert len(secret) == 32
    with pytest.raises(MetabenchError, match="already"):
        new_salt(path)
    assert read_salt(path) == secret


def test_rows_keep_their_columns(tiny: Path, tmp_path: Path, salt: Path) -> None:
    results = metabench.run("narrow-bayes", tiny, out=tmp_path, workers=0, salt=salt)
    assert list(results.episodes.columns) == [*EPISODE_COLUMNS, "record"]
