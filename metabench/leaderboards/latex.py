"""A leaderboard as a LaTeX table."""

from __future__ import annotations

from metabench.boards.text import plain
from metabench.leaderboards.standing import Leaderboard
from metabench.statistics import Interval, number

MISSING = "--"
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{mark: "\\" + mark for mark in "&%$#_{}"},
    }
)


def to_latex(made: Leaderboard) -> str:
    """A booktabs table: rank, learner, IQM, mean rank, worst suite, public-private gap."""
    lines = [
        "% needs \\usepackage{booktabs}, and a landscape page or \\resizebox",
        r"\begin{tabular}{rllrrrlr}",
        r"\toprule",
        r"Rank & Learner & Family & Skill, IQM & Mean rank & \multicolumn{2}{l}{Worst suite} & "
        r"Public $-$ private \\",
    ]
    for track in ("inductive", "transductive"):
        entries = [e for e in made.entries if e.track == track]
        if not entries:
            continue
        lines += [r"\midrule", rf"\multicolumn{{8}}{{l}}{{\emph{{{track}}}}} \\"]
        for entry in entries:
            worst, gap = entry.worst_suite, entry.gap
            chosen = [
                _latex(MISSING if entry.place is None else entry.place.text),
                _latex(entry.label),
                _latex(entry.family),
                _math(entry.iqm),
                _math(entry.mean_rank, 1),
                _math(None if worst is None else worst[1]),
                _latex("" if worst is None else worst[0]),
                _math(None if gap is None else gap.interval),
            ]
            lines.append(" & ".join(chosen) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _math(interval: Interval | None, digits: int = 2) -> str:
    if interval is None:
        return MISSING
    if interval.half_width is None:
        return f"${number(interval.mean, digits)}$"
    return rf"${number(interval.mean, digits)} \pm {number(interval.half_width, digits)}$"


def _latex(text: str) -> str:
    return plain(text).translate(SPECIAL)
