"""What the store of frozen features does where its limit or the disk is too small."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from made_up_features import (
    ALL,
    VIEW_BYTES,
    Computer,
    assert_right,
    fill_elsewhere,
    filled,
    open_views,
)

from mmdc_tf.training.feature_folder import list_entries
from mmdc_tf.training.feature_store import FeatureCacheUnavailable, fill

DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "features"


def last_used(folder: Path, days_ago: int, **changes) -> None:
    """Sets when the entries with these facts were used."""
    for info in list_entries(folder):
        if changes.items() <= info.layout.facts.items():
            when = (info.path / "facts.json").stat().st_mtime - 86400 * days_ago
            os.utime(info.path / "facts.json", (when, when))


def backbones(folder: Path) -> list[str]:
    return [info.layout.facts["backbone"] for info in list_entries(folder)]


def test_the_limit_deletes_what_was_not_used_for_the_longest_time(folder):
    for backbone, days in (("vgg16", 3), ("densenet201", 1), ("efficientnetb0", 2)):
        filled(folder, backbone=backbone)
        last_used(folder, days, backbone=backbone)
    filled(folder, backbone="vgg16")  # a use: now it is the newest
    entries = open_views(folder, limit=5 * VIEW_BYTES)
    fill(entries, Computer())
    assert sorted(backbones(folder)) == ["densenet121"] * 2 + ["densenet201"] + ["vgg16"] * 2
    assert_right(entries)


def test_a_limit_below_the_need_deletes_nothing(folder):
    filled(folder, backbone="vgg16")
    with pytest.raises(FeatureCacheUnavailable, match=r"takes 400 B, but --cache-limit is 399 B\."):
        open_views(folder, limit=2 * VIEW_BYTES - 1)
    assert backbones(folder) == ["vgg16"] * 2


@pytest.mark.parametrize("held", ["entries", "arrays"])
def test_the_limit_spares_what_is_in_use(folder, held):
    entries = filled(folder, backbone="vgg16")
    kept = entries if held == "entries" else [entry.arrays() for entry in entries]
    del entries
    with pytest.raises(
        FeatureCacheUnavailable, match="takes 400 B, but --cache-limit is 600 B, of which other runs use 400 B"
    ):
        open_views(folder, limit=3 * VIEW_BYTES)
    assert backbones(folder) == ["vgg16"] * 2
    del kept
    open_views(folder, limit=3 * VIEW_BYTES)
    assert sorted(backbones(folder)) == ["densenet121"] * 2 + ["vgg16"]


def test_what_is_in_use_stays_where_newer_features_go(folder):
    kept = filled(folder, backbone="vgg16")
    last_used(folder, 5, backbone="vgg16")
    filled(folder, backbone="efficientnetb0")
    open_views(folder, limit=4 * VIEW_BYTES)
    assert sorted(backbones(folder)) == ["densenet121"] * 2 + ["vgg16"] * 2
    assert_right(kept)


def test_what_the_limit_deletes_is_room_on_the_disk(folder, monkeypatch):
    filled(folder, backbone="vgg16")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**12, 10**12 - 10**9, 10**9))
    open_views(folder, limit=2 * VIEW_BYTES)
    assert backbones(folder) == ["densenet121"] * 2


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (-1, False)])
def test_a_disk_that_is_too_small_is_told_before_anything_is_computed(folder, monkeypatch, spare, fits):
    missing = 2 * (6 + 4) * 2 * 2  # the last part, of two images in two views
    fill_elsewhere(folder)
    for info in list_entries(folder):
        os.truncate(info.path / "parts.bin", 2 * 16)
    free = 10**9 + missing + spare  # a gigabyte stays free
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**12, 10**12 - free, free))
    if fits:
        assert fill(open_views(folder), Computer()) == 1
    else:
        with pytest.raises(FeatureCacheUnavailable, match=r"takes 80 B, but 79 B are free .* besides the 1\.00 GB"):
            open_views(folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_fills_up_is_told(folder):
    entries = open_views(folder)
    file = entries[1].folder / "output0.bin"
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(FeatureCacheUnavailable, match="No space left on device"):
        fill(entries, Computer())
    file.unlink()
    computer = Computer()
    entries = open_views(folder)
    fill(entries, computer)
    assert computer.calls == [(0, 4, (1,)), *ALL[1:]]
    assert_right(entries)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FeatureCacheUnavailable, match="cannot be used"):
        open_views(tmp_path / "file" / "features")
