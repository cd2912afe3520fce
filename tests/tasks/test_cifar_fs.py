"""CIFAR-FS: from the Parquet files of CIFAR-100 to three pools of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metabench.errors import MetabenchError
from metabench.rng import Address
from metabench.tasks import Shape, cifar_fs, sample
from metabench.tasks.cifar_fs import TEST, VAL, CifarFs
from tests.tasks.test_omniglot import needs_data, png, root  # noqa: F401 - a fixture

NAMES = sorted(["apple", "bear", *VAL, *TEST])


def write(folder: Path, counts: dict[str, int], name: str, names: list[str] = NAMES) -> None:
    """So many pictures of each class, last class first; red is the class, green the picture."""
    import datasets

    rows = [
        {
            "img": png(
                Image.new("RGB", (32, 32), (names.index(c), i, 200 if name == "test" else 0))
            ),
            "fine_label": names.index(c),
        }
        for c in reversed(names)
        for i in range(counts.get(c, 2))
    ]
    features = datasets.Features(img=datasets.Image(), fine_label=datasets.ClassLabel(names=names))
    (folder / "cifar100").mkdir(exist_ok=True)
    made = datasets.Dataset.from_list(rows, features=features)
    made.to_parquet(str(folder / "cifar100" / f"{name}.parquet"))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    cifar_fs._pool.cache_clear()


def test_the_splits_are_bertinettos_and_share_no_class() -> None:
    assert (len(VAL), len(TEST)) == (16, 20)
    assert not VAL & TEST


def test_both_files_of_a_class_are_pooled_with_channels_first(root: Path) -> None:  # noqa: F811
    write(root, {}, "train")
    write(root, dict.fromkeys(NAMES, 1), "test")
    pool = CifarFs(split="train").base_pool()
    assert pool.class_names == ("apple", "bear")
    assert pool.images.shape == (2, 3, 3, 32, 32)
    assert pool.images[1, :, :, 0, 0].tolist() == [
        [NAMES.index("bear"), i, b] for i, b in ((0, 0), (1, 0), (0, 200))
    ]
    assert set(CifarFs(split="val").base_pool().class_names) == VAL
    assert set(CifarFs(split="test").base_pool().class_names) == TEST
    assert len(CifarFs(split="test").prepare()["cifar-fs/test"]) == 64


def test_episodes_have_the_shape_of_the_pools_images(root: Path) -> None:  # noqa: F811
    write(root, {}, "train")
    write(root, {}, "test")
    task = CifarFs()
    assert task.input_shape == (3, 32, 32)
    e = sample(task, Shape(way=2, shot=(1, 2), query=2), Address.of("c"), range(4))
    assert e.support.x.shape == (4, 4, 3, 32, 32)
    assert not e.support.x[~e.support.mask].any()
    assert float(e.query.x.max()) <= 1


def test_bad_data_is_told_in_one_line(root: Path) -> None:  # noqa: F811
    write(root, {"bear": 3}, "train")
    with pytest.raises(MetabenchError, match=r"test\.parquet: no such file"):
        CifarFs().base_pool()
    write(root, {}, "test")
    with pytest.raises(MetabenchError, match="classes have 4 to 5 images"):
        CifarFs().base_pool()
    write(root, {}, "train", NAMES[:-1])
    write(root, {}, "test", NAMES[:-1])
    with pytest.raises(MetabenchError, match="no class is named 'worm'"):
        CifarFs().base_pool()


@needs_data
@pytest.mark.data
def test_real_cifar_fs_has_64_16_and_20_classes() -> None:
    pools = [CifarFs(split=s).base_pool() for s in ("train", "val", "test")]
    assert [p.classes for p in pools] == [64, 16, 20]
    assert len({name for p in pools for name in p.class_names}) == 100
    assert {p.items for p in pools} <= {200, 600}
    mean = np.asarray(pools[0].images[:, ::20], dtype=np.float64).mean((0, 1, 3, 4)) / 255
    np.testing.assert_allclose(mean, (0.507, 0.487, 0.441), atol=0.03)


def test_grey_pictures_have_the_shape_of_characters_and_the_luma_of_the_colours(
    root: Path,  # noqa: F811
) -> None:
    write(root, {}, "train")
    write(root, {}, "test")
    task = CifarFs(split="val", grey=True)
    assert task.input_shape == (1, 28, 28)
    colour, grey = CifarFs(split="val").base_pool().images, task.base_pool().images
    weights = np.array([0.299, 0.587, 0.114])
    luma = np.einsum("c,kichw->kihw", weights, colour.numpy())[..., :28, :28]
    np.testing.assert_allclose(grey[:, :, 0].numpy(), luma, atol=1)
    assert set(task.prepare()) == {"cifar-fs/val-grey"}
    assert task.prepare()["cifar-fs/val-grey"] != CifarFs(split="val").prepare()["cifar-fs/val"]
    e = sample(task, Shape(way=2, shot=1, query=2), Address.of("c"), range(4))
    assert e.support.x.shape == (4, 2, 1, 28, 28)


def test_grey_pictures_are_shrunk_without_gaps() -> None:
    """A ramp stays a ramp."""
    ramp = Image.fromarray(np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1)))
    small = cifar_fs._grey(ramp.convert("RGB")).astype(int)
    assert small.shape == (28, 28)
    assert (small == small[0]).all()
    steps = np.diff(small[0])
    assert abs(float(steps.mean()) - 8 * 32 / 28) < 0.2
    assert steps.max() - steps.min() <= 2
