"""Decodes DICOM pixels in a process of its own: GDCM ends its process on some damaged files, which must not be ours.

The file itself is the program of that process. It takes a line of JSON a file, ``{"path": …}``, and answers with a
line, ``{"dtype": …, "shape": …}`` and the bytes of the pixels, or ``{"error": …}``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import numpy as np


class DecoderProcess:
    """One process, started when it is first asked and again after it has ended; calls take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None

    def pixels(self, path: str) -> np.ndarray:
        """The pixels as ``pydicom.Dataset.pixel_array`` gives them.

        Raises:
            ValueError: the file cannot be decoded, or the decoder ended on it.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                command = [sys.executable, "-P", __file__]
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            return _asked(self._process, path)


def _asked(process: subprocess.Popen, path: str) -> np.ndarray:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ValueError("the decoder has no pipes")
    try:
        stdin.write(json.dumps({"path": path}).encode() + b"\n")
        stdin.flush()
        answer = json.loads(stdout.readline() or b"{}")
        if "error" in answer:
            raise ValueError(answer["error"])
        dtype, shape = np.dtype(answer["dtype"]), tuple(answer["shape"])
        data = stdout.read(dtype.itemsize * int(np.prod(shape)))
        return np.frombuffer(data, dtype).reshape(shape)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        process.wait()
        raise ValueError("the decoder ended on it: damaged pixel data") from error


def _answer(line: bytes) -> tuple[dict[str, Any], bytes]:
    from pydicom import dcmread

    try:
        pixels = np.ascontiguousarray(dcmread(json.loads(line)["path"]).pixel_array)
    except Exception as error:  # pydicom and its decoders raise errors of many classes
        return {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}, b""
    return {"dtype": pixels.dtype.str, "shape": pixels.shape}, pixels.tobytes()


def _serve() -> None:
    """Until the other side closes the pipe, which it does at the latest when it ends."""
    for line in sys.stdin.buffer:
        head, data = _answer(line)
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
