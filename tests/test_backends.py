"""Models trained with TensorFlow predict the same on Keras' other backends."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "golden" / "models"
PREDICT = """
import json, sys
import keras, mmdc_tf, numpy
given = numpy.load(sys.argv[2])
for path in sys.argv[3:]:
    model = keras.models.load_model(path + ".keras")
    found = model.predict({name: given[name] for name in model.input}, verbose=0)
    numpy.save(sys.argv[1] + "/" + path.rpartition("/")[2] + ".npy", found)
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_models_of_every_kind_predict_the_same(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (pip install -e '.[dev]')")
    from golden_files import all_inputs

    np.savez(tmp_path / "inputs.npz", **all_inputs())
    kinds = sorted(path.with_suffix("") for path in FOLDER.glob("*.keras"))
    command = [sys.executable, "-c", PREDICT, str(tmp_path), str(tmp_path / "inputs.npz"), *map(str, kinds)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    apart = {
        kind.name: float(np.abs(np.load(tmp_path / f"{kind.name}.npy") - np.load(f"{kind}.npy")).max())
        for kind in kinds
    }
    assert max(apart.values()) < 1e-5, json.dumps(apart, indent=1)
    assert len(apart) == 15
