"""Folders that hold a phantom: written whole or not at all, and never in place of anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import DatasetError
from mmdc_tf.io import new_folder

NOTICE = "phantom: not a reproduction"
NOTICE_FILE = "PHANTOM.txt"
PARAMETERS_FILE = "phantom.json"
DRAWING_VERSION = 2
"""Raised whenever the drawing changes, so that folders of an older drawing are written again."""
NOTICE_TEXT = f"""{NOTICE}

Every image and value in this folder was drawn by mmdc_tf from a seed. None comes from a patient, and no number made
from them says anything about a published result. mmdc_tf may rewrite this folder: keep nothing of your own in it.
"""

Parameters = dict[str, str | int]


def is_phantom(dataset: Dataset) -> bool:
    """Whether a dataset is a phantom: declared as one, or read from a phantom's folder under any other name."""
    return dataset.info.synthetic or (dataset.root / NOTICE_FILE).is_file()


def holds_phantom(root: Path, parameters: Parameters) -> bool:
    """Returns True if ``root`` holds a phantom of exactly these parameters, drawn by this version of the drawing."""
    try:
        found = json.loads((root / PARAMETERS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (root / NOTICE_FILE).is_file() and found == _with_version(parameters)


def write_phantom_folder(root: Path, parameters: Parameters, draw: Callable[[Path], None]) -> Path:
    """Writes a phantom beside ``root`` and puts it there by renaming, so that ``root`` is complete or not there.

    Args:
        root: the folder to write; a phantom already there is replaced.
        parameters: what the phantom is drawn from, kept in ``phantom.json``.
        draw: writes the phantom's files into the folder that it is given.

    Returns:
        ``root``.

    Raises:
        DatasetError: ``root`` holds something that is no phantom, or cannot be written.
    """
    try:
        _refuse_other_content(root)
        with new_folder(root) as new:
            (new / NOTICE_FILE).write_text(NOTICE_TEXT, encoding="utf-8")
            draw(new)
            (new / PARAMETERS_FILE).write_text(json.dumps(_with_version(parameters), indent=2), encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"Expected a folder that can be written, for the phantom. Received: root={root} ({error.strerror}). "
            "Choose another folder or free the disk."
        ) from error
    return root


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image in the format of the path's suffix (JPEG at quality 95).

    Args:
        path: a file name ending in .png or .jpg; missing folders are made.
        image: uint8, (H, W) grey or (H, W, 3) RGB.
    """
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, pixels, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def _with_version(parameters: Parameters) -> Parameters:
    return {**parameters, "drawing_version": DRAWING_VERSION}


def _refuse_other_content(root: Path) -> None:
    """Lets through what may be replaced: nothing, an empty folder, a phantom."""
    if not root.exists() or (root / NOTICE_FILE).is_file():
        return
    if not root.is_dir() or any(root.iterdir()):
        raise DatasetError(
            f"Expected an empty, new or phantom folder (one with {NOTICE_FILE}). "
            f"Received: root={root}, which holds something else. Choose another folder."
        )
