"""Every shipped learner on every shipped suite: it has cells, or a reason why not."""

from __future__ import annotations

import pytest

from metabench.errors import MetabenchError
from metabench.learners import LEARNERS
from metabench.running.plan import plan
from metabench.suite import SourceSpec, load_suite, suite_names

SHIPPED = [name for name in LEARNERS if LEARNERS.get(name).card.family != "control"]


@pytest.mark.parametrize("suite", suite_names())
def test_a_shipped_learner_has_cells_in_smoke_or_is_told_why_not(
    suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SourceSpec, "prepare", lambda self: {})  # no plan hangs on the data
    loaded = load_suite(suite)
    sources, points = loaded.sources_of("smoke"), loaded.get_preset("smoke").points
    asked = {source.train.kind for source in sources}
    for name in SHIPPED:
        card = LEARNERS.get(name).card
        able = [source for source in sources if source.train.kind in card.kinds]
        turned = points and card.family != "baseline"
        due = {s.name for s in able if not turned or card.knobs_of(s.train.kind)}
        if due:
            found = {
                c.source.name for c in plan([name], [loaded], "smoke") if c.key.learner == name
            }
            assert found == due, name
            continue
        with pytest.raises(MetabenchError) as refused:
            plan([name], [loaded], "smoke")
        reason = str(refused.value)
        assert reason.startswith(f"learner {name}")
        if able:
            assert "declares no knobs" in reason
        else:
            assert f"does {' and '.join(card.kinds)}" in reason
            assert f"the suites ask for {' and '.join(sorted(asked))}" in reason


@pytest.mark.parametrize("suite", ["brittleness", "goodhart", "overfitting"])
def test_a_refused_learner_is_told_of_the_presets_that_it_can_do(suite: str) -> None:
    with pytest.raises(MetabenchError, match=r"ask for regression; .* in preset smoke-images"):
        plan(["protonet"], [suite], "smoke")
    with pytest.raises(MetabenchError, match=r"ask for classification; .* in preset smoke, "):
        plan(["fourier-ridge"], [suite], "smoke-images")


def test_no_preset_is_named_where_none_suits() -> None:
    with pytest.raises(MetabenchError, match=r"the suites ask for regression$"):
        plan(["protonet"], ["drift"], "smoke")
