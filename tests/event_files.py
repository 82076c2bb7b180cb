"""What TensorBoard would read from a folder of event files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmdc_tf.datasets.opencv import cv2


def events(folder: Path) -> EventAccumulator:
    """All events of a run, none left out."""
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def values(folder: Path, tag: str) -> list[tuple[int, np.ndarray]]:
    """Step and value of each summary of a tag."""
    return [(event.step, tf.make_ndarray(event.tensor_proto)) for event in events(folder).Tensors(tag)]


def images(folder: Path, tag: str) -> list[tuple[int, np.ndarray]]:
    """Step and picture, uint8 (H, W, 3) BGR, of each image summary of a tag."""
    found = values(folder, tag)
    return [(step, cv2.imdecode(np.frombuffer(value[2], "uint8"), cv2.IMREAD_COLOR)) for step, value in found]
