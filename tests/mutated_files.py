"""Damaged images and tables, given to what reads them; a process of its own, since a decoder may end it.

    python tests/mutated_files.py images|tables COUNT SEED FOLDER

Prints JSON: how many were read, how many refused with an error that names what to do, what else happened (the file is
kept in FOLDER), the slowest in seconds, and by how many MB the process grew.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

KINDS = ("flip", "flip", "cut", "insert", "repeat", "zero", "number", "swap")
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
SIDES = (48, 40)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to four changes: bits, bytes cut off or put in, stretches repeated or emptied, extreme numbers."""
    for _ in range(draw.randint(1, 4)):
        data = _changed(bytearray(data), draw)
    return data


def _changed(data: bytearray, draw: random.Random) -> bytes:
    # headers decide most: half of all changes lie in the first 200 bytes
    place = draw.randrange(min(len(data), 200) if draw.random() < 0.5 else len(data)) if data else 0
    length = draw.choice((1, 2, 4, 16, 64))
    kind = draw.choice(KINDS) if data else "insert"
    if kind == "flip":
        data[place] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[place : None if draw.random() < 0.5 else place + length]
    elif kind == "insert":
        data[place:place] = draw.randbytes(length)
    elif kind == "repeat":
        data[place:place] = data[place : place + length] * draw.choice((1, 2, 100))
    elif kind == "zero":
        data[place : place + length] = bytes(len(data[place : place + length]))
    elif kind == "number":
        number = draw.choice(NUMBERS).to_bytes(8, "little")
        size = draw.choice((2, 4))
        data[place : place + size] = number[:size] if draw.random() < 0.5 else number[:size][::-1]
    else:
        other = draw.randrange(len(data))
        data[place], data[other] = data[other], data[place]
    return bytes(data)


def image_files(folder: Path) -> list[Path]:
    """One of each format: grey and colour, 8 and 16 bit, DICOM plain and compressed."""
    from pydicom import dcmread
    from pydicom.uid import JPEG2000Lossless, RLELossless
    from served_model import scan, write_dicom, write_image

    grey = scan()
    colour = np.dstack([grey, grey // 2, grey // 3])
    files = [write_image(folder / f"grey{suffix}", grey) for suffix in (".png", ".jpg", ".tif", ".bmp")]
    files += [write_image(folder / f"colour{suffix}", colour) for suffix in (".png", ".jpg", ".tif", ".bmp")]
    files.append(write_image(folder / "deep.png", grey.astype(np.uint16) * 16))
    files.append(write_dicom(folder / "plain.dcm", grey, PatientAge="061Y", Modality="MG"))
    for name, syntax in {"rle": RLELossless, "jpeg2000": JPEG2000Lossless}.items():
        dataset = dcmread(files[-1])
        dataset.compress(syntax)
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
        files.insert(0, folder / f"{name}.dcm")
    return files


def table_files(folder: Path) -> list[Path]:
    """A sample table as CSV and XLSX, with what spreadsheets and people put into tables."""
    import pandas as pd

    lines = [
        {"sample_id": f"s{number}", "image_path": f"images/{number}.png", "label": ("benign", "cancer")[number % 2]}
        | {"patient_id": f"{number // 2:04}", "age": str(40 + number), "density": str(1 + number % 4)}
        for number in range(12)
    ]
    lines[3] |= {"sample_id": "=1+1", "age": "unknown"}
    lines[4] |= {"patient_id": 'a "quoted", name\nin two lines'}
    lines[5] |= {"patient_id": lines[4]["patient_id"]}
    table = pd.DataFrame(lines)
    table.to_csv(folder / "samples.csv", index=False)
    table.replace("=1+1", "+1+1").to_excel(folder / "samples.xlsx", index=False)  # pandas would write a formula
    return [folder / "samples.csv", folder / "samples.xlsx"]


def image_reader(folder: Path) -> Callable[[list[Path]], Iterator[Exception | None]]:
    """Header, both recipes for scans, and the prediction of a small model, in batches."""
    from served_model import write_model

    from mmdc_tf.serving.predictor import load_predictor

    predictors = [
        load_predictor(write_model(folder / recipe, "backbone_classifier", recipe, backbone="tiny"))
        for recipe in ("lesion-safe", "ultrasound")
    ]
    turn = [0]

    def read(files: list[Path]) -> Iterator[Exception | None]:
        found: dict[Path, Exception] = {}
        turn[0] += 1
        predictors[turn[0] % 2].predict(files, on_error=lambda path, error: found.update({path: error}))
        yield from (found.get(path) for path in files)

    return read


def table_reader(folder: Path) -> Callable[[list[Path]], Iterator[Exception | None]]:
    """As a dataset folder with images, and as the list of a prediction."""
    from served_model import scan, write_image

    from mmdc_tf.datasets.folder import load_folder
    from mmdc_tf.serving.listing import list_images

    for number in range(12):
        write_image(folder / "dataset" / "images" / f"{number}.png", scan(number))

    def read(files: list[Path]) -> Iterator[Exception | None]:
        for file in files:
            error = None
            with suppress(OSError):
                (folder / "dataset" / "samples.csv").unlink()
            if file.suffix == ".csv":
                (folder / "dataset" / "samples.csv").write_bytes(file.read_bytes())
                error = _error_of(lambda: load_folder(folder / "dataset"))
            yield error or _error_of(lambda file=file: list_images([], file, None, None))  # type: ignore[misc]

    return read


def _error_of(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None


def memory() -> float:
    """The largest so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def attack(kind: str, count: int, seed: int, folder: Path, batch: int = 32) -> dict:
    """Reads ``count`` damaged files; what is neither read nor refused with a clear error is kept."""
    from mmdc_tf.errors import InputError

    draw = random.Random(seed)
    for name in ("seeds", "work", "kept"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    originals = (image_files if kind == "images" else table_files)(folder / "seeds")
    read = (image_reader if kind == "images" else table_reader)(folder / "work")
    assert list(read(originals[:1])) == [None] or kind == "tables"
    found = {"read": 0, "refused": 0, "others": [], "slowest": 0.0}
    before = memory()
    for start in range(0, count, batch):
        files = []
        for number in range(start, min(count, start + batch)):
            original = draw.choice(originals)
            files.append(folder / "work" / f"{number % batch}{original.suffix}")
            files[-1].write_bytes(mutated(original.read_bytes(), draw))
        began = time.monotonic()
        for file, error in zip(files, read(files), strict=True):
            if error is None:
                found["read"] += 1
            elif isinstance(error, InputError) and "Received" in str(error):
                found["refused"] += 1
            else:
                kept = file.rename(folder / "kept" / f"{len(found['others'])}{file.suffix}")
                found["others"].append(f"{kept.name}: {type(error).__name__}: {error}"[:300])
        found["slowest"] = max(found["slowest"], (time.monotonic() - began) / len(files))
        for file in files:
            file.unlink(missing_ok=True)
    return {**found, "grew_mb": round(memory() - before)}


if __name__ == "__main__":
    import made_up_backbone

    import mmdc_tf  # noqa: F401

    kind, count, seed, folder = sys.argv[1:]
    with made_up_backbone.registered():
        print(json.dumps(attack(kind, int(count), int(seed), Path(folder))))
