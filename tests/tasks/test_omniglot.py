"""Omniglot and MNIST: from Parquet files to pools."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from metabench.errors import MetabenchError
from metabench.tasks import cache, mnist, omniglot
from metabench.tasks.mnist import Mnist
from metabench.tasks.omniglot import Omniglot

needs_data = pytest.mark.skipif(
    "METABENCH_DATA" not in os.environ, reason="METABENCH_DATA names no data"
)


def png(image: Image.Image) -> dict[str, object]:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return {"bytes": out.getvalue(), "path": None}


def rows(drawers: int = 3) -> pd.DataFrame:
    made = []
    for alphabet in ("Zeta", "Alpha"):
        for character in (1, 0):
            for drawer in range(drawers, 0, -1):
                image = Image.new("1", (105, 105), 1)
                size = 10 + 30 * character + drawer
                image.paste(0, (20, 20, 20 + size, 40))
                made.append(
                    {
                        "image": png(image),
                        "alphabet": alphabet,
                        "alphabet_char_id": character,
                        "label": 0,
                        "drawer": drawer,
                    }
                )
    return pd.DataFrame(made)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root of its own with a tiny Omniglot, and a cache of its own."""
    monkeypatch.setenv("METABENCH_DATA", str(tmp_path))
    monkeypatch.setenv("METABENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "omniglot").mkdir()
    (tmp_path / "mnist").mkdir()
    omniglot._pool.cache_clear()
    omniglot._vinyals.cache_clear()
    mnist._pool.cache_clear()
    return tmp_path


def write(root: Path, table: pd.DataFrame, name: str = "omniglot/train.parquet") -> None:
    import datasets

    made = datasets.Dataset.from_pandas(table, preserve_index=False)
    if "image" in table:
        made = made.cast_column("image", datasets.Image())
    made.to_parquet(str(root / name))


def test_classes_are_in_order_of_alphabet_and_character_whatever_the_rows_order(
    root: Path,
) -> None:
    write(root, rows())
    pool = Omniglot().base_pool()
    assert pool.class_names == ("Alpha/0", "Alpha/1", "Zeta/0", "Zeta/1")
    assert pool.group_names == ("Alpha", "Zeta")
    assert pool.images.shape == (4, 3, 1, 28, 28)
    ink = pool.images.double().sum((2, 3, 4))
    assert (ink.diff(dim=1) > 0).all(), "drawers ascend"
    omniglot._pool.cache_clear()
    write(root, rows().sample(frac=1, random_state=1))
    assert Omniglot().base_pool().digest == pool.digest


def test_ink_is_one_and_paper_is_zero(root: Path) -> None:
    write(root, rows())
    image = Omniglot().base_pool().images[1, 0, 0]
    assert int(image[0, 0]) == 0
    assert int(image.max()) == 255


def test_a_second_start_reads_the_cache_and_not_the_rows(root: Path) -> None:
    write(root, rows())
    first = Omniglot().base_pool()
    code = (
        "import sys; from metabench.tasks.omniglot import Omniglot; "
        "print(Omniglot().base_pool().digest, 'datasets' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [first.digest, "False"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "train.parquet: no such file"),
        ("column", "column 'alphabet' is missing"),
        ("corrupt", "not a readable Parquet file"),
        ("ragged", "characters have 2 to 3 images"),
    ],
)
def test_bad_data_is_told_in_one_line(root: Path, damage: str, message: str) -> None:
    if damage == "column":
        write(root, rows().drop(columns="alphabet"))
    elif damage == "corrupt":
        (root / "omniglot" / "train.parquet").write_bytes(b"PAR1 not really")
    elif damage == "ragged":
        write(root, rows().iloc[1:])
    with pytest.raises(MetabenchError) as caught:
        Omniglot().base_pool()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_data_the_error_says_how_to_get_it(root: Path) -> None:
    code = "from metabench.tasks.omniglot import Omniglot; Omniglot().base_pool()"
    environment = {k: v for k, v in os.environ.items() if k != "METABENCH_DATA"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**environment, "HF_HUB_OFFLINE": "1"},
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "set METABENCH_DATA or --data-root" in last
    assert "dpdl-benchmark/omniglot" in last


def test_a_data_root_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABENCH_DATA", "/nowhere/at/all")
    with pytest.raises(MetabenchError, match="METABENCH_DATA is '/nowhere/at/all'"):
        cache.data_root()


def test_mnist_takes_as_many_of_each_digit(root: Path) -> None:
    table = pd.DataFrame(
        {
            "image": [png(Image.new("L", (28, 28), 10 * i)) for i in range(7)],
            "label": [0, 1, 0, 1, 1, 0, 0],
        }
    )
    write(root, table, "mnist/test.parquet")
    pool = Mnist().base_pool()
    assert pool.images.shape == (2, 3, 1, 28, 28)
    assert pool.images[0, :, 0, 0, 0].tolist() == [0, 20, 50]


@needs_data
@pytest.mark.data
def test_real_omniglot_has_lakes_alphabets_and_characters() -> None:
    omniglot._pool.cache_clear()
    background = Omniglot(split="background").base_pool()
    evaluation = Omniglot(split="evaluation").base_pool()
    assert (background.classes, len(background.group_names)) == (964, 30)
    assert (evaluation.classes, len(evaluation.group_names)) == (659, 20)
    assert not set(background.group_names) & set(evaluation.group_names)
    assert background.items == evaluation.items == 20
    share = np.asarray(background.images[::50], dtype=np.float64).mean() / 255
    assert 0.03 < share < 0.15, "ink is the minority"


@needs_data
@pytest.mark.data
def test_the_split_of_vinyals_has_1028_172_and_423_characters() -> None:
    parts = [Omniglot(split=f"vinyals-{s}").base_pool() for s in ("train", "val", "test")]  # type: ignore[arg-type]
    assert [p.classes for p in parts] == [1028, 172, 423]
    assert len({name for p in parts for name in p.class_names}) == 1623
    assert [len(p.group_names) for p in parts] == [33, 5, 13]
    gurmukhi = [c for c in parts[2].class_names if c.startswith("23/")]
    assert gurmukhi == ["23/41", "23/42", "23/43", "23/44"]
    assert not set(parts[1].group_names) & set(parts[0].group_names)


def test_the_split_of_vinyals_needs_numbered_alphabets(root: Path) -> None:
    write(root, rows())
    write(root, rows(), "omniglot/test.parquet")
    with pytest.raises(MetabenchError, match="'Alpha/0' must be a number"):
        Omniglot(split="vinyals-val").base_pool()


@needs_data
@pytest.mark.data
def test_real_mnist_has_ten_digits() -> None:
    mnist._pool.cache_clear()
    assert Mnist().base_pool().images.shape == (10, 300, 1, 28, 28)
