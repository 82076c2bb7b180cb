"""Near-twins of a dataset: candidates by perceptual hash and correlation, confirmed at full size, and their labels.

The hash is blind to fine detail and quick; what it misses for a shift is found by correlation (``datasets.copies``).
A confirmed pair is one that stays alike when one image is laid over the other (``aligned_similarity``).
"""

from __future__ import annotations

import filecmp
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmdc_tf.datasets.copies import CONFIRMED_SSIM, aligned_similarity, shifted_pairs
from mmdc_tf.datasets.integrity import (
    NEAR_TWIN_BITS,
    Pairs,
    connected_clusters,
    is_textured,
    join_near_twins,
    join_pairs,
    looks_of,
    pair_blocks,
    read_grey,
    require_bits,
    unique_hashes,
)
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError

SWEEP_BITS = (0, 10, 20, 30, 40, 50, 60)
MOST_COMPARED = 2000

PAIR_COLUMNS = (
    "sample_a",
    "sample_b",
    "distance",
    "ssim",
    "confirmed",
    "label_a",
    "label_b",
    "conflicting",
    "group_a",
    "group_b",
    "across_groups",
    "identical_bytes",
)


@dataclass(frozen=True)
class NearTwins:
    """What was found.

    Args:
        pairs: the pairs within ``max_bits`` that were compared and the confirmed ones beyond, columns ``PAIR_COLUMNS``:
            conflicting ones first, then those across groups, then by distance (bits of 256); ``ssim`` in [-1, 1].
        clusters: the cluster of each image, named after its first image, indexed by ``sample_id``: all pairs within
            ``max_bits``, and the confirmed ones beyond, as the groups of a dataset without patients are made.
        sweep: ``threshold_sweep``, by the hash alone.
        candidates: the number of pairs within ``max_bits``, compared or not, and of those confirmed beyond.
        max_bits: the limit of the hash.
        notes: one clear line each on what was not compared.
    """

    pairs: pd.DataFrame
    clusters: pd.Series
    sweep: pd.DataFrame
    candidates: int
    max_bits: int
    notes: tuple[str, ...]

    @property
    def images_in_groups(self) -> int:
        """Images that share their cluster with another."""
        return _sharing(self.clusters)

    @property
    def images_in_confirmed_groups(self) -> int:
        """Images that share their confirmed cluster with another."""
        return _sharing(self.confirmed_clusters)

    @property
    def confirmed_clusters(self) -> pd.Series:
        """As ``clusters``, joined by the confirmed pairs alone."""
        confirmed, ids = self.pairs[self.pairs["confirmed"]], pd.Index(self.clusters.index)
        i, j = (ids.get_indexer(confirmed[name]) for name in ("sample_a", "sample_b"))
        return _named_after_first(connected_clusters(i, j, len(ids)), ids)


def find_near_twins(
    dataset: Dataset, max_bits: int = NEAR_TWIN_BITS, most_compared: int = MOST_COMPARED, show_progress: bool = False
) -> NearTwins:
    """Finds and confirms the near-twins of a dataset.

    Args:
        dataset: with images on disk.
        max_bits: the largest hash distance of a candidate, of 256; a wider limit has more pairs to compare.
        most_compared: at most so many pairs are compared at full size and listed; a note says how many were not.
        show_progress: a progress bar on stderr.

    Raises:
        ConfigurationError: the dataset has no images, or a limit is out of range.
        UnreadableImageError: an image cannot be decoded.
    """
    _require_images(dataset)
    require_bits(max_bits)
    table, paths = dataset.table, list(dataset.table["image_path"])
    looks = looks_of(tqdm(paths, desc="hashes", disable=not show_progress))
    joined = join_near_twins(paths, looks.hashes, max_bits)
    shifted, unsearched = shifted_pairs(looks, joined, dataset.info.modality)
    count, near = candidate_pairs(table, looks.hashes, joined, max_bits, most_compared)
    beyond = compare_pairs(table, shifted, show_progress).query("confirmed")
    compared = pd.concat([compare_pairs(table, near, show_progress), beyond]).sort_values(
        ["conflicting", "across_groups", "distance"], ascending=[False, False, True], kind="stable", ignore_index=True
    )
    clusters = join_pairs(joined, shifted.i[beyond.index], shifted.j[beyond.index])
    named = _named_after_first(clusters, pd.Index(table["sample_id"]))
    notes = (*_notes(looks.hashes, count, len(near.i), len(shifted.i), len(beyond)), *unsearched)
    count += len(beyond)
    return NearTwins(compared, named, threshold_sweep(looks.hashes, table["label"]), count, max_bits, notes)


def candidate_pairs(
    table: pd.DataFrame, hashes: np.ndarray, clusters: np.ndarray, max_bits: int, most: int
) -> tuple[int, Pairs]:
    """Counts the pairs of images within ``max_bits`` and keeps the ``most`` that matter most.

    Conflicting labels come first, then different groups, then small distances. Each flat image is paired with the first
    of equal pixels alone.

    Args:
        table: the sample table, n rows.
        hashes: bool, (n, 256).
        clusters: int64, (n,), of ``join_near_twins``, which has read the flat images.
        max_bits: the largest distance.
        most: how many to keep, at least 1; memory stays bounded however many there are.

    Returns:
        The number of pairs, and those kept, places in the table in the order above.

    Raises:
        ConfigurationError: ``most`` is below 1.
    """
    if most < 1:
        raise ConfigurationError(
            f"Expected at least 1 pair to compare. Received: most_compared={most}. {MOST_COMPARED} is the default."
        )
    labels, groups = (pd.factorize(table[name])[0] for name in ("label", "group_id"))
    count, kept = 0, Pairs(*np.empty((3, 0), np.int64))
    for block in _all_blocks(hashes, clusters, max_bits):
        count += len(block.i)
        pending = Pairs(*(np.concatenate(values) for values in zip(kept, block, strict=True)))
        ranks = [groups[pending.i] == groups[pending.j], labels[pending.i] == labels[pending.j]]
        order = np.lexsort((pending.j, pending.i, pending.distance, *ranks))[:most]
        kept = Pairs(*(values[order] for values in pending))
    return count, kept


def compare_pairs(table: pd.DataFrame, pairs: Pairs, show_progress: bool = False) -> pd.DataFrame:
    """Compares pairs of images at full size.

    Args:
        table: the sample table.
        pairs: places in it.
        show_progress: a progress bar on stderr.

    Returns:
        One row a pair, in the same order, columns ``PAIR_COLUMNS``; ``confirmed`` from ``CONFIRMED_SSIM`` on.

    Raises:
        UnreadableImageError: an image cannot be decoded.
    """
    read = functools.lru_cache(maxsize=64)(read_grey)
    one, other = (table.iloc[places].reset_index(drop=True) for places in (pairs.i, pairs.j))
    paths = list(zip(one["image_path"], other["image_path"], strict=True))
    progress = tqdm(paths, desc="near-twins at full size", disable=not show_progress)
    ssim = np.array([aligned_similarity(read(a), read(b)) for a, b in progress], dtype=float)
    facts: dict[str, object] = {
        "distance": pairs.distance,
        "ssim": ssim,
        "confirmed": ssim >= CONFIRMED_SSIM,
        "conflicting": one["label"] != other["label"],
        "across_groups": one["group_id"] != other["group_id"],
        "identical_bytes": np.array([filecmp.cmp(a, b, shallow=False) for a, b in paths], dtype=bool),
    }
    for name, column in (("sample", "sample_id"), ("label", "label"), ("group", "group_id")):
        facts |= {f"{name}_a": one[column], f"{name}_b": other[column]}
    return pd.DataFrame(facts, columns=list(PAIR_COLUMNS))


def threshold_sweep(
    hashes: np.ndarray, labels: Sequence[str] | pd.Series, bits: Sequence[int] = SWEEP_BITS
) -> pd.DataFrame:
    """What each limit of the hash would call near-twins, by one search of the pairs.

    Args:
        hashes: bool, (n, 256). Flat images are alone here.
        labels: n class names.
        bits: the limits, each between 0 and 255.

    Returns:
        One row a limit: ``bits``; ``pairs`` within it; ``images_in_groups``, that have a near-twin; ``groups`` of two
        images or more; ``clusters``, groups and single images; ``largest``, the images of the largest; and
        ``conflicting_pairs``, of two labels.
    """
    textured = is_textured(hashes)
    first, inverse = unique_hashes(hashes[textured])
    copies = pd.crosstab(inverse, np.asarray(labels)[textured]).to_numpy()
    counts = np.zeros((2, max(bits) + 1))
    counts[:, 0] = _pairs_of_copies(copies)
    blocks = _counted(pair_blocks(hashes[textured][first], max(bits)), copies, counts)
    clusters = {limit: np.arange(len(first)) for limit in bits}
    for block in blocks:
        for limit in bits:
            near = block.distance <= limit
            clusters[limit] = join_pairs(clusters[limit], block.i[near], block.j[near])
    alone = int((~textured).sum())
    rows = [
        {"bits": limit, **_cluster_sizes(clusters[limit], copies.sum(axis=1), alone), **_total(counts, limit)}
        for limit in bits
    ]
    columns = ["bits", "pairs", "images_in_groups", "groups", "clusters", "largest", "conflicting_pairs"]
    return pd.DataFrame(rows, columns=columns)


def _sharing(clusters: pd.Series) -> int:
    return int(clusters.duplicated(keep=False).sum())


def _all_blocks(hashes: np.ndarray, clusters: np.ndarray, max_bits: int) -> Iterator[Pairs]:
    yield _equal_flat_images(hashes, clusters)
    textured = np.flatnonzero(is_textured(hashes))
    for block in pair_blocks(hashes[textured], max_bits):
        yield Pairs(textured[block.i], textured[block.j], block.distance)


def _equal_flat_images(hashes: np.ndarray, clusters: np.ndarray) -> Pairs:
    """Each flat image with the first of its cluster, which holds the flat images of the same pixels and no other."""
    first = np.unique(clusters, return_index=True)[1][clusters]
    repeated = np.flatnonzero(~is_textured(hashes) & (first != np.arange(len(first))))
    return Pairs(first[repeated], repeated, np.zeros_like(repeated))


def _pairs_of_copies(copies: np.ndarray) -> tuple[float, float]:
    """All pairs and pairs of two labels among equal hashes; ``copies`` counts images, (hashes, labels)."""
    of_any, of_same = (float((number * (number - 1) // 2).sum()) for number in (copies.sum(axis=1), copies))
    return of_any, of_any - of_same


def _counted(blocks: Iterator[Pairs], copies: np.ndarray, counts: np.ndarray) -> Iterator[Pairs]:
    """Passes blocks on and adds their pairs of images, and those of two labels, to ``counts`` by distance."""
    for block in blocks:
        one, other = copies[block.i], copies[block.j]
        of_any = one.sum(axis=1) * other.sum(axis=1)
        for row, weights in zip(counts, (of_any, of_any - (one * other).sum(axis=1)), strict=True):
            row += np.bincount(block.distance, weights, minlength=len(row))
        yield block


def _cluster_sizes(clusters: np.ndarray, copies: np.ndarray, alone: int) -> dict[str, int]:
    sizes = np.concatenate([np.bincount(clusters, copies), np.ones(alone)]).astype(np.int64)
    groups = sizes[sizes > 1]
    largest = int(sizes.max(initial=0))
    return {
        "images_in_groups": int(groups.sum()),
        "groups": len(groups),
        "clusters": len(sizes),
        "largest": largest,
    }


def _total(counts: np.ndarray, limit: int) -> dict[str, int]:
    pairs, conflicting = counts[:, : limit + 1].sum(axis=1)
    return {"pairs": int(pairs), "conflicting_pairs": int(conflicting)}


def _named_after_first(clusters: np.ndarray, sample_ids: pd.Index) -> pd.Series:
    ids = pd.Series(sample_ids, index=sample_ids, name="cluster")
    return ids.groupby(clusters).transform("first")


def _require_images(dataset: Dataset) -> None:
    if not dataset.has_images:
        raise ConfigurationError(
            f"Expected a dataset with images. Received: {dataset.info.name} from its table alone. "
            "Give the folder with the images."
        )


def _notes(hashes: np.ndarray, candidates: int, compared: int, shifted: int, confirmed: int) -> tuple[str, ...]:
    flat = int((~is_textured(hashes)).sum())
    notes = {
        f"of {candidates:,} candidate pairs, {compared:,} were compared at full size and are listed: conflicting "
        "labels first, then different groups, then small distances": candidates - compared,
        f"flat images, near-twins only where every pixel is equal and not in the sweep: {flat:,}": flat,
        f"pairs that are alike once one image is shifted, whatever their hashes: {shifted:,}, of which {confirmed:,} "
        "were confirmed at full size and are listed": shifted,
    }
    return tuple(note for note, number in notes.items() if number)
