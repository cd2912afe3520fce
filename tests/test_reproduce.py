"""The reproduction scripts: what is merged, what is rendered, where published figures come from."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metabench.learners.contract import LEARNERS
from metabench.tasks import Shape
from metabench.tasks.amplitude_sinusoid import AmplitudeSinusoid

FOLDER = Path(__file__).parents[1] / "benchmarks" / "reproduce"
sys.path.insert(0, str(FOLDER))

import common  # noqa: E402
import render  # noqa: E402
from common import Figure, Job, Measured, Results, Score, Table  # noqa: E402

TABLES = render.tables()
CPU = torch.device("cpu")


def row(**changes: object) -> Measured:
    """A row of the results of ``tiny``."""
    values: dict[str, object] = {
        "learner": "maml",
        "setting": "5-shot",
        "track": "inductive",
        "iterations": 4,
        "identity": "abc",
        "seeds": [0.5, 0.7, 0.6],
        "seconds": [60.0, 60.0, 60.0],
        "command": "python x.py --seeds 3",
        "date": "2026-01-01",
        "device": "cpu (test)",
        "torch": "2",
    }
    return Measured.model_validate(values | changes)


def constant(job: Job, learner: object, seed: int, device: torch.device) -> common.Scores:
    return {("maml", "5-shot"): Score(value=float(seed))}


TINY = Table(
    name="tiny",
    title="Tiny",
    unit="error",
    notes="",
    digits=2,
    test="one task",
    figures=(
        Figure("maml", "5-shot", "only", 0.4, None, "Somebody 2020 [R]", gate=("at most", 0.65)),
        Figure("maml", "1-shot", "other", 0.9, None, "Somebody 2020 [R]"),
        Figure("human", "5-shot", value=0.1, source="Somebody 2020 [R]"),
    ),
    jobs=(
        Job("only", "maml", AmplitudeSinusoid(), Shape(shot=5, query=5), 8, {"meta_batch": 2}),
        Job("other", "maml", AmplitudeSinusoid(), Shape(shot=1, query=5), 8, {"meta_batch": 2}),
    ),
    score=constant,
)


def test_the_page_is_what_the_results_say() -> None:
    written = render.PAGE.read_text(encoding="utf-8")
    assert written == render.page(TABLES), "run: python benchmarks/reproduce/render.py"


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_published_figure_has_a_source_that_says_how_it_was_read(table: Table) -> None:
    for figure in table.figures:
        if figure.value is not None:
            assert re.search(r"\[(R|3P|M|D)\]$", figure.source), figure


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_figure_has_a_job_and_every_job_measures_a_figure(table: Table) -> None:
    names = [job.name for job in table.jobs]
    assert len(set(names)) == len(names)
    assert {figure.job for figure in table.figures if figure.job} == set(names)


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_the_track_of_a_figure_is_that_of_its_learner(table: Table) -> None:
    for figure in table.figures:
        if figure.job:
            card = LEARNERS.get(table.job(figure.job).learner).card
            assert (figure.track == "transductive") == card.transductive, figure


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_measured_row_belongs_to_a_figure(table: Table) -> None:
    known = {(f.learner, f.setting, f.track) for f in table.figures if f.job}
    for measured in Results.load(table.path).rows:
        assert measured.key[:3] in known
        assert len(measured.seconds) in (0, len(measured.seeds))


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_job_makes_a_learner_with_its_hyper_parameters(table: Table) -> None:
    for job in table.jobs:
        assert len(job.identity) == 12


def test_a_new_measurement_keeps_the_rows_and_seeds_that_were_there() -> None:
    results = Results(rows=[row(), row(setting="10-shot")])
    results.merge(row(seeds=[0.1], seconds=[1.0], command="python x.py --seeds 1"))
    first, second = results.rows
    assert first.seeds == [0.1, 0.7, 0.6]
    assert first.seconds == [1.0, 60.0, 60.0]
    assert first.command.endswith("--seeds 3")
    assert second == row(setting="10-shot")


def test_another_length_is_another_row_and_another_training_replaces_it() -> None:
    results = Results(rows=[row()])
    results.merge(row(iterations=8))
    assert [r.iterations for r in results.rows] == [4, 8]
    results.merge(row(identity="other", seeds=[0.1], seconds=[1.0]))
    assert results.rows[0].seeds == [0.1]


def test_a_row_shorter_than_published_says_so_and_is_not_gated() -> None:
    text = render.section(TINY, Results(rows=[row()]))
    assert "| 0.40 |" not in text
    line = next(x for x in text.splitlines() if x.startswith("| maml | 5-shot"))
    assert "0.60 ± 0.25 | 4 / 8 CPU-size | at most 0.65 at full length |" in line


@pytest.mark.parametrize(("value", "verdict"), [(0.6, "met"), (0.7, "**missed**")])
def test_a_full_row_is_gated(value: float, verdict: str) -> None:
    text = render.section(TINY, Results(rows=[row(iterations=8, seeds=[value], seconds=[1.0])]))
    assert f"8 / 8 | at most 0.65: {verdict} |" in text
    assert "1 seed: no interval" in text


def test_what_was_not_measured_is_not_run_with_the_command_that_would() -> None:
    text = render.section(TINY, Results())
    (line,) = [x for x in text.splitlines() if x.startswith("| maml | 1-shot")]
    assert "| not run | 0 / 8 |" in line
    assert "`python benchmarks/reproduce/tiny.py --only other --seeds 3`, not run" in text
    assert "| human | 5-shot | — | 0.1 | Somebody 2020 [R] | — | — | | |" in text


def test_another_task_or_length_never_resumes_the_same_checkpoint() -> None:
    job = TINY.job("only")
    others = (
        replace(job, iterations=9),
        replace(job, parameters={"meta_batch": 3}),
        replace(job, source=AmplitudeSinusoid(noise=0.2)),
        replace(job, shape=Shape(shot=6, query=5)),
    )
    paths = {str(j.checkpoint(0, Path("x")).path) for j in (job, *others)}
    assert len(paths) == 5
    assert replace(job, name="renamed", table="else").identity == job.identity


def test_a_training_resumes_to_the_same_bits(tmp_path: Path) -> None:
    job = TINY.job("only")
    whole, _ = common.trained(job, 0, CPU, tmp_path / "whole")
    stopped = replace(job, iterations=4)
    common.trained(stopped, 0, CPU, tmp_path / "part")
    (part,) = (tmp_path / "part").iterdir()
    header_says_done = part.read_bytes().replace(b'"done":"1"', b'"done":"0"')
    job.checkpoint(0, tmp_path / "part").path.write_bytes(header_says_done)
    resumed, _ = common.trained(job, 0, CPU, tmp_path / "part")
    assert all(torch.equal(v, resumed.state_dict()[k]) for k, v in whole.state_dict().items())


def test_a_script_measures_prints_and_merges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results" / "tiny.json"
    options = ["--only", "only", "--seeds", "2", "--iterations", "2"]
    places = ["--folder", str(tmp_path / "runs"), "--results", str(path)]
    common.reproduce(TINY, [*options, *places])
    (measured,) = Results.load(path).rows
    assert measured.seeds == [0.0, 1.0]
    assert measured.iterations == 2
    assert measured.command.endswith("tiny.py --only only --seeds 2 --iterations 2")
    assert "published 0.4" in capsys.readouterr().out
