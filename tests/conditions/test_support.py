"""Interventions on supports and labels."""

from __future__ import annotations

import pytest
import torch

from metabench.conditions import INTERVENTIONS, Setting, intervene, labels, support
from metabench.episodes import Episodes, Prediction
from metabench.rng import Address
from metabench.scoring import agreement
from metabench.tasks import Shape, TaskDistribution, sample
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid

ADDRESS = Address.of("tests", "support")
CLASSES = Clusters(), Shape(way=4, shot=3, query=2)
FUNCTIONS = Sinusoid(), Shape(shot=(3, 6), query=4)
MODULES = (labels.__name__, support.__name__)
NAMES = [n for n in INTERVENTIONS if type(INTERVENTIONS.get(n)).__module__ in MODULES]
Kind = tuple[TaskDistribution, Shape]


def original(kind: Kind, indices: range = range(40)) -> Episodes:
    return sample(*kind, ADDRESS, indices)


def setting(name: str, kind: Kind, value: float = 1.0, indices: range = range(40)) -> Setting:
    return Setting(name, value, "support", *kind, ADDRESS, indices)


def changed(name: str, kind: Kind, value: float = 1.0, indices: range = range(40)) -> Episodes:
    return intervene(original(kind, indices), setting(name, kind, value, indices))


def applicable(name: str) -> list[Kind]:
    return [k for k in (CLASSES, FUNCTIONS) if k[0].kind in INTERVENTIONS.get(name).kinds]


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_is_changed_alike_in_any_batch_and_its_queries_never(name: str) -> None:
    for kind in applicable(name):
        together = changed(name, kind)
        alone = [changed(name, kind, indices=range(i, i + 1)) for i in range(40)]
        for part in ("x", "y", "mask"):
            whole = getattr(together.support, part)
            assert torch.equal(whole, torch.cat([getattr(e.support, part) for e in alone])), part
        assert torch.equal(together.query.x, original(kind).query.x)
        same = torch.equal(together.query_y, original(kind).query_y)
        assert same == (name != "label-permutation")


def test_another_support_is_of_other_tasks() -> None:
    before, after = original(CLASSES), changed("other-support", CLASSES)
    known = {tuple(item) for item in before.support.x.flatten(0, 1).tolist()}
    assert not any(tuple(item) in known for item in after.support.x.flatten(0, 1).tolist())
    assert torch.equal(after.support.y.sort(1).values, before.support.y.sort(1).values)


def test_no_support_has_nothing_in_it() -> None:
    support = changed("empty-support", FUNCTIONS).support
    assert not support.mask.any()
    assert not support.x.any()
    assert not support.y.any()


@pytest.mark.parametrize("kind", [CLASSES, FUNCTIONS], ids=["classes", "functions"])
def test_another_order_has_the_same_pairs(kind: Kind) -> None:
    before, after = original(kind).support, changed("support-order", kind).support
    assert torch.equal(after.mask, before.mask)
    pairs = [
        sorted(zip(s.x.flatten(2)[i].tolist(), s.y[i].tolist(), strict=True))
        for i in range(40)
        for s in (before, after)
    ]
    assert pairs[::2] == pairs[1::2]
    assert not torch.equal(before.x, after.x)


def test_dropped_items_are_of_different_classes_and_padding_is_last() -> None:
    before, after = original(CLASSES).support, changed("dropped-items", CLASSES, 2).support
    assert torch.equal(after.mask.sum(1), before.mask.sum(1) - 2)
    assert not after.mask[:, -2:].any()
    for i in range(40):
        counts = after.y[i][after.mask[i]].bincount(minlength=4)
        assert sorted(counts.tolist()) == [2, 2, 3, 3]
    functions = changed("dropped-items", FUNCTIONS, 1).support
    assert torch.equal(functions.mask.sum(1), original(FUNCTIONS).support.mask.sum(1) - 1)
    assert not functions.y[~functions.mask].any()


def test_renamed_classes_are_all_others_and_support_and_query_agree() -> None:
    before, after = original(CLASSES), changed("label-permutation", CLASSES)
    for i in range(40):
        new = {int(a): int(b) for a, b in zip(before.support.y[i], after.support.y[i], strict=True)}
        assert sorted(new) == sorted(new.values()) == [0, 1, 2, 3]
        assert all(a != b for a, b in new.items())
        assert [new[int(a)] for a in before.query_y[i]] == after.query_y[i].tolist()


def test_predictions_that_follow_the_names_agree_and_those_that_do_not_never_do() -> None:
    intervention, s = INTERVENTIONS.get("label-permutation"), setting("label-permutation", CLASSES)
    before, after = original(CLASSES), changed("label-permutation", CLASSES)

    def output(e: Episodes) -> torch.Tensor:
        return torch.eye(5)[e.query_y]  # one column more than classes

    followed = Prediction(intervention.followed(output(before), s))
    assert bool((agreement(followed, Prediction(output(after)), after) == 1).all())
    assert bool((agreement(followed, Prediction(output(before)), after) == 0).all())


def test_shuffled_labels_are_the_same_labels_elsewhere() -> None:
    for kind in (CLASSES, FUNCTIONS):
        before, after = original(kind).support, changed("shuffled-labels", kind).support
        assert torch.equal(after.x, before.x)
        assert torch.equal(after.y.flatten(1).sort(1).values, before.y.flatten(1).sort(1).values)
        assert not torch.equal(after.y, before.y)
        assert not after.y[~after.mask].any()


@pytest.mark.parametrize("name", ["label-noise", "pair-flip"])
def test_the_share_of_wrong_labels_is_the_level(name: str) -> None:
    many = range(400)
    before = original(CLASSES, many).support
    wrong = {v: changed(name, CLASSES, v, many).support.y != before.y for v in (0.0, 0.2, 0.4)}
    assert not wrong[0.0].any()
    # 4,800 labels: three standard errors are .017 and .021.
    assert wrong[0.2].double().mean().item() == pytest.approx(0.2, abs=0.0175)
    assert wrong[0.4].double().mean().item() == pytest.approx(0.4, abs=0.0215)
    assert not (wrong[0.2] & ~wrong[0.4]).any()


def test_noise_on_targets_has_the_standard_deviation_of_the_level() -> None:
    many = range(1000)
    before, after = original(FUNCTIONS, many).support, changed("label-noise", FUNCTIONS, 0.5, many)
    noise = (after.support.y - before.y)[before.mask]
    assert noise.std().item() == pytest.approx(0.5, abs=0.02)
    assert not after.support.y[~before.mask].any()


def test_one_item_is_an_outlier() -> None:
    before, after = original(CLASSES).support, changed("outlier-label", CLASSES).support
    assert torch.equal((before.y != after.y).sum(1), torch.ones(40, dtype=torch.int64))
    before, after = original(FUNCTIONS).support, changed("outlier-label", FUNCTIONS, 5.0).support
    moved = (after.y - before.y).squeeze(-1)
    assert torch.allclose(moved.sum(1), torch.full((40,), 5.0), atol=1e-5)
    assert torch.equal((moved != 0).sum(1), torch.ones(40, dtype=torch.int64))


def test_jitter_is_scaled_noise_on_the_inputs() -> None:
    before = original(FUNCTIONS).support.x
    small, large = (changed("jitter", FUNCTIONS, v).support.x - before for v in (0.1, 0.2))
    assert torch.allclose(2 * small, large, atol=1e-5)
    assert small.std().item() == pytest.approx(0.1, abs=0.02)
