"""Saved models load in a fresh process, whatever is imported first, and predict the same on Keras' other backends."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from golden_files import FOLDER, MODELS, all_inputs

from mmdc_tf import layers

PREDICT = """
import sys
import {first}
import {second}
import numpy
given = numpy.load(sys.argv[1] + "/inputs.npz")
for path in sys.argv[2:]:
    model = keras.models.load_model(path + ".keras")
    found = model.predict({{name: given[name] for name in model.input}}, verbose=0)
    numpy.save(sys.argv[1] + "/" + path.rpartition("/")[2] + ".npy", found)
"""


@pytest.mark.parametrize(
    ("backend", "first", "second"),
    [
        ("tensorflow", "keras", "mmdc_tf"),
        ("tensorflow", "mmdc_tf", "keras"),
        ("jax", "keras", "mmdc_tf"),
        ("torch", "keras", "mmdc_tf"),
    ],
)
def test_models_of_every_kind_predict_the_same(backend, first, second, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (pip install -e '.[dev]')")
    np.savez(tmp_path / "inputs.npz", **all_inputs())
    kinds = [str(FOLDER / "models" / name) for name in MODELS]
    command = [sys.executable, "-c", PREDICT.format(first=first, second=second), str(tmp_path), *kinds]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    pairs = ((np.load(tmp_path / f"{name}.npy"), np.load(FOLDER / "models" / f"{name}.npy")) for name in MODELS)
    apart = {name: float(np.abs(found - saved).max()) for name, (found, saved) in zip(MODELS, pairs, strict=True)}
    assert max(apart.values()) < 1e-5, json.dumps(apart, indent=1)


def test_the_models_hold_every_layer_of_the_package():
    loaded = [keras.models.load_model(FOLDER / "models" / f"{name}.keras") for name in MODELS]
    kinds = {type(layer).__name__ for model in loaded for layer in model._flatten_layers()}
    assert set(layers.__all__) <= kinds
