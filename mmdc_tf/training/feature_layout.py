"""What an entry of the store of frozen features holds, in ``facts.json`` and in bytes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdc_tf.errors import ConfigurationError

FACTS = "facts.json"
LAYOUT = "mmdc_tf frozen features 1"
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}
"""The dtypes, and the largest value of each."""


class FeatureCacheUnavailable(RuntimeError):
    """The store cannot take or give these features; the message is one sentence. Training can do without."""


@contextlib.contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Turns what the system refuses below a folder into ``FeatureCacheUnavailable``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FeatureCacheUnavailable(f"The feature cache in {folder} cannot be used ({reason}).") from error


@dataclass(frozen=True)
class EntryLayout:
    """What an entry holds; its folder's name follows from all of it.

    Args:
        facts: what the features depend on, of JSON's types.
        count: number of images, at least 1.
        shapes: of each output for one image.
        dtype: ``"float16"``, ``"bfloat16"`` or ``"float32"``.
        part: images a part, at least 1.

    Raises:
        ConfigurationError: an unknown dtype, no image, no output, or a part without images.
    """

    facts: dict[str, Any]
    count: int
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    part: int

    def __post_init__(self) -> None:
        if self.dtype not in LARGEST or min(self.count, self.part, len(self.shapes)) < 1:
            raise ConfigurationError(
                f"Expected features of {', '.join(LARGEST)}, with at least one image, output, and image a part. "
                f"Received: dtype={self.dtype!r}, count={self.count}, shapes={self.shapes}, part={self.part}. "
                "Change what does not fit."
            )

    @property
    def content(self) -> dict[str, Any]:
        """What ``facts.json`` says, but for the mark of when the entry was begun."""
        made_of = {"facts": self.facts, "count": self.count, "shapes": self.shapes, "dtype": self.dtype}
        return {"layout": LAYOUT, **made_of, "part": self.part}

    @property
    def name(self) -> str:
        """The folder's name: 32 hexadecimal digits of a hash of the content."""
        canonical = json.dumps(self.content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-self.count // self.part)

    def span(self, part: int) -> tuple[int, int]:
        """The first image of a part, and the one after its last."""
        return part * self.part, min((part + 1) * self.part, self.count)

    @property
    def image_bytes(self) -> tuple[int, ...]:
        """Bytes of one image in each output."""
        width = 4 if self.dtype == "float32" else 2
        return tuple(width * int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)

    @property
    def size(self) -> int:
        """Bytes of all images and outputs."""
        return self.count * sum(self.image_bytes)

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype as numpy knows it."""
        if self.dtype == "bfloat16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(self.dtype)

    def contents(self, part: int, outputs: Sequence[np.ndarray]) -> list[bytes]:
        """A part as the bytes that are stored, one string an output.

        Args:
            part: its number.
            outputs: float arrays of shape (images of the part, \\*shape).

        Raises:
            ConfigurationError: other shapes, a value that the dtype does not hold, or NaN.
        """
        start, stop = self.span(part)
        expected = [(stop - start, *shape) for shape in self.shapes]
        received = [np.shape(output) for output in outputs]
        if received != expected:
            raise ConfigurationError(
                f"Expected features of shapes {expected} for images {start} to {stop - 1}. Received: {received}. "
                "Give the shapes that the frozen part has."
            )
        return [self._content(output, f"images {start} to {stop - 1}") for output in outputs]

    def _content(self, output: np.ndarray, images: str) -> bytes:
        largest = float(np.max(np.abs(output), initial=0.0))
        if not np.isfinite(largest):
            raise ConfigurationError(
                f"Expected a frozen part that gives numbers. Received: {largest} among the features of {images}. "
                "Use other weights."
            )
        if largest > LARGEST[self.dtype]:
            raise ConfigurationError(
                f"Expected features of at most {LARGEST[self.dtype]:g}, the largest value of {self.dtype}. Received: "
                f"{largest:g} among those of {images}. Use --feature-dtype bfloat16 or float32."
            )
        return np.asarray(output).astype(self.numpy_dtype).tobytes()


def read_layout(folder: Path) -> tuple[EntryLayout, str] | None:
    """What an entry's ``facts.json`` says, and the mark of when it was begun; None where the folder is no entry.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        content = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        shapes = tuple(tuple(shape) for shape in content["shapes"])
        layout = EntryLayout(content["facts"], content["count"], shapes, content["dtype"], content["part"])
        known = content["layout"] == LAYOUT and layout.name == folder.name
        return (layout, str(content["begun"])) if known else None
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
