"""The pictures of the audit's page, each a ``data:`` address that needs no file beside the page."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdc_tf.audit.probe_scores import Interval, ProbeResult
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.io import picture_address

# Okabe and Ito: told apart by colour-blind readers too
IMAGE_LEVEL, GROUP_LEVEL = "#e69f00", "#0072b2"
NAMES = {"nearest-neighbour": "nearest neighbour\nof thumbnails", "age-density": "age and density\nalone"}
_BAR = 0.36


def thumbnail(path: str | Path, longest: int) -> str:
    """An image file as a ``data:`` address of a PNG.

    Args:
        path: the file.
        longest: its longest side in pixels; smaller images stay as they are.

    Raises:
        UnreadableImageError: the file cannot be decoded.
    """
    image = read_image(path)
    share = min(1.0, longest / max(image.shape[:2]))
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return picture_address(_png(small))


def leak_figure(probes: list[ProbeResult]) -> str | None:
    """Bars of each leak probe under both kinds of split, as a ``data:`` address; None where none was scored.

    Args:
        probes: of ``leak_probes``; skipped ones are left out.
    """
    scored = [probe for probe in probes if not probe.skipped]
    if not scored:
        return None
    figure = Figure(figsize=(7, 1.7 + 0.9 * len(scored)), layout="constrained")
    _bars(figure.subplots(), scored)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return picture_address(buffer.getvalue())


def _bars(axes: Axes, probes: list[ProbeResult]) -> None:
    places = np.arange(len(probes))
    image = [(probe.image_level, probe.image_interval) for probe in probes]
    group = [(probe.group_level, probe.group_interval) for probe in probes]
    _one_kind(axes, places - _BAR / 2, image, IMAGE_LEVEL, "image-level folds")
    _one_kind(axes, places + _BAR / 2, group, GROUP_LEVEL, "groups kept together")
    shares = [100 * probe.majority for probe in probes]
    axes.vlines(shares, places - 0.45, places + 0.45, "black", "dashed", linewidth=1.2, label="commonest class")
    axes.set_yticks(places, [NAMES.get(probe.name, probe.name) for probe in probes])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("labels guessed right (per cent); lines: 95 % intervals")
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _one_kind(
    axes: Axes, places: np.ndarray, scores: list[tuple[float | None, Interval | None]], colour: str, label: str
) -> None:
    values = [100 * (value or 0.0) for value, _ in scores]
    limits = 100 * np.array([interval or (0.0, 0.0) for _, interval in scores])
    axes.barh(places, values, _BAR * 0.92, color=colour, label=label)
    axes.hlines(places, limits[:, 0], limits[:, 1], color="black", linewidth=1.2)


def _png(image: np.ndarray) -> bytes:
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels)[1].tobytes()
