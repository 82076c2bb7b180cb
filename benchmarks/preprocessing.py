"""What a scan costs on one core, from its JPEG file to 224×224 pixels, and what a second worker brings.

    python benchmarks/preprocessing.py [--root FOLDER] [--scans N] [--size PIXELS] [--ray]

FOLDER holds JPEG scans (of Mini-DDSM, say), at any depth, lesion masks among them are left out; without it, phantom
scans are enlarged to 2304×1431 and saved as JPEG, and the table says "phantom".

- paper: the published recipe, by OpenCV.
- scikit-image: the same steps by scikit-image alone (imread, Otsu, label, largest region, equalize_adapthist, resize).
- lesion-safe, whole scan: the default recipe without the decoder's help.
- lesion-safe: the same as it is used, the scan decoded at the smallest size that is enough.

Times are seconds of one core (CPU time), the best of three rounds of each scan (scikit-image: one round), so that
other work on the machine counts little. SSIM is that of lesion-safe against its own result from the whole scan. The
last lines time ``preprocess_folder`` by the clock, in this process and in two, start of the processes included
(``--ray``: on all cores of a cluster too); they mean something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine_lines
from skimage import exposure, filters, io, measure, transform
from skimage.metrics import structural_similarity

from mmdc_tf.datasets.jobs import Executor
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.preprocessing import get_recipe, preprocess_file
from mmdc_tf.preprocessing.batch import preprocess_folder
from mmdc_tf.preprocessing.scan_folder import list_scans

ROUNDS, PHANTOM_ENLARGED, LEAST_SCANS = 3, 9, 1500
PAPER, LESION_SAFE = get_recipe("paper"), get_recipe("lesion-safe")
WHOLE = replace(LESION_SAFE, least_crop=None)


def with_skimage(path: Path, size: int) -> np.ndarray:
    """The paper's recipe by scikit-image: uint8 (size, size, 3)."""
    grey = io.imread(path, as_gray=True)
    grey = grey if grey.dtype == np.uint8 else np.round(255 * grey).astype(np.uint8)
    regions = measure.label(grey > filters.threshold_otsu(grey))
    largest = max(measure.regionprops(regions), key=lambda region: region.area)
    top, left, bottom, right = largest.bbox
    breast = np.where(largest.image_filled, grey[top:bottom, left:right], 0).astype(np.uint8)
    tiles = (max(1, breast.shape[0] // 8), max(1, breast.shape[1] // 8))
    contrast = exposure.equalize_adapthist(breast, kernel_size=tiles, clip_limit=0.01)
    small = transform.resize(contrast, (size, size), anti_aliasing=True)
    return np.repeat(np.round(255 * small).astype(np.uint8)[..., None], 3, axis=2)


CONTENDERS: dict[str, Callable[[Path, int], np.ndarray]] = {
    "paper": lambda path, size: preprocess_file(path, PAPER, size),
    "paper's steps by scikit-image": with_skimage,
    "lesion-safe, whole scan": lambda path, size: preprocess_file(path, WHOLE, size),
    "lesion-safe": lambda path, size: preprocess_file(path, LESION_SAFE, size),
}


def best_seconds(work: Callable[[Path, int], np.ndarray], path: Path, size: int, rounds: int) -> float:
    """CPU seconds of the fastest round."""
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        work(path, size)
        seconds.append(time.process_time() - started)
    return min(seconds)


def similarities(paths: list[Path], size: int) -> np.ndarray:
    """SSIM of each scan's result with the result from the whole scan."""
    works = (CONTENDERS["lesion-safe"], CONTENDERS["lesion-safe, whole scan"])
    pairs = [[work(path, size) for work in works] for path in paths]
    return np.array([structural_similarity(fast[..., 0], whole[..., 0], data_range=255) for fast, whole in pairs])


def enlarged_phantom(folder: Path) -> Path:
    """JPEG files of phantom scans in the resolution of film scans."""
    dataset = phantom_mammograms(folder / "phantom", patients=6, seed=0)
    (folder / "scans").mkdir()
    for index, path in enumerate(dataset.table["image_path"]):
        small = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        large = cv2.resize(small, None, fx=PHANTOM_ENLARGED, fy=PHANTOM_ENLARGED, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "scans" / f"{index}.jpg"), large)
    return folder / "scans"


def folder_seconds(paths: list[Path], size: int, workers: int | Executor) -> tuple[int, float]:
    """Number of scans and seconds by the clock of preprocessing them, repeated until there are enough."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "in"), Path(name, "out")
        source.mkdir()
        count = -(-LEAST_SCANS // len(paths)) * len(paths)
        for index in range(count):
            shutil.copy(paths[index % len(paths)], source / f"{index}.jpg")
        started = time.perf_counter()
        preprocess_folder(source, target, "lesion-safe", size, workers)
        return count, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder of JPEG scans; default: phantom scans")
    parser.add_argument("--scans", type=int, default=24, help="at most so many, spread over the folder; default: 24")
    parser.add_argument("--size", type=int, default=224, help="height and width of the results in pixels; default: 224")
    parser.add_argument("--ray", action="store_true", help="time the folder on a Ray cluster of this machine too")
    root, most = (options := parser.parse_args()).root, options.scans
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        source = (root or enlarged_phantom(Path(scratch))).resolve()
        scans = list_scans(source, left_out=source / "results of none").outputs
        paths = [source / name for name in scans if name.lower().endswith(".jpg")]
        paths = paths[:: max(1, len(paths) // most)][:most]
        report(paths, options.size, "real scans" if root else "phantom scans", options.ray)


def report(paths: list[Path], size: int, kind: str, with_ray: bool) -> None:
    """Prints the table."""
    height, width = np.median([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).shape for path in paths], axis=0)
    print(
        f"{len(paths)} {kind}, median {width:.0f}×{height:.0f} JPEG, to {size}×{size}, one core, "
        f"best of {ROUNDS} (scikit-image: 1)"
    )
    print(machine_lines(("opencv-python", "scikit-image")) + "\n")
    rounds = {"paper's steps by scikit-image": 1}
    seconds = {
        name: float(np.mean([best_seconds(work, path, size, rounds.get(name, ROUNDS)) for path in paths]))
        for name, work in CONTENDERS.items()
    }
    print(f"{'':30} {'ms a scan':>10} {'scans/s':>8} {'× paper':>8}")
    for name, mean in seconds.items():
        print(f"{name:30} {1000 * mean:10.1f} {1 / mean:8.1f} {seconds['paper'] / mean:8.2f}")
    ssim = similarities(paths, size)
    print(
        f"\nSSIM of lesion-safe with its result from the whole scan: mean {ssim.mean():.4f}, lowest {ssim.min():.4f}, "
        f"at least 0.98 in {np.count_nonzero(ssim >= 0.98)} of {len(ssim)}"
    )
    for workers in (1, 2, *([Executor(ray=True)] if with_ray else [])):
        count, spent = folder_seconds(paths, size, workers)
        where = "Ray" if isinstance(workers, Executor) else f"{workers} worker(s)"
        print(f"preprocess_folder, {count} files, {where}: {spent:.1f} s, {count / spent:.0f} scans/s", flush=True)


if __name__ == "__main__":
    main()
