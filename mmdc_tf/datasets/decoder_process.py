"""Decodes in a process of its own, whose error stream is read: what some decoders say of damage they say only there.

libjpeg and libtiff fill what is damaged with grey and go on, and GDCM ends its process on some damaged files, which
must not be ours. What no decoder says is looked for here: holes of zeros in JPEG and RLE data, and checksums of deflate
data in TIFF files. The file itself is the program of that process. It takes a line of JSON a file, the arguments of
``DecoderProcess.pixels``, and answers with a line, ``{"dtype": …, "shape": …}`` and the bytes of the pixels, or
``{"error": …}``.
"""

from __future__ import annotations

import io
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

_DAMAGE = re.compile(
    r"Corrupt JPEG data: .*|Inconsistent progression .*|PackBitsDecode: Discarding .*|(?<=TIFF_Error ).*"
)
"""Warnings on unknown tags or versions are none."""
_HOLE = 8
"""Bytes of zero in a row, of which our files of Mini-DDSM have at most 4, scans saved at any quality at most 5."""
_COMPRESSION, _STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES, _TABLES = 259, 273, 279, 324, 325, 347
_DEFLATE, _JPEG = (8, 32946), (7,)


class DecoderProcess:
    """As many processes as threads ask at once, at most one a processor; each is started when it is needed."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[subprocess.Popen] = queue.LifoQueue()
        self._free = threading.BoundedSemaphore(os.cpu_count() or 1)
        if hasattr(os, "register_at_fork"):  # a forked process must not read our answers
            os.register_at_fork(after_in_child=self.__init__)  # type: ignore[misc]

    def pixels(self, path: str, **options: Any) -> np.ndarray:
        """The pixels of a file.

        Args:
            path: an image or DICOM file.
            options: ``how``, OpenCV's flags, for an image; ``elements`` that replace those of the header, and
                pydicom's ``plugin``, for a DICOM file, whose pixels are as ``pydicom.Dataset.pixel_array`` gives them.

        Raises:
            ValueError: the file cannot be decoded, the decoder says that it is damaged, or ended on it.
        """
        with self._free:
            try:
                process = self._idle.get_nowait()
            except queue.Empty:
                process = _started()
            try:
                if process.poll() is not None:
                    process = _started()
                return _asked(process, {"path": path, **options})
            finally:
                self._idle.put(process)


decoder = DecoderProcess()


def _started() -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OPENCV_LOG_LEVEL": "WARNING"},
        pipesize=2**20,
    )


def _asked(process: subprocess.Popen, question: dict[str, Any]) -> np.ndarray:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ValueError("the decoder has no pipes")
    try:
        stdin.write(json.dumps(question).encode() + b"\n")
        stdin.flush()
        answer = json.loads(stdout.readline() or b"{}")
        if "error" in answer:
            raise ValueError(answer["error"])
        pixels = np.empty(answer["shape"], answer["dtype"])
        if stdout.readinto(pixels.reshape(-1).view(np.uint8)) != pixels.nbytes:  # type: ignore[attr-defined]
            raise OSError
        return pixels
    except (OSError, KeyError, json.JSONDecodeError) as error:
        process.kill()
        process.wait()
        raise ValueError("the decoder ended on it: damaged pixel data") from error


def _image(path: str, how: int) -> np.ndarray:
    return _opencv(np.fromfile(path, np.uint8), how)


def _opencv(data: np.ndarray, how: int) -> np.ndarray:
    import cv2

    pixels = cv2.imdecode(data, how) if data.size else None
    if pixels is None:
        raise ValueError("not a decodable image" if data.size else "empty file")
    whole = data.tobytes()
    for part in (whole,) if whole.startswith(b"\xff\xd8") else _parts_of_tiff(whole):
        if part.startswith(b"\xff\xd8") and _has_hole(part):
            raise ValueError(f"Corrupt JPEG data: {_HOLE} bytes of zero in a row")
    return pixels


def _parts_of_tiff(data: bytes) -> Iterator[bytes]:
    """The JPEG streams of a TIFF file, with their tables; of deflate data the checksum alone is compared."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    file = io.BytesIO(data)
    try:
        tags = ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])
        file.seek(tags.next)
        tags.load(file)
    except Exception:  # of a dozen classes; OpenCV has decoded it all the same
        return
    compression = tags.get(_COMPRESSION)
    places, sizes = tags.get(_STRIPS) or tags.get(_TILES), tags.get(_STRIP_SIZES) or tags.get(_TILE_SIZES)
    for place, size in zip(places or (), sizes or (), strict=False):
        part = data[place : place + size]
        if compression in _DEFLATE:
            try:
                zlib.decompressobj().decompress(part)  # libtiff stops once it has the pixels, before the checksum
            except zlib.error as error:
                raise ValueError(f"damaged pixel data: {error}") from error
        if compression in _JPEG:
            yield tags.get(_TABLES, b"\xff\xd8\xff\xd9")[:-2] + part[2:]


def _has_hole(data: bytes) -> bool:
    """Whether a JPEG file's pixels hold a run of zeros that no encoder writes, and of which its decoder may not tell.

    In a Huffman table all zeros is the code of the first symbol (ITU-T T.81, C.2). Unless that is "end of block" for
    each component, the run means dozens of equal coefficients in a row.
    """
    place, first_symbols, components = 2, {}, 0
    while place + 4 <= len(data):
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        segment, place = data[place + 4 : place + 2 + length], place + 2 + length
        if marker in (0xC0, 0xC1):  # sequential; in progressive files such runs are common
            components = segment[5]
        while marker == 0xC4 and len(segment) > 17:
            if segment[0] >> 4:  # of coefficients
                first_symbols[segment[0] & 15] = segment[17]
            segment = segment[17 + sum(segment[1:17]) :]
        if marker == 0xDA:
            used = [first_symbols.get(table & 15) for table in segment[2 : 1 + 2 * components : 2]]
            end = data.find(b"\xff\xd9", place)
            return segment[0] == components and any(used) and data.find(bytes(_HOLE), place, end) >= 0
    return False


def _dicom(path: str, elements: dict[str, Any], plugin: str) -> np.ndarray:
    from pydicom import dcmread
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    dataset = dcmread(path, force=True)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    is_rle = dataset.file_meta.TransferSyntaxUID == RLELossless
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1) if is_rle or plugin == "pillow" else b""
    if plugin == "pillow":  # which says nothing of damage
        _opencv(np.frombuffer(frame, np.uint8), 0)
    # After its header of 64 bytes. A run of zeros is written as a count and one zero (PS3.5, G.3), if one packs at all.
    cells = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated // 8
    if is_rle and dataset.Columns > 1 and len(frame) < cells and bytes(_HOLE) in frame[64:].rstrip(b"\0"):
        raise ValueError(f"damaged pixel data: {_HOLE} bytes of zero in a row")
    dataset.pixel_array_options(decoding_plugin=plugin)
    return dataset.pixel_array


def _answer(line: bytes, said: int) -> tuple[dict[str, Any], np.ndarray]:
    question = json.loads(line)
    try:
        pixels = (_image if "how" in question else _dicom)(**question)
        error = ""
    except Exception as caught:  # pydicom and its decoders raise errors of many classes
        pixels = np.empty(0)
        detail = (str(caught).splitlines() or [""])[0]
        error = detail if isinstance(caught, ValueError) else f"{type(caught).__name__}: {detail}"
    damage = _DAMAGE.search(_read(said))
    if error or damage:
        return {"error": error if error or damage is None else damage[0]}, np.empty(0)
    return {"dtype": pixels.dtype.str, "shape": pixels.shape}, np.ascontiguousarray(pixels)


def _read(pipe: int) -> str:
    try:
        return os.read(pipe, 2**16).decode(errors="replace")
    except BlockingIOError:
        return ""


def _serve() -> None:
    """Until the other side closes the pipe, which it does at the latest when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the other side decides
    said, error_stream = os.pipe()
    for end in (said, error_stream):
        os.set_blocking(end, False)
    os.dup2(error_stream, 2)
    for line in sys.stdin.buffer:
        head, pixels = _answer(line, said)
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
        sys.stdout.buffer.write(pixels.data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
