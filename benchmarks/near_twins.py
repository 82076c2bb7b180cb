"""How long the search for near-twins takes among 5,000 to 100,000 hashes of 256 bits, within 40 bits, and its memory.

    python benchmarks/near_twins.py

The hashes are random, 1 % of them copies of others with up to 40 bits flipped. Compared with:

- scikit-learn: ``radius_neighbors_graph`` with the Hamming metric; its pairs must be the same, or the script stops;
- BLAS: the same search by products of matrices of -1 and 1 in float32, whose pairs must be the same too.

The worst cases are joined by ``join_pairs``, as clusters are: equal hashes, and hashes that are all within 40 bits.
Each measurement runs in a process of its own. Prints the wall-clock time and the processor time of all its threads
(which other work on the machine disturbs less), the pairs, the largest memory of the process (with Python and
the libraries, which the first line gives alone) and the processor time as a multiple of ours at the same size.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import scipy
import sklearn
from sklearn.neighbors import radius_neighbors_graph

from mmdc_tf.datasets.integrity import join_pairs, pair_blocks

BITS, LIMIT, TWIN_SHARE = 256, 40, 0.01
SIZES = (5_000, 10_000, 20_000, 40_000, 100_000)
SKLEARN_SIZES, BLAS_SIZES, WORST = (5_000, 10_000), (10_000, 20_000), 20_000
BLAS_TILE = 2048

Found = tuple[np.ndarray, np.ndarray]


def random_hashes(count: int) -> np.ndarray:
    """bool (count, 256), the last 1 % near-twins of the first 1 %."""
    rng = np.random.default_rng(count)
    hashes = rng.integers(0, 2, (count, BITS)).astype(bool)
    twins = int(TWIN_SHARE * count)
    hashes[count - twins :] = _flipped(hashes[:twins], rng, LIMIT)
    return hashes


def equal_hashes(count: int) -> np.ndarray:
    """bool (count, 256), one hash again and again."""
    return np.repeat(random_hashes(1), count, axis=0)


def ball_of_hashes(count: int) -> np.ndarray:
    """bool (count, 256), all within 20 bits of one hash, so that every pair is within 40."""
    return _flipped(equal_hashes(count), np.random.default_rng(1), LIMIT // 2)


def _flipped(hashes: np.ndarray, rng: np.random.Generator, most: int) -> np.ndarray:
    """Flips 0 to ``most`` bits of each hash."""
    ranks = rng.random(hashes.shape).argsort(axis=1)
    return hashes ^ (ranks < rng.integers(0, most + 1, (len(hashes), 1)))


def ours(hashes: np.ndarray) -> Found:
    """The package's own list of pairs."""
    i, j, _ = (np.concatenate(places) for places in zip(*pair_blocks(hashes, LIMIT), strict=True))
    return _sorted(i, j)


def ours_joined(hashes: np.ndarray) -> Found:
    """Each hash with its cluster, as the package joins them."""
    clusters = np.arange(len(hashes))
    for block in pair_blocks(hashes, LIMIT):
        clusters = join_pairs(clusters, block.i, block.j)
    return np.arange(len(hashes)), clusters


def with_sklearn(hashes: np.ndarray) -> Found:
    """The neighbours that scikit-learn finds; half a bit more, since it compares fractions."""
    graph = radius_neighbors_graph(hashes, (LIMIT + 0.5) / BITS, metric="hamming").tocoo()
    return _sorted(graph.row[graph.row < graph.col], graph.col[graph.row < graph.col])


def with_blas(hashes: np.ndarray) -> Found:
    """Products of rows of -1 and 1 are 256 less twice the number of differing bits."""
    signs = np.where(hashes, np.float32(1), np.float32(-1))
    found: list[Found] = []
    for top in range(0, len(signs), BLAS_TILE):
        for left in range(top, len(signs), BLAS_TILE):
            product = signs[top : top + BLAS_TILE] @ signs[left : left + BLAS_TILE].T
            i, j = np.divmod(np.flatnonzero(product >= BITS - 2 * LIMIT), product.shape[1])
            once = top + i < left + j
            found.append((top + i[once], left + j[once]))
    i, j = (np.concatenate(places) for places in zip(*found, strict=True))
    return _sorted(i, j)


def _sorted(i: np.ndarray, j: np.ndarray) -> Found:
    order = np.lexsort((j, i))
    return i[order], j[order]


def nothing(hashes: np.ndarray) -> Found:
    """No search: the process itself."""
    return hashes[:0], hashes[:0]


def measure(search: Callable[[np.ndarray], Found], make: Callable[[int], np.ndarray], count: int) -> tuple:
    """Seconds, seconds of processor time, pairs, and the process's largest memory in MB."""
    hashes = make(count)
    start, busy = time.perf_counter(), time.process_time()
    i, j = search(hashes)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    unit = 2**20 if platform.system() == "Darwin" else 2**10  # bytes there, KiB elsewhere
    return seconds, busy, (i, j), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def alone(search: Callable[[np.ndarray], Found], make: Callable[[int], np.ndarray], count: int) -> tuple:
    """``measure`` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, search, make, count).result()


def describe() -> str:
    """What was measured and where."""
    versions = {"Python": platform.python_version(), "numpy": np.__version__}
    versions |= {"scipy": scipy.__version__, "scikit-learn": sklearn.__version__}
    return (
        f"{BITS} bits, pairs within {LIMIT}; {platform.machine()}, {os.cpu_count()} CPUs, "
        f"load {os.getloadavg()[0]:.1f}\n" + ", ".join(f"{name} {version}" for name, version in versions.items())
    )


def main() -> None:
    """Measures and prints the table."""
    columns = f"{'hashes':>7} {'seconds':>8} {'CPU s':>7} {'pairs':>7} {'peak MB':>8} {'ratio':>6}"
    print(f"{describe()}\n\n{'':35} {columns}", flush=True)
    _print("no search", 1, alone(nothing, random_hashes, 1), None)
    own = {}
    for count in SIZES:
        own[count] = alone(ours, random_hashes, count)
        _print("mmdc_tf pair_blocks", count, own[count], own[count])
    for name, search, sizes in (
        ("BLAS, float32 products", with_blas, BLAS_SIZES),
        ("scikit-learn radius_neighbors_graph", with_sklearn, SKLEARN_SIZES),
    ):
        for count in sizes:
            other = alone(search, random_hashes, count)
            if not all(map(np.array_equal, other[2], own[count][2])):
                raise SystemExit(f"{name} finds other pairs: the times would not be of the same thing.")
            _print(name, count, other, own[count])
    for name, make in (("join_pairs, all equal", equal_hashes), ("join_pairs, all near", ball_of_hashes)):
        _print(name, WORST, alone(ours_joined, make, WORST), None)


def _print(name: str, count: int, measured: tuple, own: tuple | None) -> None:
    seconds, busy, (i, _), memory = measured
    ratio = "" if own is None else f"{busy / own[1]:.1f}"
    print(f"{name:35} {count:7,} {seconds:8.2f} {busy:7.2f} {len(i):7,} {memory:8,.0f} {ratio:>6}", flush=True)


if __name__ == "__main__":
    main()
