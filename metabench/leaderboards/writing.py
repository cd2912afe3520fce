"""A leaderboard as Markdown, CSV, LaTeX and JSON. The same records give the same bytes."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict

from metabench.boards.text import field, markdown, plain
from metabench.leaderboards.standing import Entry, Leaderboard
from metabench.statistics import Interval, number

MISSING = "—"
HEADERS = (
    "rank",
    "tier",
    "learner",
    "family",
    "skill, IQM",
    "mean rank",
    "optimality gap",
    "worst suite",
    "flags",
    "seeds",
    "tasks",
    "status",
)
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{mark: "\\" + mark for mark in "&%$#_{}"},
    }
)


def to_markdown(made: Leaderboard) -> str:
    """The page of the leaderboard's folder."""
    spec = made.spec
    lines = [f"# {markdown(spec.title)}", ""]
    if spec.question:
        lines += [markdown(spec.question), ""]
    for track in ("inductive", "transductive"):
        entries = [e for e in made.entries if e.track == track]
        if not entries:
            continue
        lines += [f"## {track.capitalize()} track", ""]
        lines += ["| " + " | ".join(HEADERS) + " |", "|" + " --- |" * len(HEADERS)]
        lines += ["| " + " | ".join(markdown(c) for c in _cells(e)) + " |" for e in entries]
        lines += [""]
    flagged = [entry for entry in made.entries if entry.flags]
    if flagged:
        lines += ["## What the probes flagged", ""]
        lines += [f"- {markdown(e.label)}: {markdown(', '.join(e.flags))}" for e in flagged]
        lines += [""]
    lines += ["## How to read it", "", *(f"- {markdown(note)}" for note in notes(made)), ""]
    lines += ["```console", plain(spec.command), "```", ""]
    return "\n".join(lines)


def notes(made: Leaderboard) -> list[str]:
    """What a reader must know: estimands, policies, where the numbers were made."""
    spec = made.spec
    devices = sorted({d for e in made.entries for d in e.devices})
    versions = sorted({v for e in made.entries for v in e.metabench})
    policy = (
        "A learner with a cell that failed is shown without a rank, with the reason."
        if spec.failed == "unranked"
        else f"A cell that failed counts as a skill of {spec.worst:g}."
    )
    return [
        f"{len(made.tasks)} tasks: the conditions of {', '.join(spec.suites)} in which a best "
        f"baseline and an oracle can be told apart; {spec.preset} preset.",
        "Skill is 0 for the best baseline that never meta-trained and 1 for the Bayes predictor or "
        "the declared ceiling. IQM is its interquartile mean over tasks and seeds; ± is a 95 % "
        "interval by resampling seeds within tasks.",
        "Ranks are sets: with 95 % confidence all of a track hold at once (paired tests over seeds "
        "of the IQM, adjusted by Holm). Learners of a tier cannot be told from its first. They "
        "belong to this pool of entrants. The mean rank is over tasks.",
        "The optimality gap is how far skill falls short of 1 on average; a skill above 1 earns "
        "nothing. Raw metrics are in report.html, for every suite.",
        f"{policy} Below {spec.least_seeds} seeds nobody is ranked.",
        *(
            ["The smoke preset's budgets are too small to conclude anything about a method."]
            if spec.preset == "smoke"
            else []
        ),
        f"Made by metabench {', '.join(versions)} on {', '.join(devices)}.",
    ]


def _cells(entry: Entry) -> list[str]:
    place = entry.place
    worst = entry.worst_suite
    return [
        MISSING if place is None else place.text,
        MISSING if place is None else str(place.tier),
        entry.label,
        entry.family,
        _text(entry.iqm),
        MISSING if entry.mean_rank is None else number(entry.mean_rank, 1),
        _text(entry.optimality_gap),
        MISSING if worst is None else f"{number(worst[1])} {worst[0]}",
        str(len(entry.flags)) if entry.flags else MISSING,
        str(entry.seeds),
        f"{entry.tasks:,.0f}",
        entry.unranked or entry.provenance,
    ]


def _text(interval: Interval | None) -> str:
    return MISSING if interval is None else interval.text()


def to_csv(made: Leaderboard) -> str:
    """One line an entry; numbers in full, an empty field for what is missing."""
    out = io.StringIO()
    rows = [_row(entry) for entry in made.entries]
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _row(e: Entry) -> dict[str, object]:
    place, worst = e.place, e.worst_suite
    return {
        "learner": field(e.label),
        "version": field(e.version),
        "family": field(e.family),
        "track": e.track,
        "provenance": e.provenance,
        "seeds": e.seeds,
        "rank_low": "" if place is None else place.low,
        "rank_high": "" if place is None else place.high,
        "tier": "" if place is None else place.tier,
        **_interval("iqm", e.iqm),
        "mean_rank": "" if e.mean_rank is None else e.mean_rank,
        **_interval("optimality_gap", e.optimality_gap),
        "worst_suite": "" if worst is None else field(worst[0]),
        "worst_skill": "" if worst is None else worst[1],
        "flags": field("; ".join(e.flags)),
        "tasks": e.tasks,
        "hours": e.hours,
        "devices": field(" ".join(e.devices)),
        "metabench": field(" ".join(e.metabench)),
        "date": e.date,
        "unranked": field(e.unranked or ""),
    }


def _interval(name: str, interval: Interval | None) -> dict[str, object]:
    found = (None,) * 3 if interval is None else (interval.mean, interval.low, interval.high)
    ends = ("", "_low", "_high")
    return {f"{name}{e}": "" if v is None else v for e, v in zip(ends, found, strict=True)}


def to_latex(made: Leaderboard) -> str:
    """A booktabs table: rank, learner, IQM, mean rank, worst suite."""
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{tabular}{rllrrl}",
        r"\toprule",
        r"Rank & Learner & Family & Skill, IQM & Mean rank & Worst suite \\",
    ]
    for track in ("inductive", "transductive"):
        entries = [e for e in made.entries if e.track == track]
        if not entries:
            continue
        lines += [r"\midrule", rf"\multicolumn{{6}}{{l}}{{\emph{{{track}}}}} \\"]
        for entry in entries:
            cells = _cells(entry)
            chosen = [cells[0], cells[2], cells[3], _math(entry.iqm), cells[5], cells[7]]
            lines.append(" & ".join(_latex(c) for c in chosen) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _math(interval: Interval | None) -> str:
    if interval is None:
        return MISSING
    if interval.half_width is None:
        return f"${number(interval.mean)}$"
    return rf"${number(interval.mean)} \pm {number(interval.half_width)}$"


def _latex(text: str) -> str:
    if text.startswith("$"):
        return text
    return plain(text).translate(_LATEX).replace(MISSING, "--")


def to_json(made: Leaderboard) -> str:
    """Everything, for machines."""
    content = {
        "board": made.spec.model_dump(),
        "tasks": list(made.tasks),
        "entries": [asdict(entry) for entry in made.entries],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
