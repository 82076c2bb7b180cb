"""Several devices train as one does: trainings on two logical processors, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.datasets.splits import select
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.training.batch_parts import part_of
from mmdc_tf.training.devices import find_strategy

SCRIPT = Path(__file__).parents[1] / "several_devices.py"
CASES = ("one is left", "odd batches", "two views")
CELLS = ("fused/leak-free/fold0-seed3", "fused/leak-free/fold1-seed3")


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def numbers(output) -> dict[str, list[dict[str, Any]]]:
    return json.loads((output / "numbers.json").read_text())


# --- the same training ---


@pytest.mark.parametrize("case", CASES)
def test_loss_accuracy_and_learning_rate_are_those_of_one_device(numbers, case):
    one, two = (pd.DataFrame(result["history"]) for result in numbers[case])
    assert len(one) == len(two) == 3
    np.testing.assert_allclose(two, one, rtol=5e-5)  # which is far less than dropout or a part's weight change
    assert one["loss"].max() - one["loss"].min() > 0.01


@pytest.mark.parametrize("case", CASES)
def test_what_was_learned_is_that_of_one_device(numbers, case):
    """Asked for 13 = 3 · 4 + 1 images; with BatchNormalization's averages, and the optimiser's of the gradients."""
    one, two = numbers[case]
    np.testing.assert_allclose(two["probabilities"], one["probabilities"], atol=1e-5)
    assert len(one["statistics"]) >= 4
    for ours, expected in zip(two["statistics"], one["statistics"], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)
    # of squares: four times that were a gradient added up twice; a bias before a softmax has none but rounding
    np.testing.assert_allclose(two["velocities"], one["velocities"], rtol=5e-3, atol=1e-15)
    assert two["seeds"] == one["seeds"]


def test_the_best_epoch_is_kept(numbers):
    """The third is spoiled: the head that it leaves is another one."""
    one, two = numbers["one is left"]
    for result in (one, two):
        assert np.argmin(result["history"]["val_loss"]) < 2
        assert result["history"]["val_loss"][2] > 10 * max(result["history"]["val_loss"][:2])


def test_it_can_be_repeated_and_cut_off(numbers):
    first, (again, continued) = numbers["one is left"][1], numbers["again"]
    assert again == first
    assert continued.pop("kept")
    assert continued == first


# --- a run ---


@pytest.mark.parametrize("cell", CELLS)
def test_a_run_on_all_devices_is_that_on_one(output, cell):
    """Stored features, mixed, so with sample weights; batches of five; the second fold starts the network again."""
    one, two = (output / devices / "table2" / cell for devices in ("one", "all"))
    for name in ("history.csv", "predictions.csv", "validation_predictions.csv"):
        expected, ours = pd.read_csv(one / name), pd.read_csv(two / name)
        numeric = expected.select_dtypes("number").columns
        np.testing.assert_allclose(ours[numeric], expected[numeric], rtol=1e-4, atol=1e-5)
        assert ours.drop(columns=numeric).equals(expected.drop(columns=numeric))
    status = json.loads((two / "status.json").read_text())
    assert (status["devices"], status["frozen_features"]) == (2, "stored")
    assert json.loads((two / "config.json").read_text())["devices"] == "all"
    assert "devices" not in json.loads((one / "config.json").read_text())  # so that earlier runs can be continued


def test_a_saved_model_is_one_of_one_device(output):
    """In this process there is no strategy: it predicts what the run wrote."""
    folder = output / "all" / "table2" / CELLS[1]
    model = keras.models.load_model(folder / "model.keras")
    dataset = phantom_mammograms(output / "data", patients=12, height=64, seed=1)
    test = select(dataset.table, json.loads((folder / "split.json").read_text())["test"])
    names = dataset.info.class_names
    written = pd.read_csv(folder / "predictions.csv").set_index("sample_id").loc[test["sample_id"]]
    batches = evaluation_dataset(test, InputSettings("paper", 32, 7, names))
    ours = model.predict(batches, verbose=0)
    np.testing.assert_allclose(ours, written[[f"p_{name}" for name in names]], atol=1e-5)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms and not any(layer.synchronized for layer in norms)


def test_tensorboard_shows_it(output):
    shown = (output / "all" / "table2" / CELLS[0]).parent / "tb"
    names = {path.name.rpartition(".")[2] for path in shown.glob("events.out.tfevents.*")}
    assert {Path(cell).name for cell in CELLS} <= names


# --- which devices ---


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many devices."""

    def have(**counts: int) -> None:
        names = {kind: [f"/device:{kind}:{index}" for index in range(count)] for kind, count in counts.items()}
        found = {kind: [SimpleNamespace(name=name) for name in listed] for kind, listed in names.items()}
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: found.get(kind, []))

    return have


def test_one_device_trains_as_usual(machine, capsys):
    machine(CPU=1, GPU=4)
    assert find_strategy("one", 8, jit=True) is None
    assert capsys.readouterr().out == ""
    machine(CPU=1, GPU=1)
    assert find_strategy("all", 8, jit=True) is None
    assert capsys.readouterr().out == "note: all devices are one, /device:GPU:0: it trains as usual\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("all", 3, False), "devices=4, batch_size=3. Give a larger --batch-size"),
        (("all", 8, True), "devices=4, jit=True"),
        (("some", 8, False), "one, all. Received: devices='some'"),
    ],
)
def test_what_several_devices_cannot_do_is_refused(machine, arguments, message):
    machine(CPU=1, GPU=4)
    with pytest.raises(ConfigurationError, match=message):
        find_strategy(*arguments)


@pytest.mark.parametrize(
    ("size", "rows", "shares"),
    [
        (8, [(0, 2), (2, 5), (5, 8)], [2 / 8, 3 / 8, 3 / 8]),
        (3, [(0, 1), (1, 2), (2, 3)], [1 / 3, 1 / 3, 1 / 3]),
        (2, [(0, 2), (0, 2), (0, 2)], [1 / 3, 1 / 3, 1 / 3]),  # each computes all of it
    ],
)
def test_parts_by_hand(size, rows, shares):
    parts = [part_of(tf.constant(size), device, 3) for device in range(3)]
    assert [(int(part.start), int(part.stop)) for part in parts] == rows
    np.testing.assert_allclose([float(part.share) for part in parts], shares, rtol=1e-6)
