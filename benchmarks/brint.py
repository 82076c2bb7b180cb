"""How long BRINT takes: a 224×224 image at nine scales, against two alternatives in the same run.

    python benchmarks/brint.py

- scipy: the same descriptor, every sample taken by ``scipy.ndimage.map_coordinates`` (order 1) at all centres at once;
  its histogram must be the same, or the script stops.
- scikit-image: ``local_binary_pattern(method="uniform")`` over the same radii and numbers of samples, with its
  histograms. It is a smaller descriptor, of signs only: BRINT computes signs and magnitudes.

Prints the best and the median of several rounds, in which the three take turns, and each best as a multiple of ours.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy
import skimage
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.feature import local_binary_pattern

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing.brint import CODES, ROTATION_MINIMUM, TIE_TOLERANCE, brint_histogram

SIDE, RADII, ROUNDS = 224, range(1, 10), 7


def ours(image: np.ndarray) -> np.ndarray:
    """The package's own."""
    return brint_histogram(image, RADII)


def with_scipy(image: np.ndarray) -> np.ndarray:
    """The same histogram from the definition, by scipy's interpolation."""
    scaled = (image - image.min()) / np.ptp(image)
    return np.concatenate([_scipy_scale(scaled, radius, 1 if radius == 1 else 3) for radius in RADII])


def _scipy_scale(scaled: np.ndarray, radius: int, q: int) -> np.ndarray:
    rows, columns = np.mgrid[radius : SIDE - radius, radius : SIDE - radius]
    angles = 2 * np.pi * np.arange(8 * q) / (8 * q)
    ring = np.round([-radius * np.sin(angles), radius * np.cos(angles)], 12).T
    samples = np.stack([map_coordinates(scaled, [rows + y, columns + x], order=1) for y, x in ring])
    centres = scaled[radius:-radius, radius:-radius]
    signs, sizes = (values.reshape(8, q, *centres.shape).mean(axis=1) for values in (samples, abs(samples - centres)))
    bright = centres >= centres.mean() - TIE_TOLERANCE
    parts = []
    for arcs, threshold in ((signs, centres), (sizes, sizes.mean(axis=0))):
        bits = np.packbits(arcs >= threshold - TIE_TOLERANCE, axis=0, bitorder="little")[0]
        joint = 36 * bright + np.searchsorted(CODES, ROTATION_MINIMUM[bits])
        parts.append(np.bincount(joint.ravel(), minlength=72) / centres.size)
    return np.concatenate(parts)


def with_skimage(image: np.ndarray) -> np.ndarray:
    """Uniform local binary patterns at the same radii and numbers of samples."""
    scales = []
    for radius in RADII:
        samples = 8 if radius == 1 else 24
        codes = local_binary_pattern(image, samples, radius, "uniform")[radius:-radius, radius:-radius]
        scales.append(np.bincount(codes.astype(int).ravel(), minlength=samples + 2) / codes.size)
    return np.concatenate(scales)


CONTENDERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mmdc_tf brint_histogram": ours,
    "scipy map_coordinates, same histogram": with_scipy,
    "scikit-image LBP uniform, signs only": with_skimage,
}


def texture() -> np.ndarray:
    """uint8 (224, 224), smooth noise over the whole range."""
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(SIDE, SIDE)), 2)
    return np.interp(smooth, (smooth.min(), smooth.max()), (0, 255)).astype(np.uint8)


def seconds(contender: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    contender(image)
    return time.perf_counter() - start


def describe() -> str:
    """What was measured and where."""
    versions = {"Python": platform.python_version(), "numpy": np.__version__, "OpenCV": cv2.__version__}
    versions |= {"scipy": scipy.__version__, "scikit-image": skimage.__version__}
    return (
        f"{SIDE}×{SIDE} uint8, radii {RADII.start} to {RADII.stop - 1}, {ROUNDS} rounds; "
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n"
        + ", ".join(f"{name} {version}" for name, version in versions.items())
    )


def main() -> None:
    """Measures and prints the table."""
    image = texture()
    if not np.allclose(ours(image), with_scipy(image), atol=1e-12):
        raise SystemExit("The two BRINT histograms differ: the times would not be of the same thing.")
    rounds = [{name: seconds(contender, image) for name, contender in CONTENDERS.items()} for _ in range(ROUNDS)]
    best = {name: min(times[name] for times in rounds) for name in CONTENDERS}
    print(f"{describe()}\n\n{'':38} {'best s':>8} {'median s':>9} {'ratio':>6}")
    for name, shortest in best.items():
        median = statistics.median(times[name] for times in rounds)
        print(f"{name:38} {shortest:8.3f} {median:9.3f} {shortest / best['mmdc_tf brint_histogram']:6.1f}")


if __name__ == "__main__":
    main()
