"""Several devices train as one does, but for what docs/cluster.md says: on two logical processors, in a process."""

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

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.training.devices import strategy_for

SCRIPT = Path(__file__).parents[1] / "several_devices.py"


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def numbers(output) -> dict[str, Any]:
    return json.loads((output / "numbers.json").read_text())


def test_a_network_without_batch_statistics_learns_what_it_learns_on_one_device(numbers):
    """Loss, accuracy and learning rate, with class weights and without clipping."""
    one, two = (pd.DataFrame(numbers[name]["history"]) for name in ("one", "two"))
    np.testing.assert_allclose(two, one, rtol=1e-4)
    assert one["loss"].max() - one["loss"].min() > 0.1
    np.testing.assert_allclose(numbers["two"]["probabilities"], numbers["one"]["probabilities"], atol=1e-4)


def test_a_last_batch_smaller_than_the_devices_leaves_nothing_empty(numbers):
    """17 images train in batches of 4, one of 9 validated ones and one of 13 predicted ones come last alone."""
    assert np.isfinite(pd.DataFrame(numbers["odd"]["history"]).to_numpy()).all()
    assert len(numbers["odd"]["probabilities"]) == 13
    np.testing.assert_allclose(np.sum(numbers["odd"]["probabilities"], axis=1), 1, atol=1e-5)


def test_a_training_that_is_cut_off_goes_on_to_the_byte(numbers):
    assert numbers["kept"]
    assert numbers["continued"] == numbers["odd"]


def test_a_run_trains_on_all_devices_and_its_model_predicts_on_one(output):
    for fold in (0, 1):
        folder = output / "run" / "table1" / "bcdnet_mobilenet" / "leak-free" / f"fold{fold}-seed0"
        status, config = (json.loads((folder / f"{name}.json").read_text()) for name in ("status", "config"))
        assert (status["status"], status["devices"], status["frozen_features"]) == ("ok", 2, "stored")
        assert config["devices"] == "all"
        model = keras.models.load_model(folder / "model.keras")  # in this process there is no strategy
        predictions = pd.read_csv(folder / "predictions.csv").filter(regex="^p_")
        assert np.isfinite(predictions.to_numpy()).all()
        images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
        np.testing.assert_allclose(model({"image": images}).numpy().sum(axis=1), 1, atol=1e-5)


# --- which devices ---


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many devices."""

    def have(**counts: int) -> None:
        found = {
            kind: [SimpleNamespace(name=f"/device:{kind}:{index}") for index in range(count)]
            for kind, count in counts.items()
        }
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: found.get(kind, []))

    return have


def test_one_device_trains_as_usual(machine, capsys):
    machine(CPU=1, GPU=4)
    assert strategy_for("one", 8) is None
    assert capsys.readouterr().out == ""
    machine(CPU=1, GPU=1)
    assert strategy_for("all", 8) is None
    assert capsys.readouterr().out == "note: all devices are one, /device:GPU:0: it trains as usual\n"


def test_more_devices_than_images_in_a_batch_are_refused(machine):
    machine(CPU=1, GPU=4)
    with pytest.raises(ConfigurationError, match=r"devices=4, batch_size=3\. Give a larger --batch-size"):
        strategy_for("all", 3)
