"""What a table calls a learner."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from metabench.estimators.labels import labels
from tests.factories import Learner, make_record

VALUES = st.one_of(st.booleans(), st.integers(0, 2), st.sampled_from([1.0, 0.5, "1", "x", None]))
PARAMETERS = st.dictionaries(st.sampled_from(["lr", "steps"]), VALUES, max_size=2)


@given(st.lists(PARAMETERS, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_two_records_share_a_label_only_if_they_differ_in_nothing_but_the_seed(
    variants: list[dict[str, bool | int | float | str | None]],
) -> None:
    records = [
        make_record(Learner("maml", parameters=p), seed) for p in variants for seed in (0, 1)
    ]
    found = labels(records)
    shown: dict[str, set[str]] = {}
    for record in records:
        # The ids of seed 0: one a variant, since an id hashes everything else too.
        twin = record.key.model_copy(update={"seed": 0})
        shown.setdefault(found[record.id], set()).add(twin.id)
    assert all(len(variant) == 1 for variant in shown.values())


def test_one_variant_alone_goes_by_its_name() -> None:
    record = make_record(Learner("maml", parameters={"lr": 0.1}))
    assert labels([record]) == {record.id: "maml"}
