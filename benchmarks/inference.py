"""How fast a saved model answers: by Keras, as a SavedModel, by ONNX Runtime and by LiteRT (TFLite).

    python benchmarks/inference.py [--rows NAMES] [--size PIXELS] [--cores 1,2] [--seconds S] [--quantized]
        [--json FILE]

Random weights (a network takes as long with any), random pixels. Each row is exported as ``mmdc-tf export`` does it,
and each runtime runs in a process of its own, one after the other, bound to the first one or two cores, with as many
threads as cores. What is timed is the network alone, from a float32 array in memory to probabilities:

- Keras predict: ``model.predict``, as ``mmdc-tf predict`` calls it; what the others are compared with.
- Keras tf.function: ``model(inputs, training=False)`` in a ``tf.function``.
- SavedModel: its serving signature, by TensorFlow.
- ONNX Runtime and LiteRT: float32; with ``--quantized`` also what ``mmdc-tf export --quantize`` writes.

Latency is of one image: median and 95th percentile of all calls in S seconds, at least 20. Throughput is of batches of
16: the median of passes over 32 images in S seconds, at least 2. Calls before that, which trace and allocate, are left
out; "start" is what a new process takes from nothing to its first answer. "differs" is the largest difference of a
probability from Keras predict's on the same 32 images: all did the same work. "CPUs" is processor time over time in
the throughput passes: below the number of cores, something else disturbed it. Goal: ONNX Runtime at least 1.3 × Keras
predict's throughput.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mmdc_tf  # before Keras: it switches oneDNN on

# isort: split
from contextlib import nullcontext

import keras
import numpy as np
from inference_table import EIGHT_BITS, Measured, print_table
from machine import machine_lines
from random_weights import write_weights

from mmdc_tf.commands.arguments import names, positive
from mmdc_tf.experiments.rows import TABLES, Row, load_table
from mmdc_tf.models import MODELS, ModelSettings, build_model
from mmdc_tf.models.backbones import get_backbone
from mmdc_tf.preprocessing import get_recipe
from mmdc_tf.serving.export import FORMATS, default_place, export_model
from mmdc_tf.serving.parity import with_the_rest

ROWS = ["bcdnet_alpha", "mmdcnet_beta"]
CLASSES = ("benign", "cancer", "normal")
IMAGES, BATCH = 32, 16
CONTENDERS = {
    "Keras predict": "keras_predict",
    "Keras tf.function": "keras_function",
    "SavedModel": "saved_model",
    "ONNX Runtime": "onnx",
    "LiteRT (TFLite)": "tflite",
}
QUANTISED = {f"ONNX Runtime, {EIGHT_BITS}": "onnx", f"LiteRT (TFLite), {EIGHT_BITS}": "tflite"}
PACKAGES = ("tensorflow", "keras", "onnxruntime", "ai-edge-litert", "tf2onnx", "numpy")


def main() -> None:
    options = parse_options()
    before = machine_lines(PACKAGES)
    with tempfile.TemporaryDirectory() as scratch:
        measured = [one for name in options.rows for one in measure_row(name, options, Path(scratch))]
    print(
        f"{before}; load afterwards {os.getloadavg()[0]:.1f}\nmmdc_tf {mmdc_tf.__version__}, "
        f"{options.size}×{options.size} pixels, random weights, float32 or int8; {options.seconds:g} s each\n"
    )
    for row in options.rows:
        for cores in options.cores:
            print_table([one for one in measured if (one.row, one.cores) == (row, cores)])
    if options.json is not None:
        content = [{"row": one.row, "name": one.name, **one.result} for one in measured]
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=names, default=ROWS, help=f"of the tables; default: {','.join(ROWS)}")
    parser.add_argument("--size", type=positive, default=224, help="height and width in pixels; default: 224")
    parser.add_argument("--cores", type=core_numbers, default=[1, 2], help="default: 1,2")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement; default: 2")
    parser.add_argument("--quantized", action="store_true", help="measure what export --quantize writes too")
    parser.add_argument("--json", type=Path, help="write all numbers into this file too")
    return parser.parse_args()


def core_numbers(text: str) -> list[int]:
    return [positive(part) for part in names(text)]


def measure_row(name: str, options: argparse.Namespace, scratch: Path) -> list[Measured]:
    """Exports one row's network in all formats and times each contender, on each number of cores."""
    folder = scratch / name
    folder.mkdir()
    row = find_row(name)
    jobs = {title: {"runtime": runtime} for title, runtime in CONTENDERS.items()}
    if options.quantized:
        jobs |= {title: {"runtime": runtime} for title, runtime in QUANTISED.items()}
    with nullcontext():
        places = write_models(row, options.size, options.quantized, folder)
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, options.size, options.size, 3), dtype=np.uint8)
    np.savez(folder / "inputs.npz", **with_the_rest(MODELS[str(row.model)].inputs, pixels))
    return [
        Measured(name, title, cores, run({**job, "model": str(places[title]), "cores": cores}, options, folder))
        for cores in options.cores
        for title, job in jobs.items()
    ]


def find_row(name: str) -> Row:
    return next(row for table in TABLES for row in load_table(table).rows if row.name == name)


def write_models(row: Row, size: int, quantised: bool, folder: Path) -> dict[str, Path]:
    """The network of a row with random weights, saved and exported: contender to file."""
    backbone = row.arguments["backbone"]
    weights = write_weights([backbone], folder) / get_backbone(backbone).weights_file
    model = build_model(str(row.model), ModelSettings(size, len(CLASSES), weights), **row.arguments)
    file, card = folder / "model.keras", folder / "model.json"
    model.save(file)
    card.write_text(json.dumps({"class_names": CLASSES, "preprocessing": get_recipe("plain").to_config()}))
    places = dict.fromkeys(("Keras predict", "Keras tf.function"), file)
    wanted = [(title, CONTENDERS[title], False) for title in list(CONTENDERS)[2:]]
    wanted += [(title, form, True) for title, form in QUANTISED.items()] if quantised else []
    for title, form, eight_bits in wanted:
        places[title] = default_place(file, FORMATS[form], eight_bits)
        export_model(model, card, FORMATS[form], places[title], eight_bits)
    keras.utils.clear_session(free_memory=True)
    return places


def run(job: dict[str, Any], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Times one contender in a process of its own; what it printed last.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    job |= {"inputs": str(folder / "inputs.npz"), "batch": BATCH, "seconds": options.seconds, "began": time.time()}
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    command = [sys.executable, str(Path(__file__).with_name("one_runtime.py")), json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(
            f"Expected {job['runtime']} to finish. Received: exit code {done.returncode}.\n{done.stderr[-2000:]}"
        )
    result = {**job, **json.loads(done.stdout.splitlines()[-1])}
    said = f"{folder.name}, {job['runtime']}, {job['cores']} core(s): {result['images_s']:.1f} images/s"
    print(said, file=sys.stderr)
    return result


if __name__ == "__main__":
    main()
