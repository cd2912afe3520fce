"""A leaderboard as Markdown, CSV, LaTeX and JSON. The same records give the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from metabench.boards.text import field, markdown, plain
from metabench.leaderboards.private import Gap
from metabench.leaderboards.spec import Private
from metabench.leaderboards.standing import Entry, Leaderboard
from metabench.leaderboards.submissions import Heard
from metabench.statistics import Interval

MISSING = "—"
PAGE = "report.html"
"""Every suite's page, beside the tables."""
HEADERS = (
    "rank",
    "tier",
    "learner",
    "version",
    "family",
    "skill, IQM",
    "mean rank",
    "optimality gap",
    "worst suite",
    "public − private",
    "flags",
    "seeds",
    "parameters",
    "tasks",
    "training",
    "date",
    "status",
)


def to_markdown(made: Leaderboard, heard: Sequence[Heard] = ()) -> str:
    """The page of the leaderboard's folder; ``heard`` is what submissions were told."""
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
        lines += ["| " + " | ".join(_linked(made, e)) + " |" for e in entries]
        lines += [""]
    flagged = [entry for entry in made.entries if entry.flags]
    if flagged:
        lines += ["## What the probes flagged", ""]
        for entry in flagged:
            links = [_link(made, flag.partition(":")[0], flag) for flag in entry.flags]
            lines += [f"- {markdown(entry.label)}: {', '.join(links)}"]
        lines += [""]
    lines += ["## Raw metrics", ""]
    lines += [f"- {_link(made, place, place)}" for place in made.anchors]
    lines += ["", *_told(heard), *_release(made.spec.private)]
    lines += ["## How to read it", "", *(f"- {markdown(note)}" for note in notes(made)), ""]
    lines += ["```console", *map(plain, spec.command.strip().splitlines()), "```", ""]
    return "\n".join(lines)


def _link(made: Leaderboard, place: str, text: str) -> str:
    """To the evidence: the place's section of the page."""
    anchor = made.anchors.get(place)
    return markdown(text) if anchor is None else f"[{markdown(text)}]({PAGE}#{anchor})"


def _linked(made: Leaderboard, entry: Entry) -> list[str]:
    cells = [markdown(cell) for cell in _cells(entry)]
    if entry.worst_suite is not None:
        place, interval = entry.worst_suite
        cells[HEADERS.index("worst suite")] = f"{interval.text()} {_link(made, place, place)}"
    if entry.flags:
        where = HEADERS.index("flags")
        cells[where] = f"[{cells[where]}](#what-the-probes-flagged)"
    return cells


def _told(heard: Sequence[Heard]) -> list[str]:
    """The last public score of every author, best first."""
    if not heard:
        return []
    last = {one.author: one for one in heard}
    count = Counter(one.author for one in heard)
    lines = [
        "## Public scores of submissions",
        "",
        "| author | learner | score | submissions | last |",
        "| --- | --- | --- | --- | --- |",
    ]
    for author, one in sorted(last.items(), key=lambda item: (-item[1].score, item[0])):
        cells = (author, one.learner, f"{one.score:.4f}", str(count[author]), one.outcome)
        lines.append("| " + " | ".join(markdown(c) for c in cells) + " |")
    return [
        *lines,
        "",
        "Mean over private episodes of the skill in each, cut off at 0 and 1. It moves only by the "
        "Ladder (Blum, Hardt 2015), so that it can't be climbed by feedback; it is exact for these "
        "episodes, and an interval would tell of others. Ranks come later, from the records.",
        "",
    ]


def _release(private: Private) -> list[str]:
    if not private.commitment:
        return []
    lines = ["## Private episodes", ""]
    lines += [f"- release {markdown(private.release)}, opened {markdown(private.opened)}"]
    lines += [f"- commitment (SHA-256 of the secret): `{private.commitment}`"]
    if private.pool:
        pool = ", ".join(markdown(name) for name in private.pool)
        lines += [f"- of these, {private.hidden} count, which the secret has drawn: {pool}"]
    if private.secret is not None:
        lines += [f"- secret, revealed {markdown(private.revealed or '')}: `{private.secret}`"]
        drawn = private.drawn()
        lines += [f"- drawn: {', '.join(markdown(d) for d in drawn)}"] if drawn else []
    else:
        lines += ["- the secret is not yet revealed"]
    return [*lines, ""]


def notes(made: Leaderboard) -> list[str]:
    """What a reader must know: estimands, policies, where the numbers were made."""
    spec = made.spec
    devices = sorted({d for e in made.entries for d in e.devices})
    versions = sorted({v for e in made.entries for v in e.metabench})
    commits = sorted({c for e in made.entries for c in e.commits})
    at = f" (commit {', '.join(commits)})" if commits else ""
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
        "interval by resampling seeds, each with all its tasks.",
        "Ranks are sets: with 95 % confidence all of a track hold at once (paired tests over seeds "
        "of the IQM, adjusted by Holm). Learners of a tier cannot be told from its first. They "
        "belong to this pool of entrants. The mean rank is over tasks, in one seed.",
        "The worst suite is the one with the least skill over its shifted conditions; its interval "
        "does not know that it was picked.",
        "The optimality gap is how far skill falls short of 1 on average; a skill above 1 earns "
        "nothing. Raw metrics are in report.html, for every suite.",
        "Training is meta-training, the mean over cells; parameters are counted, the least and the "
        "most over suites.",
        *(
            [
                "Ranks, skill and flags come from private episodes. Public − private is the skill "
                "(IQM over the same tasks) that a learner loses on them, with a 95 % t-interval "
                "over seeds: flagged where the one-sided 95 % bound is above "
                f"{spec.gap_margin:g}."
            ]
            if made.salt
            else []
        ),
        f"{policy} Skill on a task below {spec.worst:g} counts as that. Below {spec.least_seeds} "
        "seeds nobody is ranked.",
        *(
            ["The smoke preset's budgets are too small to conclude anything about a method."]
            if spec.preset == "smoke"
            else []
        ),
        f"Made by metabench {', '.join(versions)}{at} on {', '.join(devices)}.",
    ]


def _cells(entry: Entry) -> list[str]:
    place = entry.place
    worst = entry.worst_suite
    return [
        MISSING if place is None else place.text,
        MISSING if place is None else str(place.tier),
        entry.label,
        entry.version,
        entry.family,
        _text(entry.iqm),
        MISSING if entry.mean_rank is None else entry.mean_rank.text(1),
        _text(entry.optimality_gap),
        MISSING if worst is None else f"{worst[1].text()} {worst[0]}",
        _gap_text(entry.gap),
        str(len(entry.flags)) if entry.flags else MISSING,
        str(entry.seeds),
        _count(entry.parameters),
        f"{entry.tasks:,.0f}",
        f"{entry.training_seconds:,.0f} s",
        entry.date,
        entry.unranked or entry.provenance,
    ]


def _gap_text(gap: Gap | None) -> str:
    if gap is None:
        return MISSING
    return gap.interval.text() + (" flagged" if gap.flagged else "")


def _count(parameters: tuple[int, int] | None) -> str:
    if parameters is None:
        return MISSING
    least, most = (f"{n:,}" for n in parameters)
    return least if least == most else f"{least}–{most}"


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
    least, most = ("", "") if e.parameters is None else e.parameters
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
        **_interval("mean_rank", e.mean_rank),
        **_interval("optimality_gap", e.optimality_gap),
        "worst_suite": "" if worst is None else field(worst[0]),
        **_interval("worst_skill", None if worst is None else worst[1]),
        **_interval("gap", None if e.gap is None else e.gap.interval),
        "gap_bound": "" if e.gap is None or e.gap.bound is None else e.gap.bound,
        "gap_flagged": "" if e.gap is None else e.gap.flagged,
        "flags": field("; ".join(e.flags)),
        "parameters_least": least,
        "parameters_most": most,
        "tasks": e.tasks,
        "training_seconds": e.training_seconds,
        "evaluation_seconds": e.evaluation_seconds,
        "devices": field(" ".join(e.devices)),
        "metabench": field(" ".join(e.metabench)),
        "commits": field(" ".join(e.commits)),
        "date": e.date,
        "unranked": field(e.unranked or ""),
    }


def _interval(name: str, interval: Interval | None) -> dict[str, object]:
    found = (None,) * 3 if interval is None else (interval.mean, interval.low, interval.high)
    ends = ("", "_low", "_high")
    return {f"{name}{e}": "" if v is None else v for e, v in zip(ends, found, strict=True)}


def to_json(made: Leaderboard) -> str:
    """Everything, for machines."""
    content = {
        "board": made.spec.model_dump(),
        "salt": made.salt,
        "tasks": list(made.tasks),
        "page": {place: f"{PAGE}#{anchor}" for place, anchor in made.anchors.items()},
        "entries": [asdict(entry) for entry in made.entries],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
