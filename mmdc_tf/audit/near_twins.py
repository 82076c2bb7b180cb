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
    is_textured,
    join_near_twins,
    join_pairs,
    looks_of,
    pair_blocks,
    read_grey,
    require_bits,
)
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError

SWEEP_BITS = (0, 10, 20, 30, 40, 50, 60)
MOST_COMPARED = 2000

PAIR_COLUMNS = [
    *("sample_a", "sample_b", "distance", "ssim", "confirmed", "label_a", "label_b", "conflicting"),
    *("group_a", "group_b", "across_groups", "identical_bytes"),
]


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
        return int(self.clusters.duplicated(keep=False).sum())

    @property
    def images_in_confirmed_groups(self) -> int:
        """Images that have a confirmed near-twin."""
        return pd.unique(self.pairs.loc[self.pairs["confirmed"], ["sample_a", "sample_b"]].to_numpy().ravel()).size

    @property
    def large_clusters(self) -> list[list[str]]:
        """The sample ids of each cluster of several images, the largest first."""
        several = self.clusters[self.clusters.duplicated(keep=False)]
        members = [list(part.index) for _, part in several.groupby(several)]
        return sorted(members, key=lambda ids: (-len(ids), ids[0]))


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
        ConfigurationError: the dataset has no images, or ``max_bits`` is out of range.
        UnreadableImageError: an image cannot be decoded.
    """
    if not dataset.has_images:
        raise ConfigurationError(
            f"Expected a dataset with images. Received: {dataset.info.name} from its table alone. "
            "Give the folder with the images."
        )
    require_bits(max_bits)
    table, paths = dataset.table, list(dataset.table["image_path"])
    looks = looks_of(tqdm(paths, desc="hashes", disable=not show_progress))
    joined = join_near_twins(paths, looks.hashes, max_bits)
    shifted, unsearched = shifted_pairs(looks, joined, dataset.info.modality)
    count, near = _candidate_pairs(table, looks.hashes, joined, max_bits, most_compared)
    beyond = _compare_pairs(table, shifted, show_progress).query("confirmed")
    compared = pd.concat([_compare_pairs(table, near, show_progress), beyond]).sort_values(
        ["conflicting", "across_groups", "distance"], ascending=[False, False, True], kind="stable", ignore_index=True
    )
    clusters = join_pairs(joined, shifted.i[beyond.index], shifted.j[beyond.index])
    flat = int((~is_textured(looks.hashes)).sum())
    notes = {
        f"of {count:,} candidate pairs, {len(near.i):,} were compared at full size and are listed: conflicting "
        "labels first, then different groups, then small distances": count - len(near.i),
        f"flat images, near-twins only where every pixel is equal and not in the sweep: {flat:,}": flat,
        f"pairs that are alike once one image is shifted, whatever their hashes: {len(shifted.i):,}, of which "
        f"{len(beyond):,} were confirmed at full size and are listed": len(shifted.i),
    }
    return NearTwins(
        compared,
        table.set_index("sample_id", drop=False)["sample_id"].groupby(clusters).transform("first").rename("cluster"),
        threshold_sweep(looks.hashes, table["label"]),
        count + len(beyond),
        max_bits,
        (*(note for note, number in notes.items() if number), *unsearched),
    )


def _candidate_pairs(
    table: pd.DataFrame, hashes: np.ndarray, clusters: np.ndarray, max_bits: int, most: int
) -> tuple[int, Pairs]:
    """Counts the pairs within ``max_bits``; keeps ``most``, of two labels or groups first. Memory stays bounded."""
    labels, groups = (pd.factorize(table[name])[0] for name in ("label", "group_id"))
    count, kept = 0, Pairs(*np.empty((3, 0), np.int64))
    for block in _all_blocks(hashes, clusters, max_bits):
        count += len(block.i)
        pending = Pairs(*(np.concatenate(values) for values in zip(kept, block, strict=True)))
        ranks = [groups[pending.i] == groups[pending.j], labels[pending.i] == labels[pending.j]]
        order = np.lexsort((pending.j, pending.i, pending.distance, *ranks))[:most]
        kept = Pairs(*(values[order] for values in pending))
    return count, kept


def _compare_pairs(table: pd.DataFrame, pairs: Pairs, show_progress: bool = False) -> pd.DataFrame:
    """Compares pairs of images, places in the sample table, at full size; columns ``PAIR_COLUMNS``."""
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
    return pd.DataFrame(facts, columns=PAIR_COLUMNS)


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
    classes = pd.factorize(np.asarray(labels)[textured])[0]
    clusters = {limit: np.arange(len(classes)) for limit in bits}
    pairs, conflicting = dict.fromkeys(bits, 0), dict.fromkeys(bits, 0)
    for block in pair_blocks(hashes[textured], max(bits)):
        for limit in bits:
            i, j = (places[block.distance <= limit] for places in (block.i, block.j))
            pairs[limit] += len(i)
            conflicting[limit] += int((classes[i] != classes[j]).sum())
            if (clusters[limit][i] != clusters[limit][j]).any():
                clusters[limit] = join_pairs(clusters[limit], i, j)
    rows = []
    for limit in bits:
        sizes = np.concatenate([np.bincount(clusters[limit]), np.ones((~textured).sum(), np.int64)])
        rows.append(
            {
                "bits": limit,
                "pairs": pairs[limit],
                "images_in_groups": int(sizes[sizes > 1].sum()),
                "groups": int((sizes > 1).sum()),
                "clusters": len(sizes),
                "largest": int(sizes.max(initial=0)),
                "conflicting_pairs": conflicting[limit],
            }
        )
    return pd.DataFrame(rows)


def _all_blocks(hashes: np.ndarray, clusters: np.ndarray, max_bits: int) -> Iterator[Pairs]:
    # a flat image with the first of its cluster, which holds the flat images of the same pixels and no other
    first = np.unique(clusters, return_index=True)[1][clusters]
    repeated = np.flatnonzero(~is_textured(hashes) & (first != np.arange(len(first))))
    yield Pairs(first[repeated], repeated, np.zeros_like(repeated))
    textured = np.flatnonzero(is_textured(hashes))
    for block in pair_blocks(hashes[textured], max_bits):
        yield Pairs(textured[block.i], textured[block.j], block.distance)
