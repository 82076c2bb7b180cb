"""A saved model for other runtimes: TensorFlow's SavedModel, ONNX and TFLite, each with the model's card."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmdc_tf.errors import RESEARCH_USE, ConfigurationError
from mmdc_tf.io import new_folder, write_with
from mmdc_tf.serving.export_files import ExportFormat, card_place
from mmdc_tf.serving.model_place import CARD
from mmdc_tf.serving.runtimes import OUTPUT, load_onnx

OPSET = 18
"""Of ONNX: the newest that tf2onnx writes."""


def export_model(model: keras.Model, card: Path, form: ExportFormat, place: Path, quantise: bool = False) -> None:
    """Writes a model for another runtime, whole or not at all, and its card with it.

    The inputs keep their names and a free batch dimension; the one output is ``runtimes.OUTPUT``. Nothing of this
    package is needed to run it.

    Args:
        model: as from ``loading.load_model``.
        card: its ``model.json``.
        form: what to write.
        place: the file, or for a SavedModel the folder, that ``export_files.require_place`` let through.
        quantise: store weights in 8 bits and compute with 8-bit activations where the runtime can ("dynamic range").

    Raises:
        ConfigurationError: the format cannot hold the model.
        OSError: the place cannot be written to.
    """
    named = keras.Model(model.input, {OUTPUT: model.output}, name=model.name)
    try:
        with _without_warnings():
            _WRITERS[form.name](named, card, place, quantise)
    except OSError:
        raise
    except Exception as error:  # converters raise errors of many classes on what they do not know
        reason = (str(error).splitlines() or [""])[0][:300]
        raise ConfigurationError(
            f"Expected a model that {form.title} can hold. Received: model={model.name!r} "
            f"({type(error).__name__}: {reason}). Choose another --format."
        ) from error
    copy = card_place(place, form)
    if form.suffix and not (copy.exists() and copy.samefile(card)):
        write_with(copy, lambda temporary: shutil.copyfile(card, temporary))


def in_float32(model: keras.Model) -> keras.Model:
    """The same network and weights, computed in float32: ONNX Runtime and TFLite have no kernels for bfloat16.

    Returns:
        The model itself where it is in float32 already.
    """
    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    config = json.loads(re.sub(r'"mixed_\w+"', '"float32"', json.dumps(keras.saving.serialize_keras_object(model))))
    rebuilt = keras.saving.deserialize_keras_object(config)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """What converters say of their own future is nothing that a user could act on."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "root")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _write_saved_model(model: keras.Model, card: Path, place: Path, quantise: bool) -> None:
    def write(folder: Path) -> None:
        model.export(folder, format="tf_saved_model", verbose=False)
        shutil.copyfile(card, folder / CARD)

    with new_folder(place) as new:
        write(new)


def _write_tflite(model: keras.Model, card: Path, place: Path, quantise: bool) -> None:
    import tensorflow as tf

    # without TensorFlow's own operations, which LiteRT's package does not hold
    options: dict[str, Any] = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if quantise:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    write_with(place, lambda temporary: model.export(temporary, format="litert", verbose=False, **options))


def _write_onnx(model: keras.Model, card: Path, place: Path, quantise: bool) -> None:
    """By tf2onnx, from a frozen graph: Keras' own export makes inputs of the constants of ``Normalization``."""
    import tf2onnx

    graph, names = _frozen(model)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "model.onnx")
        inputs, outputs = ([name for name in names if (names[name] == OUTPUT) is last] for last in (False, True))
        tf2onnx.convert.from_graph_def(
            graph,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=names,
            custom_op_handlers=_COUNTERPARTS,
            opset=OPSET,
            output_path=str(file),
        )
        if quantise:
            file = _quantised(file)
        _add_facts(file, card)
        load_onnx(file)  # what tf2onnx has no counterpart for it writes as it is, and ONNX Runtime refuses
        write_with(place, lambda temporary: shutil.copyfile(file, temporary))


def _frozen(model: keras.Model) -> tuple[Any, dict[str, str]]:
    """The graph with its variables as constants; and its inputs and its output, to the names that they are to have."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    specs = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs}
    call = tf.function(lambda inputs: model(inputs, training=False)[OUTPUT]).get_concrete_function(specs)
    frozen = convert_variables_to_constants_v2(call)
    names = dict(zip([tensor.name for tensor in frozen.inputs], sorted(specs), strict=True))
    return frozen.graph.as_graph_def(add_shapes=True), {**names, frozen.outputs[0].name: OUTPUT}


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


_COUNTERPARTS = {"SelectV2": (_where, ["Where"]), "Erfc": (_erfc, [])}
"""Operations of TensorFlow that tf2onnx has none or no exact one for, as it takes them."""


def _quantised(file: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    smaller = file.with_name("quantised.onnx")
    quantize_dynamic(file, smaller, weight_type=QuantType.QInt8, per_channel=True)
    return smaller


def _add_facts(file: Path, card: Path) -> None:
    """Puts what a user of the file must know into its metadata: the whole card, and its main facts by name."""
    import onnx

    content = json.loads(card.read_text(encoding="utf-8"))
    network = onnx.load(file)
    facts = {
        "notice": " ".join(filter(None, [content.get("notice"), RESEARCH_USE])),
        "class_names": json.dumps(content["class_names"]),
        "preprocessing": content["preprocessing"]["name"],
        "card": json.dumps(content),
    }
    onnx.helper.set_model_props(network, facts)
    onnx.save(network, file)


_WRITERS: dict[str, Callable[[keras.Model, Path, Path, bool], None]] = {
    "saved_model": _write_saved_model,
    "onnx": _write_onnx,
    "tflite": _write_tflite,
}
