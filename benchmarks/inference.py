"""How fast a saved model answers: by Keras, as a SavedModel, by ONNX Runtime and by LiteRT (TFLite).

    python benchmarks/inference.py [--model model.keras | --rows NAMES] [--size PIXELS] [--cores 1,2] [--seconds S]
        [--json FILE]

Without ``--model``, rows of the tables are trained for one epoch on the phantom with random weights (a network takes as
long with any). The model is exported by ``mmdc-tf export``, and each runtime runs in a process of its own, one after
the other, bound to the first one or two cores, with as many threads as cores. What is timed is the network alone, from
a float32 array of random pixels in memory to probabilities:

- Keras predict: ``model.predict``, as ``mmdc-tf predict`` calls it; what the others are compared with.
- Keras tf.function: ``model(inputs, training=False)`` in a ``tf.function``.
- SavedModel: its serving signature, by TensorFlow.
- ONNX Runtime and LiteRT: float32.

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
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine_lines

ROWS = {"bcdnet_alpha": 1, "mmdcnet_beta": 2}
IMAGES, BATCH, LEAST_CALLS, LEAST_PASSES, GOAL = 32, 16, 20, 2, 1.3
FORMATS = {"saved_model": "SavedModel", "onnx": "ONNX Runtime", "tflite": "LiteRT (TFLite)"}
CONTENDERS = {"predict": "Keras predict", "function": "Keras tf.function", **FORMATS}
PACKAGES = ("tensorflow", "keras", "onnxruntime", "ai-edge-litert", "tf2onnx", "numpy")
Inputs = dict[str, np.ndarray]
Predict = Callable[[Inputs], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", type=Path, help="a model.keras with its model.json; default: rows of the tables")
    add("--rows", default=",".join(ROWS), help="default: %(default)s")
    add("--size", type=int, default=224, help="height and width in pixels; default: 224")
    add("--cores", default="1,2", help="default: %(default)s")
    add("--seconds", type=float, default=2.0, help="of each measurement; default: 2")
    add("--json", type=Path, help="write all numbers into this file too")
    options = parser.parse_args()
    print(machine_lines(PACKAGES) + f"; {options.seconds:g} s each\n", flush=True)
    found = []
    with tempfile.TemporaryDirectory() as name:
        for row in [None] if options.model else options.rows.split(","):
            scratch = Path(name, row or "model")
            scratch.mkdir()
            model = options.model or trained(row, options.size, scratch)
            places = {"predict": model, "function": model} | {form: exported(model, form, scratch) for form in FORMATS}
            for cores in map(int, options.cores.split(",")):
                results = {one: in_process(one, places, cores, options.seconds, scratch) for one in CONTENDERS}
                print_table(row or str(model), cores, results)
                found += [{"model": row or str(model), "name": one, **result} for one, result in results.items()]
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def command(*words: object) -> None:
    """A command of this package."""
    line = [sys.executable, "-m", "mmdc_tf.cli", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ})
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)}: exit code {done.returncode}.\n{done.stderr[-2000:]}")


def trained(row: str, size: int, scratch: Path) -> Path:
    """The model of a row after one epoch on the phantom."""
    which = ("--table", ROWS.get(row, 2), "--rows", row, "--protocol", "paper", "--profile", "quick", "--epochs", 1)
    command("run", *which, "--image-size", size, "--weights", "none", "--output", scratch / "run")
    return next((scratch / "run").rglob("model.keras"))


def exported(model: Path, form: str, scratch: Path) -> Path:
    """The model in another format."""
    place = scratch / f"model.{form}"
    command("export", "--model", model, "--format", form, "--output", place)
    return place


def in_process(one: str, places: dict[str, Path], cores: int, seconds: float, scratch: Path) -> dict[str, Any]:
    """What a contender's own process measured; all are given the same inputs, which the first one draws."""
    job = {"contender": one, "place": str(places[one]), "keras": str(places["predict"]), "cores": cores}
    job |= {"seconds": seconds, "inputs": str(scratch / "inputs.npz"), "began": time.time()}
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(job)],
        capture_output=True,
        text=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
    )
    if done.returncode:
        raise RuntimeError(f"{one}: exit code {done.returncode}.\n{done.stderr[-2000:]}")
    return {**job, **json.loads(done.stdout.splitlines()[-1])}


def measure(job: dict[str, Any]) -> None:
    """In a process of its own: prints the numbers as JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["cores"]])  # before any library counts the cores
    predict, inputs = CONTENDER[job["contender"]](job)
    one = {name: values[:1] for name, values in inputs.items()}
    predict(one)
    start = time.time() - job["began"]

    def over_all() -> np.ndarray:
        starts = range(0, IMAGES, BATCH)
        return np.concatenate(
            [predict({name: values[at : at + BATCH] for name, values in inputs.items()}) for at in starts]
        )

    for _ in range(2):  # the next calls settle, and TensorFlow traces once more where the batch changes
        predict(one)
    probabilities = over_all()
    calls, _ = repeated(lambda: predict(one), job["seconds"], LEAST_CALLS)
    passes, processor = repeated(over_all, job["seconds"], LEAST_PASSES)
    found = {"start": start, "median_ms": 1000 * statistics.median(calls), "cpus": processor / sum(passes)}
    found |= {"p95_ms": 1000 * float(np.percentile(calls, 95)), "images_s": IMAGES / statistics.median(passes)}
    print(json.dumps(found | {"probabilities": probabilities.tolist()}))


def repeated(work: Callable[[], object], seconds: float, least: int) -> tuple[list[float], float]:
    """Seconds of each call, for so many seconds and at least so often; and the processor's seconds of all of them."""
    spent: list[float] = []
    processor = time.process_time()
    while sum(spent) < seconds or len(spent) < least:
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return spent, time.process_time() - processor


def by_keras(job: dict[str, Any]) -> tuple[Predict, Inputs]:
    import mmdc_tf  # noqa: F401, before Keras: it switches oneDNN on

    # isort: split
    import keras
    import tensorflow as tf

    model = keras.models.load_model(job["place"], compile=False)
    if not Path(job["inputs"]).exists():
        rng, shape = np.random.default_rng(0), (IMAGES, *model.input["image"].shape[1:])
        drawn = {"image": rng.integers(0, 256, shape).astype(np.float32)}
        if "metadata" in model.input:
            drawn["metadata"] = np.stack([rng.uniform(30, 80, IMAGES), rng.integers(1, 5, IMAGES)], 1).astype("float32")
        np.savez(job["inputs"], **drawn)
    inputs = dict(np.load(job["inputs"]))
    if job["contender"] == "predict":
        return lambda batch: model.predict(batch, batch_size=BATCH, verbose=0), inputs
    call = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
    return lambda batch: call({name: tf.constant(values) for name, values in batch.items()}).numpy(), inputs


def by_saved_model(job: dict[str, Any]) -> tuple[Predict, Inputs]:
    import tensorflow as tf

    loaded = tf.saved_model.load(job["place"])
    call = loaded.signatures["serving_default"]

    def predict(batch: Inputs, _: object = loaded) -> np.ndarray:
        return next(iter(call(**{name: tf.constant(values) for name, values in batch.items()}).values())).numpy()

    return predict, dict(np.load(job["inputs"]))


def by_onnx(job: dict[str, Any]) -> tuple[Predict, Inputs]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = job["cores"], 3
    session = onnxruntime.InferenceSession(job["place"], options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, dict(batch))[0], dict(np.load(job["inputs"]))


def by_litert(job: dict[str, Any]) -> tuple[Predict, Inputs]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=job["place"], num_threads=job["cores"])
    signature = interpreter.get_signature_runner()
    return lambda batch: next(iter(signature(**batch).values())), dict(np.load(job["inputs"]))


CONTENDER = {"predict": by_keras, "function": by_keras, "saved_model": by_saved_model}
CONTENDER |= {"onnx": by_onnx, "tflite": by_litert}


def print_table(title: str, cores: int, results: dict[str, dict[str, Any]]) -> None:
    """A line a contender, and whether the goal was reached."""
    keras, reference = results["predict"], np.array(results["predict"]["probabilities"])
    print(f"{title}, {cores} core{'s' if cores > 1 else ''}")
    head = f"{'ms an image':>12} {'p95 ms':>8} {'× Keras':>8} {'images/s':>9} {'× Keras':>8} {'CPUs':>5} {'start s':>8}"
    print(f"{'':18}{head} {'differs':>9}")
    for name, one in results.items():
        differs = np.abs(np.array(one["probabilities"]) - reference).max()
        print(
            f"{CONTENDERS[name]:18}{one['median_ms']:12.1f} {one['p95_ms']:8.1f} "
            f"{keras['median_ms'] / one['median_ms']:8.2f} {one['images_s']:9.1f} "
            f"{one['images_s'] / keras['images_s']:8.2f} {one['cpus']:5.2f} {one['start']:8.1f} {differs:9.1g}"
        )
    gain = results["onnx"]["images_s"] / keras["images_s"]
    reached = "reached" if gain >= GOAL else "missed"
    print(f"goal: ONNX Runtime at least {GOAL} × Keras predict's images/s: {gain:.2f}, {reached}\n", flush=True)


if __name__ == "__main__":
    measure(json.loads(sys.argv[1])) if sys.argv[1:2] and sys.argv[1].startswith("{") else main()
