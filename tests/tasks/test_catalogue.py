"""Catalogues: the labelled items that ordinary classifiers are trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.tasks.clusters import Clusters
from metabench.tasks.sinusoid import Sinusoid
from tests.conftest import CPU
from tests.tasks.test_pool import CLASSES, ITEMS, Numbered, identity

ADDRESS = Address.of("tests", "catalogue")


def test_an_epoch_is_the_whole_catalogue_once_in_an_order_of_its_own() -> None:
    catalogue = Numbered().catalogue(ADDRESS)
    size = catalogue.classes * catalogue.items
    two = catalogue.ordered(ADDRESS, range(2 * size)).reshape(2, size)
    assert (np.sort(two, axis=1) == np.arange(size)).all()
    assert (two[0] != two[1]).any()
    across = catalogue.ordered(ADDRESS, range(size - 3, size + 5))
    assert np.array_equal(across, two.flatten()[size - 3 : size + 5])


def test_items_of_a_pool_are_its_images_in_order_of_class() -> None:
    catalogue = Numbered().catalogue(ADDRESS)
    assert (catalogue.classes, catalogue.items) == (CLASSES, ITEMS)
    items = np.arange(CLASSES * ITEMS)
    which, item = identity(catalogue.fetch(items, CPU))
    assert np.array_equal(which.numpy(), items // ITEMS)
    assert np.array_equal(item.numpy(), items % ITEMS)


def test_turns_of_a_class_are_classes_of_the_catalogue() -> None:
    assert Numbered(rotations=True).catalogue(ADDRESS).classes == 4 * CLASSES


def test_endless_classes_give_a_fixed_set_of_clusters() -> None:
    task = Clusters(shape=(3, 2), spread=20.0)
    catalogue = task.catalogue(ADDRESS)
    x = catalogue.fetch(np.arange(64 * 20), CPU).view(64, 20, 6)
    assert float((x - x.mean(1, keepdim=True)).std()) == pytest.approx(1.0, abs=0.05)
    assert float(x.mean(1).std()) == pytest.approx(20.0, rel=0.15)
    again = task.catalogue(ADDRESS).fetch(np.arange(5), CPU)
    assert torch.equal(again, x.view(-1, 3, 2)[:5])
    assert not torch.equal(task.catalogue(ADDRESS.child("b")).fetch(np.arange(5), CPU), again)


def test_regression_has_no_classes_to_list() -> None:
    with pytest.raises(MetabenchError, match="Sinusoid: a regression task has no classes"):
        Sinusoid().catalogue(ADDRESS)
