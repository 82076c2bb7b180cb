"""Preprocessed images, kept: in memory while they are few, in a temporary file where they are many."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterable

import numpy as np

MOST_IN_MEMORY = 10**9
"""Bytes that one store keeps in memory, 6,600 images of 224 pixels; a larger one keeps all in a file."""


class PixelStore:
    """Images by path, each preprocessed when it is first asked for; threads may ask at once.

    The file has no name and ends with the store; where the disk is full, an image is preprocessed whenever it is asked
    for. ``tf.data``'s own cache keeps all in memory, or in a named file that outlives a killed process and must be
    complete before it is read; its pixels pass through the buffer of a shuffle, which then holds them all again.

    Args:
        paths: that may be asked for, in UTF-8, as ``tf.numpy_function`` gives them.
        image_size: height and width in pixels.
        load: makes uint8 (S, S, 3) of a path.
    """

    def __init__(self, paths: Iterable[bytes], image_size: int, load: Callable[[bytes], np.ndarray]) -> None:
        self._places = {path: place for place, path in enumerate(dict.fromkeys(paths))}
        self._load = load
        self._shape = (image_size, image_size, 3)
        self._bytes = 3 * image_size**2
        self._memory: dict[int, np.ndarray] = {}
        self._written = np.zeros(len(self._places), bool)
        self._locks = [threading.Lock() for _ in self._places]
        self._file_lock = threading.Lock()
        large = len(self._places) * self._bytes > MOST_IN_MEMORY
        self._file = tempfile.TemporaryFile(buffering=0) if large else None  # noqa: SIM115 (it ends with this object)

    def __call__(self, path: bytes) -> np.ndarray:
        """The pixels of a path: uint8 (S, S, 3), not to be changed."""
        place = self._places[path]
        with self._locks[place]:
            pixels = self._kept(place)
            if pixels is None:
                pixels = self._load(path)
                self._keep(place, pixels)
            return pixels

    def _kept(self, place: int) -> np.ndarray | None:
        if self._file is None:
            return self._memory.get(place)
        if not self._written[place]:
            return None
        with self._file_lock:
            self._file.seek(place * self._bytes)
            content = self._file.read(self._bytes)
        return np.frombuffer(content, np.uint8).reshape(self._shape)

    def _keep(self, place: int, pixels: np.ndarray) -> None:
        if self._file is None:
            self._memory[place] = pixels
            return
        with self._file_lock, contextlib.suppress(OSError):
            self._file.seek(place * self._bytes)
            self._written[place] = self._file.write(pixels.tobytes()) == self._bytes
