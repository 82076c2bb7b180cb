"""The page of ``mmdc-tf demo`` under load: many visitors at once, on this machine.

    python benchmarks/page_load.py [--model M] [--clients 50] [--seconds 60] [--json FILE]

Starts the real command and visits its page as a browser does, without one: opens it, uploads a scan (PNG, 600 × 450),
waits for the whole answer (probabilities, heatmaps, what age and density change, steps), changes the density, closes
the page, and comes again. Of each 50 visits 5 upload a broken file, 2 one over the limit of 50 MB, and 6 close the page
before the answer is there. Each picture is another. No visit begins after the time; those that have begun are waited
for. Without ``--model`` two models of one row with random weights are made: MMDCNet on EfficientNetB0, 64 pixels.

A refusal is an answer that says which limit was met: a file over 50 MB (413), more questions than may wait for the
model (503), no room for uploads (507). All else that is not the answer asked for is a failure. Memory is the server's
resident set: after two visits one after the other, which trace and allocate ("before"); the most; and 15 seconds after
the last visit, when the uploads must be gone ("after"). Goal: no failure, no upload left, and after at most 10 % above
before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mmdc_tf  # noqa: F401  before Keras: it switches oneDNN on

# isort: split
import keras
import numpy as np
from machine import machine_lines
from page_visitors import Found, load

from mmdc_tf.commands.arguments import positive
from mmdc_tf.models import MODELS, ModelSettings, build_model
from mmdc_tf.preprocessing import get_recipe

MODEL, SIZE, CLASSES = "mmdcnet", 64, ("benign", "cancer", "normal")
REST = 15
GROWTH = 1.10


class Watched:
    """The running command, and the most memory that it was seen with."""

    def __init__(self, model: Path, folder: Path) -> None:
        command = [sys.executable, "-m", "mmdc_tf.cli", "demo", "--model", str(model), "--port", "0", "--no-browser"]
        environment = {**os.environ, "TMPDIR": str(folder)}
        self._folder, self.most = folder, 0.0
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        lines = iter(self._process.stdout or ())
        self.address = next(found[1] for line in lines if (found := re.match(r"page: (\S+)", line)))

    def look(self) -> float:
        """Its memory now, in MB."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8").splitlines()
        now = next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmRSS:"))
        self.most = max(self.most, now)
        return now

    def uploads(self) -> int:
        """How many files it holds."""
        return sum(path.is_file() for path in self._folder.glob("mmdc-tf-demo-*/*/*"))

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


def write_row(folder: Path) -> Path:
    """Two models of a row, and the folder of the first."""
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        place = folder / "row" / "leak-free" / f"fold{seed}-seed0"
        place.mkdir(parents=True)
        build_model(MODEL, ModelSettings(SIZE, len(CLASSES)), backbone="efficientnetb0").save(place / "model.keras")
        card = {"model": MODEL, "class_names": CLASSES, "inputs": MODELS[MODEL].inputs, "image_size": SIZE}
        card |= {"preprocessing": get_recipe("lesion-safe").to_config(), "notice": "phantom: random weights"}
        (place / "model.json").write_text(json.dumps(card), encoding="utf-8")
    return folder / "row" / "leak-free" / "fold0-seed0"


def measure(model: Path, clients: int, seconds: float, rest: float = REST) -> dict[str, Any]:
    """Starts the command, loads it, and returns what was found."""
    with tempfile.TemporaryDirectory() as folder:
        server = Watched(model, Path(folder))
        try:
            warm = load(server.address, 1, 0.1), load(server.address, 1, 0.1)
            time.sleep(rest)
            before, began = server.look(), time.monotonic()
            found = load(server.address, clients, seconds, server.look)
            took = time.monotonic() - began
            time.sleep(rest)
            return _facts(found, took) | {
                "warm_failures": sum(one.failures.total() for one in warm),
                "before_mb": round(before),
                "most_mb": round(server.most),
                "after_mb": round(server.look()),
                "uploads_left": server.uploads(),
            }
        finally:
            server.end()


def _facts(found: Found, took: float) -> dict[str, Any]:
    return {
        "seconds": round(took, 1),
        "answers": dict(found.answers),
        "refusals": dict(found.refusals),
        "failures": dict(found.failures),
        "latency": {
            kind: [round(float(value), 2) for value in np.percentile(seconds, (50, 95, 100))]
            for kind, seconds in found.seconds.items()
        },
    }


def _print(facts: dict[str, Any], clients: int) -> None:
    print(f"{clients} visitors at once, {facts['seconds']:.0f} s with the last answers")
    print("\n| request | answered | median s | 95 % s | slowest s |\n|---|---:|---:|---:|---:|")
    for kind, count in facts["answers"].items():
        times = facts["latency"].get(kind)
        print(f"| {kind} | {count:,} | {' | '.join(f'{one:.2f}' for one in times) if times else '– | – | –'} |")
    for name in ("refusals", "failures"):
        print(f"\n{name}: " + ("; ".join(f"{why}: {count:,}" for why, count in facts[name].items()) or "none"))
    print(
        f"\nmemory: before {facts['before_mb']:,} MB, most {facts['most_mb']:,} MB, after {facts['after_mb']:,} MB; "
        f"uploads left: {facts['uploads_left']}"
    )


def main() -> int:
    """Returns 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="of a training; default: random weights")
    parser.add_argument("--clients", type=positive, default=50)
    parser.add_argument("--seconds", type=positive, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        facts = measure(options.model or write_row(Path(folder)), options.clients, options.seconds)
    print(machine_lines(("tensorflow", "keras", "gradio")))
    _print(facts, options.clients)
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    good = not facts["failures"] and not facts["uploads_left"] and facts["after_mb"] <= GROWTH * facts["before_mb"]
    print("goal: " + ("reached" if good else "missed"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
