"""Trains MONAI's DenseNet as a user of MONAI would, and prints how long it took, as JSON; started by training.py.

It runs in the peers' environment, without mmdc_tf. Its images lie in memory as float32 in the memory format of the
network, ready for it; AdamW and cross-entropy are those of torch. What is frozen runs in eval mode without gradients.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks import nets
from torch import Tensor, nn

NETWORKS = {"densenet121": nets.DenseNet121, "densenet201": nets.DenseNet201}
LEARNING_RATE, WEIGHT_DECAY, LABEL_SMOOTHING = 5e-4, 1e-2, 0.05  # our recipe's for random weights
LAST_FROZEN = "transition3"  # everything before the last dense block, as Keras' pool4_pool


class Training:
    """A network, its optimiser, and its images."""

    def __init__(self, job: dict[str, Any]) -> None:
        torch.manual_seed(0)
        self._format = getattr(torch, job["memory_format"])
        self._images, self._labels = _read(Path(job["folder"]), job["images"], self._format)
        self._batch_size = job["batch_size"]
        network = NETWORKS[job["model"]](spatial_dims=2, in_channels=3, out_channels=job["classes"])
        network = network.to(memory_format=self._format)
        _settle(network, self._images[: self._batch_size])
        self._frozen, self._tail = _split(network, job["work"] == "frozen")
        self._optimiser = torch.optim.AdamW(self._tail.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self._loss = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)

    @property
    def trainable(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self._tail.parameters() if parameter.requires_grad)

    def epoch(self) -> None:
        """All images once, in a new order."""
        for chosen in torch.randperm(len(self._images)).split(self._batch_size):
            images = self._images[chosen].contiguous(memory_format=self._format)
            self._optimiser.zero_grad()
            with torch.no_grad():
                features = self._frozen(images)
            self._loss(self._tail(features), self._labels[chosen]).backward()
            self._optimiser.step()


def _read(folder: Path, count: int, memory_format: torch.memory_format) -> tuple[Tensor, Tensor]:
    """Images, float32 (n, 3, S, S) in [0, 1], and the indices of their classes, int64 (n,)."""
    pixels = torch.from_numpy(np.load(folder / "images.npy")[:count])
    images = (pixels.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=memory_format)
    return images, torch.from_numpy(np.load(folder / "labels.npy")[:count])


def _settle(network: nn.Module, images: Tensor) -> None:
    """Gives BatchNorm the statistics of a batch: with those of new networks, features grow from block to block."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def _split(network: nn.Module, frozen: bool) -> tuple[nn.Module, nn.Module]:
    """The frozen part, in eval mode, and the rest, in train mode; the frozen part is empty for full fine-tuning."""
    names = [name for name, _ in network.features.named_children()]
    cut = names.index(LAST_FROZEN) + 1 if frozen else 0
    before = nn.Sequential(*network.features[:cut]).eval().requires_grad_(False)
    return before, nn.Sequential(*network.features[cut:], network.class_layers).train()


def main() -> None:
    job = json.loads(sys.argv[1])
    training = Training(job)
    seconds, processor = [], []
    for _ in range(1 + job["stretches"]):  # the first one warms up
        started, cpu = time.perf_counter(), time.process_time()
        training.epoch()
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - cpu)
    result = {
        "first": seconds[0],
        "seconds": seconds[1:],
        "cpu": processor[1:],
        "trainable": training.trainable,
        "versions": {name: version(name) for name in ("monai", "torch")},
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
