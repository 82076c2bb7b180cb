"""Images are preprocessed once and kept, in memory or in a file, and let go with the dataset."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.inputs import pipeline, pixel_store
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset, training_dataset
from mmdc_tf.inputs.pixel_store import PixelStore

SIZE, COUNT = 8, 6


class Loader:
    """Gives each path pixels of its own, and counts."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, path: bytes) -> np.ndarray:
        self.asked.append(path)
        return np.full((SIZE, SIZE, 3), path[-1], np.uint8)


@pytest.fixture(params=["memory", "file"])
def most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "file":
        monkeypatch.setattr(pixel_store, "MOST_IN_MEMORY", 0)


@pytest.mark.usefixtures("most")
def test_each_path_is_loaded_once_and_given_back_the_same():
    load = Loader()
    store = PixelStore([b"a", b"b", b"a", b"c"], SIZE, load)
    for _ in range(3):
        for path in (b"c", b"a", b"b", b"a"):
            np.testing.assert_array_equal(store(path), Loader()(path))
    assert load.asked == [b"c", b"a", b"b"]


def test_a_full_disk_means_loading_again(monkeypatch):
    monkeypatch.setattr(pixel_store, "MOST_IN_MEMORY", 0)
    load = Loader()
    store = PixelStore([b"a", b"b"], SIZE, load)

    class Full:
        def seek(self, place: int) -> None:
            pass

        def write(self, content: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_file", Full())
    for path in (b"a", b"b") * 2:
        np.testing.assert_array_equal(store(path), Loader()(path))
    assert load.asked == [b"a", b"b"] * 2


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    paths = [tmp_path / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8))
    labels = ["benign", "normal"] * (COUNT // 2)
    return pd.DataFrame({"sample_id": map(str, range(COUNT)), "image_path": map(str, paths), "label": labels})


SETTINGS = InputSettings("plain", SIZE, 4, ("benign", "normal"), ("image",))


def two_passes(table: pd.DataFrame) -> list[np.ndarray]:
    datasets = training_dataset(table, SETTINGS, None, 0), evaluation_dataset(table, SETTINGS)
    return [batch[0]["image"] for dataset in datasets for _ in range(2) for batch in dataset.as_numpy_iterator()]


def test_a_file_gives_the_batches_of_the_memory(table, monkeypatch):
    expected = two_passes(table)
    monkeypatch.setattr(pixel_store, "MOST_IN_MEMORY", 0)
    for found, wanted in zip(two_passes(table), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_pixels_go_with_the_dataset(table, monkeypatch):
    stores = []

    class Watched(PixelStore):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            stores.append(weakref.ref(self))

    monkeypatch.setattr(pipeline, "PixelStore", Watched)
    two_passes(table)
    gc.collect()
    assert [store() for store in stores] == [None]  # both datasets show the same images


def test_the_first_batch_does_not_wait_for_all_images(table, monkeypatch):
    loaded = []
    original = pipeline.preprocess_file
    monkeypatch.setattr(pipeline, "preprocess_file", lambda path, *rest: loaded.append(path) or original(path, *rest))
    many = pd.concat([table.assign(sample_id=table["sample_id"] + f"-{k}") for k in range(200)], ignore_index=True)
    paths = [Path(path).with_name(f"{row}.png") for row, path in enumerate(many["image_path"])]
    for path, source in zip(paths, many["image_path"], strict=True):
        if not path.exists():
            path.hardlink_to(source)
    many["image_path"] = list(map(str, paths))
    next(iter(training_dataset(many, SETTINGS, None, 0)))
    assert len(loaded) < len(many)
