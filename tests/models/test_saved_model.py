"""Saved networks from strangers: nothing in them is run, nothing outside is read, and the refusal says why."""

from __future__ import annotations

import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from served_model import SIZE, write_model

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import saved_model
from mmdc_tf.models.saved_model import load_saved_model

WEIGHTS, CONFIG = "model.weights.h5", "config.json"


@pytest.fixture(scope="session")
def written() -> dict[str, Path]:
    """What was saved once."""
    return {}


@pytest.fixture
def file(written, tiny_backbone, tmp_path_factory, tmp_path) -> Path:
    """A saved network, to be changed."""
    if "file" not in written:
        folder = tmp_path_factory.mktemp("saved")
        written["file"] = write_model(folder, "backbone_classifier", backbone=tiny_backbone) / "model.keras"
    return Path(shutil.copy(written["file"], tmp_path / "model.keras"))


def repacked(file: Path, changed: dict[str, bytes], *more: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    """The archive with other members, and more of them."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()} | changed
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*parts.items(), *more]:
            archive.writestr(name, content)
    return file


def refused(file: Path) -> str:
    with pytest.raises(ConfigurationError) as found:
        load_saved_model(file)
    text = str(found.value)
    assert text.startswith("Expected a model that Keras can load. Received: ") and "\n" not in text
    return text


def test_what_was_saved_is_loaded(file: Path):
    model = load_saved_model(file)
    assert np.isclose(model({"image": np.zeros((1, SIZE, SIZE, 3), "float32")}).numpy().sum(), 1)


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/escaped.txt", "assets/words.txt"])
def test_a_member_that_is_none_of_a_network_is_refused(file: Path, name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(name) in refused(repacked(file, {}, (name, b"x")))
    assert not (file.parent.parent / "escaped.txt").exists()


def test_a_link_in_the_place_of_the_weights_is_not_followed(file: Path, tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    link = zipfile.ZipInfo(WEIGHTS)
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file) as archive:
        config = archive.read(CONFIG)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr(CONFIG, config)
        archive.writestr(link, str(tmp_path / "secret"))
    assert "secret" not in refused(file).partition("(")[2]


@pytest.mark.parametrize("length", [0, 100, -1])
def test_a_file_that_is_cut_off_is_refused(file: Path, length: int):
    file.write_bytes(file.read_bytes()[:length])
    assert "empty, cut off, or no .keras archive" in refused(file)


def test_code_in_a_layer_is_not_run(tmp_path: Path):
    """The saved lambda writes a file when it is built, as it does where Keras is told to trust it."""
    trace = str(tmp_path / "trace")
    image = keras.Input((SIZE, SIZE, 3), name="image")
    run = keras.layers.Lambda(lambda x: (__import__("pathlib").Path(trace).write_text("run"), x)[1])
    keras.Model(image, keras.layers.Flatten()(run(image))).save(tmp_path / "model.keras")
    Path(trace).unlink()
    keras.models.load_model(tmp_path / "model.keras", safe_mode=False)
    Path(trace).unlink()
    assert "a layer Lambda, which holds code" in refused(tmp_path / "model.keras")
    assert not Path(trace).exists()


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"module": "os", "class_name": "system", "config": {"command": "touch TRACE"}}, "a part os.system"),
        ({"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "TRACE"]}}, "subprocess.Popen"),
        ({"module": "builtins", "class_name": "function", "config": "eval"}, "Could not locate function 'eval'"),
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "x"}}, "a layer TFSMLayer"),
    ],
)
@pytest.mark.parametrize("inner", [False, True])
def test_classes_of_other_packages_are_not_made(
    file: Path, tmp_path: Path, part: dict[str, Any], named: str, inner: bool
):
    """In the place of the network, or of one of its layers."""
    part = json.loads(json.dumps({**part, "registered_name": None}).replace("TRACE", str(tmp_path / "trace")))
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read(CONFIG))
    if inner:
        config["config"]["layers"][1] |= part
    found = refused(repacked(file, {CONFIG: json.dumps(config if inner else part).encode()}))
    assert named in found or (inner and "could not be deserialized" in found)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("config", [b"", b"[]", b"{}", b"no JSON", b"[" * 100_000])
def test_a_configuration_that_is_none(file: Path, config: bytes):
    refused(repacked(file, {CONFIG: config}))


def elsewhere(weights: h5py.File, name: str, folder: Path) -> None:
    """A link to another file."""
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = weights[name][()]
    del weights[name]
    weights[name] = h5py.ExternalLink(str(folder / "other.h5"), "/x")


def stored_elsewhere(weights: h5py.File, name: str, folder: Path) -> None:
    """Numbers that are the bytes of another file."""
    shape, kind = weights[name].shape, weights[name].dtype
    del weights[name]
    (folder / "secret").write_bytes(bytes(range(256)) * 100)
    size = int(np.prod(shape)) * kind.itemsize
    weights.create_dataset(name, shape=shape, dtype=kind, external=[(str(folder / "secret"), 0, size)])


def huge(weights: h5py.File, name: str, folder: Path) -> None:
    """160 GB that are not stored."""
    del weights[name]
    weights.create_dataset(name, shape=(200_000, 200_000), dtype="f4", chunks=(1000, 1000), compression="gzip")


@pytest.mark.parametrize(
    ("change", "named"), [(elsewhere, "(?i)external"), (stored_elsewhere, "(?i)external"), (huge, "160|bytes|shape")]
)
def test_weights_that_lie_elsewhere_or_claim_too_much(
    file: Path, tmp_path: Path, change: Callable[[h5py.File, str, Path], None], named: str
):
    with zipfile.ZipFile(file) as archive:
        archive.extract(WEIGHTS, tmp_path)
    with h5py.File(tmp_path / WEIGHTS, "a") as weights:
        names: list[str] = []
        weights.visititems(lambda name, one: names.append(name) if isinstance(one, h5py.Dataset) and one.size else None)
        change(weights, names[0], tmp_path)
    found = refused(repacked(file, {WEIGHTS: (tmp_path / WEIGHTS).read_bytes()}))
    assert re.search(named, found)


def test_an_archive_that_unpacks_to_far_more_than_its_size(file: Path, monkeypatch):
    """Known from its list of contents, before anything is unpacked."""
    monkeypatch.setattr(saved_model, "SMALL", 2**20)
    assert "unpacks to 64 MB" in refused(repacked(file, {WEIGHTS: bytes(2**26)}))
