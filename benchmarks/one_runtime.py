"""Times one runtime on one exported model, and prints what it took, as JSON; started by inference.py."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Inputs = dict[str, np.ndarray]
Predict = Callable[[Inputs], np.ndarray]
LEAST_CALLS, LEAST_PASSES = 20, 2


def main() -> None:
    job = json.loads(sys.argv[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job["cores"]])  # before any library counts the cores
    predict, in_passes = contender(job)
    inputs = dict(np.load(job["inputs"]))
    one = {name: values[:1] for name, values in inputs.items()}
    predict(one)
    start = time.time() - job["began"]
    for _ in range(2):  # the next calls settle, and TensorFlow traces once more where the batch changes
        predict(one)
    found = {"start": start, "probabilities": in_passes(inputs).tolist()}
    print(json.dumps(found | timed(predict, in_passes, one, inputs, job["seconds"])))


def contender(job: dict[str, Any]) -> tuple[Predict, Predict]:
    """What answers one image, and what goes over many in batches."""
    if job["runtime"].startswith("keras"):
        return keras_contender(job)
    from mmdc_tf.serving.parity import RUNTIMES

    predict = RUNTIMES[job["runtime"]](Path(job["model"]), job["cores"])
    return predict, batched(predict, job["batch"])


def keras_contender(job: dict[str, Any]) -> tuple[Predict, Predict]:
    import mmdc_tf  # noqa: F401, before Keras: it switches oneDNN on

    # isort: split
    import keras

    model = keras.models.load_model(job["model"], compile=False)
    if job["runtime"] == "keras_function":
        import tensorflow as tf

        call = tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)

        def predict(inputs: Inputs) -> np.ndarray:
            return call({name: tf.constant(values) for name, values in inputs.items()}).numpy()

        return predict, batched(predict, job["batch"])
    return (
        lambda inputs: model.predict(inputs, verbose=0),
        lambda inputs: model.predict(inputs, batch_size=job["batch"], verbose=0),
    )


def batched(predict: Predict, size: int) -> Predict:
    def over_all(inputs: Inputs) -> np.ndarray:
        starts = range(0, len(inputs["image"]), size)
        parts = ({name: values[start : start + size] for name, values in inputs.items()} for start in starts)
        return np.concatenate([predict(part) for part in parts])

    return over_all


def timed(predict: Predict, in_passes: Predict, one: Inputs, inputs: Inputs, seconds: float) -> dict[str, Any]:
    """Latency of single images and throughput of batches, when both have been called before."""
    calls, _ = repeated(lambda: predict(one), seconds, LEAST_CALLS)
    passes, processor = repeated(lambda: in_passes(inputs), seconds, LEAST_PASSES)
    return {
        "median_ms": 1000 * statistics.median(calls),
        "p95_ms": 1000 * float(np.percentile(calls, 95)),
        "calls": len(calls),
        "images_s": len(inputs["image"]) / statistics.median(passes),
        "passes": len(passes),
        "cpus": processor / sum(passes),
    }


def repeated(work: Callable[[], object], seconds: float, least: int) -> tuple[list[float], float]:
    """Seconds of each call, for so many seconds and at least so often; and the processor's seconds of all of them."""
    spent: list[float] = []
    processor = time.process_time()
    while sum(spent) < seconds or len(spent) < least:
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return spent, time.process_time() - processor


if __name__ == "__main__":
    main()
