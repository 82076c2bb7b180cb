"""A saved model for other runtimes: TensorFlow's SavedModel, ONNX and TFLite, each with the model's card.

Importing this needs no TensorFlow, and the exported files none of this package.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, require_packages
from mmdc_tf.io import new_folder, write_with
from mmdc_tf.serving.card import CARD, MODEL, REQUIRED
from mmdc_tf.serving.parity import OUTPUT, load_onnx

if TYPE_CHECKING:
    import keras

OPSET = 18
"""Of ONNX: the newest that tf2onnx writes."""
SAVED_MODEL = "saved_model.pb"
FOLDER_CONTENT = {SAVED_MODEL, "fingerprint.pb", "variables", "assets", "assets.extra", CARD}


@dataclass(frozen=True)
class ExportFormat:
    """A format: its name on the command line and by its makers, the suffix of its file ("" for a folder), and the
    packages beyond those that are always there.
    """

    name: str
    title: str
    suffix: str
    packages: tuple[str, ...]


FORMATS = {
    "saved_model": ExportFormat("saved_model", "TensorFlow's SavedModel", "", ()),
    "onnx": ExportFormat("onnx", "ONNX", ".onnx", ("onnx", "onnxruntime", "tf2onnx")),
    "tflite": ExportFormat("tflite", "TFLite", ".tflite", ("ai_edge_litert",)),
}


def require_possible(form: ExportFormat, quantise: bool) -> None:
    """Looks for what the format needs, without importing it.

    Raises:
        ConfigurationError: something is not installed, or the format has no quantised form here.
    """
    if quantise and not form.suffix:
        raise ConfigurationError(
            f"Expected --format onnx or tflite with --quantize. Received: format={form.name}, which TensorFlow runs in "
            "float32. Choose one of them, or leave --quantize out."
        )
    require_packages(form.packages, "export", f"--format {form.name}")


def default_place(model: Path, form: ExportFormat, quantise: bool) -> Path:
    """Beside the model: ``model.onnx``, ``model-int8.tflite``, ``saved_model/``."""
    if not form.suffix:
        return model.with_name(form.name)
    return model.with_name(f"{model.stem}{'-int8' if quantise else ''}{form.suffix}")


def card_place(place: Path, form: ExportFormat) -> Path:
    """Where the card goes: inside a folder as ``model.json``, beside a file under the file's name."""
    return place.with_suffix(".json") if form.suffix else place / CARD


def require_place(place: Path, form: ExportFormat, card: Path) -> None:
    """Checks that nothing but an earlier export of the same format would be replaced by the model or by its card.

    Raises:
        ConfigurationError: the name is of another kind of file, or something else is there.
    """
    copy = card_place(place, form)
    if form.suffix and place.suffix.lower() != form.suffix:
        expected, received = f"a file that ends in {form.suffix}", "it does not"
    elif place.exists() and not (place.is_file() if form.suffix else _is_export(place)):
        expected, received = f"a new place, or an earlier export as {form.name}", "something else is there"
    elif form.suffix and copy.exists() and not _is_replaceable(copy, card):
        expected, received = f"a place beside which {copy.name} is free for the card", "another file has that name"
    else:
        return
    raise ConfigurationError(f"Expected {expected}. Received: output={place} ({received}). Choose another --output.")


def _is_export(place: Path) -> bool:
    """Whether it is a folder with an earlier SavedModel and nothing else, or an empty one."""
    content = {path.name for path in place.iterdir()} if place.is_dir() else {""}
    return not content or (SAVED_MODEL in content and content <= FOLDER_CONTENT)


def _is_replaceable(copy: Path, card: Path) -> bool:
    """Whether it is the same card, or an older one of an export; not that of another ``model.keras`` beside it."""
    try:
        content = json.loads(copy.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    is_card = isinstance(content, dict) and set(REQUIRED) <= set(content)
    of_model = copy.name == CARD and copy.with_name(MODEL).exists()
    return copy.read_bytes() == card.read_bytes() or (is_card and not of_model)


def export_model(model: keras.Model, card: Path, form: ExportFormat, place: Path, quantise: bool = False) -> None:
    """Writes a model for another runtime, whole or not at all, and its card with it.

    The inputs keep their names and a free batch dimension; the one output is ``OUTPUT``.

    Args:
        model: as from ``card.load_model``.
        card: its ``model.json``.
        form: what to write.
        place: the file, or for a SavedModel the folder, that ``require_place`` let through.
        quantise: store weights in 8 bits and compute with 8-bit activations where the runtime can ("dynamic range").

    Raises:
        ConfigurationError: the format cannot hold the model.
        OSError: the place cannot be written to.
    """
    import keras

    named = keras.Model(model.input, {OUTPUT: model.output}, name=model.name)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what converters say of their own future is nothing that a user could act on
    try:
        with warnings.catch_warnings(action="ignore"):
            _WRITERS[form.name](named, card, place, quantise)
    except OSError:
        raise
    except Exception as error:  # converters raise errors of many classes on what they do not know
        reason = (str(error).splitlines() or [""])[0][:300]
        raise ConfigurationError(
            f"Expected a model that {form.title} can hold. Received: model={model.name!r} "
            f"({type(error).__name__}: {reason}). Choose another --format."
        ) from error
    finally:
        logging.disable(disabled)
    copy = card_place(place, form)
    if form.suffix and not (copy.exists() and copy.samefile(card)):
        write_with(copy, lambda temporary: shutil.copyfile(card, temporary))


def in_float32(model: keras.Model) -> keras.Model:
    """The same network and weights, computed in float32: ONNX Runtime and TFLite have no kernels for bfloat16.

    Returns:
        The model itself where it is in float32 already.
    """
    import keras

    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    config = json.loads(re.sub(r'"mixed_\w+"', '"float32"', json.dumps(keras.saving.serialize_keras_object(model))))
    rebuilt = keras.saving.deserialize_keras_object(config)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _write_saved_model(model: keras.Model, card: Path, place: Path, quantise: bool) -> None:
    with new_folder(place) as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        shutil.copyfile(card, folder / CARD)


def _write_tflite(model: keras.Model, card: Path, place: Path, quantise: bool) -> None:
    import tensorflow as tf

    # without TensorFlow's own operations, which LiteRT's package does not hold
    options: dict[str, Any] = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if quantise:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    write_with(place, lambda temporary: model.export(temporary, format="litert", verbose=False, **options))


def _write_onnx(model: keras.Model, card: Path, place: Path, quantise: bool) -> None:
    """By tf2onnx, from a frozen graph: Keras' own export makes inputs of the constants of ``Normalization``."""
    import onnx
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    specs = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs}
    call = tf.function(lambda inputs: model(inputs, training=False)[OUTPUT]).get_concrete_function(specs)
    frozen = convert_variables_to_constants_v2(call)
    inputs, output = [tensor.name for tensor in frozen.inputs], frozen.outputs[0].name
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "model.onnx")
        tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(add_shapes=True),
            input_names=inputs,
            output_names=[output],
            tensors_to_rename={**dict(zip(inputs, sorted(specs), strict=True)), output: OUTPUT},
            custom_op_handlers={"SelectV2": (_where, ["Where"]), "Erfc": (_erfc, [])},
            opset=OPSET,
            output_path=str(file),
        )
        if quantise:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            whole, file = file, file.with_name("quantised.onnx")
            quantize_dynamic(whole, file, weight_type=QuantType.QInt8, per_channel=True)
        network, content = onnx.load(file), json.loads(card.read_text(encoding="utf-8"))
        properties = {
            "notice": " ".join(filter(None, [content.get("notice"), RESEARCH_USE])),
            "class_names": json.dumps(content["class_names"]),
            "preprocessing": content["preprocessing"]["name"],
            "card": json.dumps(content),
        }
        onnx.helper.set_model_props(network, properties)
        onnx.save(network, file)
        load_onnx(file)  # what tf2onnx has no counterpart for it writes as it is, and ONNX Runtime refuses
        write_with(place, lambda temporary: shutil.copyfile(file, temporary))


def _where(graph: Any, node: Any, name: str, arguments: list) -> None:
    """Nothing: the node was renamed. tf2onnx would multiply both choices by 0 or 1 and add, which lets NaN through."""


def _erfc(graph: Any, node: Any, name: str, arguments: list) -> None:
    """1 − erf, which ONNX has, in place of erfc, which it lacks (exact GELU)."""
    one = graph.make_const(f"{name}__one", np.array(1, np.float32)).output[0]
    error = graph.make_node("Erf", list(node.input)).output[0]
    shapes, dtypes = [graph.get_shape(node.output[0])], [graph.get_dtype(node.output[0])]
    outputs = list(node.output)
    graph.remove_node(name)
    graph.make_node("Sub", [one, error], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)


_WRITERS = {"saved_model": _write_saved_model, "onnx": _write_onnx, "tflite": _write_tflite}
