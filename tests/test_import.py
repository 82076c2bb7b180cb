"""What importing the package costs, and that it is enough to load a saved model in a fresh process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

LOAD = """
import sys
import {first}
import {second}
import numpy
folder = sys.argv[1]
model = keras.models.load_model(folder + "/model.keras")
inputs = dict(numpy.load(folder + "/inputs.npz"))
numpy.save(folder + "/{first}.npy", model.predict(inputs, verbose=0))
"""


def run_python(code: str, *arguments: str) -> str:
    """The output of a fresh interpreter; its error output stands in the failure."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def all_layers_model():
    """A small model with each of the package's layers, every weight random and the metadata adapted."""
    import keras

    from mmdc_tf import layers as own

    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    metadata = keras.Input((2,), name="metadata")
    features = keras.layers.Conv2D(8, 4, strides=4)(own.InputScaling("torch")(image))
    features = own.DoubleConv(8)(own.SpatialSelfAttention()(features))
    features = own.SqueezeExcitation(ratio=4)(own.DoubleConvSE(8, ratio=4)(features))
    embedding = own.MetadataEmbedding(width=4)
    tokens = keras.layers.Concatenate(axis=1)(
        [keras.layers.Reshape((16, 8))(features), keras.layers.Reshape((1, 8))(embedding(metadata))]
    )
    fused = own.TokenFusion(heads=2, width=8, dropout=0.1)(tokens)
    pooled = keras.layers.GlobalAveragePooling1D()(fused)
    joined = keras.layers.Concatenate()([pooled, window_features(image), token_features(features, metadata)])
    classes = keras.layers.Dense(3, activation="softmax")(joined)
    model = keras.Model({"image": image, "metadata": metadata}, classes)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = rng.normal(size=weight.shape)
        weight.assign(np.abs(value) + 0.5 if weight.path.endswith("variance") else value)
    embedding.adapt(np.array([[50.0, 1.0], [70.0, 4.0], [np.nan, 2.0]]))
    return model


def window_features(image):
    """Both views through windows of tokens: the layers of Swin and of the two-view models."""
    import keras

    from mmdc_tf import layers as own

    views = own.StackViews()([image, image])
    patches = own.PatchEmbedding(8, patch=4)(views)
    windows = own.WindowAttention(2, window=2, shift=1)(own.SwinBlock(2, window=2, shift=1)(patches))
    merged = own.PatchMerging()(windows)
    return own.JoinViews()(keras.layers.GlobalAveragePooling2D()(merged))


def token_features(features, metadata):
    """Tokens behind a class token, of which the clinical one may be absent: the layers of ViT and MedFuse."""
    import keras

    from mmdc_tf import layers as own

    tokens = own.ClassToken()(keras.layers.Reshape((16, 8))(features))
    return keras.layers.LSTM(4)(tokens, mask=own.ClinicalMask(image_tokens=16)(metadata))


def raw_inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    metadata = [[45.0, 2.0], [np.nan, 3.0], [80.0, np.nan], [np.nan, np.nan]]
    return {
        "image": rng.uniform(0.0, 255.0, size=(4, 16, 16, 3)).astype("float32"),
        "metadata": np.array(metadata, dtype="float32"),
    }


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """The folder with the saved model and its inputs, and the predictions before saving."""
    folder = tmp_path_factory.mktemp("saved")
    model, inputs = all_layers_model(), raw_inputs()
    model.save(folder / "model.keras")
    np.savez(folder / "inputs.npz", **inputs)
    return folder, model, model.predict(inputs, verbose=0)


def test_importing_the_package_takes_no_tensorflow():
    code = "import sys, mmdc_tf; print(sorted({'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)))"
    assert run_python(code) == "[]"


def test_the_model_holds_every_layer_of_the_package(saved_model):
    from mmdc_tf import layers as own

    _, model, predictions = saved_model
    assert {type(layer).__name__ for layer in model.layers} >= set(own.__all__)
    assert np.ptp(predictions, axis=0).max() > 0.01


@pytest.mark.parametrize(("first", "second"), [("mmdc_tf", "keras"), ("keras", "mmdc_tf")])
def test_a_fresh_process_loads_the_model_in_either_order(saved_model, first, second):
    folder, _, predictions = saved_model
    run_python(LOAD.format(first=first, second=second), str(folder))
    np.testing.assert_allclose(np.load(folder / f"{first}.npy"), predictions, rtol=1e-6, atol=1e-7)


def test_a_model_survives_json(saved_model):
    import keras

    _, model, predictions = saved_model
    revived = keras.models.model_from_json(model.to_json())
    revived.set_weights(model.get_weights())
    np.testing.assert_allclose(revived.predict(raw_inputs(), verbose=0), predictions, rtol=1e-6, atol=1e-7)
