"""The store of frozen features: what is computed once and read back, by several processes, some of them killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from made_up_features import (
    ALL,
    COUNT,
    SHAPES,
    VIEW_BYTES,
    Computer,
    assert_right,
    entries,
    features,
    filled,
    filling,
    logged,
    wait_for,
)

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.training.feature_store import (
    CacheSettings,
    Entry,
    FeatureCacheUnavailable,
    clear,
    default_folder,
    list_entries,
    open_filled,
)

DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "features"


def calls_that_fill(folder: Path, **changes: object) -> list[tuple[int, int]]:
    """The computations that are left to do; what is there afterwards is right."""
    computer = Computer()
    assert_right(open_filled(CacheSettings(folder), entries(folder, **changes), computer))
    return computer.calls


# --- one process ---


def test_what_was_computed_is_stored_once_and_read_back(folder):
    assert calls_that_fill(folder) == ALL
    assert calls_that_fill(folder) == []
    for array, shape in zip(filled(folder)[0], SHAPES, strict=True):
        assert (array.shape, array.dtype, array.flags.writeable) == ((COUNT, *shape), np.float16, False)
        assert isinstance(array, np.memmap)


def test_a_view_that_is_stored_already_is_not_computed_again(folder):
    open_filled(CacheSettings(folder), entries(folder)[:1], Computer())
    assert calls_that_fill(folder) == ALL[1:]


@pytest.mark.parametrize("changes", [{"fingerprint": "ff"}, {"cut": "pool3_pool"}, {"added": [1, {"a": None}]}])
def test_other_facts_make_other_entries(folder, changes):
    filled(folder)
    assert calls_that_fill(folder, **changes) == ALL
    assert len(list_entries(folder)) == 4


def number(folder: Path, dtype: str, value: float) -> float:
    """One number, stored and read."""
    entry = Entry(folder, {}, 1, ((),), dtype)
    return float(open_filled(CacheSettings(folder), [entry], lambda *_: [[np.full(1, value)]])[0][0][0])


def test_numbers_are_rounded_to_the_dtype(folder):
    # 0.1 with 10 and 23 bits after the leading one: 1638 and 13421773 in units of 2⁻¹⁴ and 2⁻²⁷
    assert number(folder, "float16", -0.1) == -1638 / 2**14
    assert number(folder, "float32", 0.1) == 13421773 / 2**27


@pytest.mark.parametrize(
    ("value", "message"),
    [(-123456.0, "Received: 123456. .* --cache-dir none"), (np.nan, "Received: nan"), (np.inf, "Received: inf")],
)
def test_what_float16_does_not_hold_is_refused(folder, value, message):
    with pytest.raises(ConfigurationError, match=message):
        number(folder, "float16", value)
    assert list_entries(folder)[0].images_done == 0
    assert number(folder, "float16", 0.5) == 0.5


def test_an_error_while_computing_keeps_what_is_done(folder):
    def failing(view: int, start: int):
        yield features(view, start, start + 8)
        raise ValueError("an image has gone")

    with pytest.raises(ValueError, match="an image has gone"):
        open_filled(CacheSettings(folder), entries(folder), failing)
    assert calls_that_fill(folder) == [(0, 8), (1, 0)]


# --- damage ---


@pytest.mark.parametrize(
    ("name", "length", "redone"),
    [
        ("output0.npy", -24, [(0, 16), (1, 16)]),  # two of twenty images are gone: the batch from image 16 is redone
        ("output0.npy", 20, ALL),  # within the header
        ("output1.npy", None, ALL),
        ("facts.json", 20, []),
    ],
)
def test_truncated_and_absent_files_are_made_good(folder, name, length, redone):
    filled(folder)
    for entry in list_entries(folder):
        file = entry.path / name
        if length is None:
            file.unlink()
        else:
            os.truncate(file, length if length > 0 else file.stat().st_size + length)
    assert calls_that_fill(folder) == redone
    assert len(list_entries(folder)) == 2


def test_facts_of_another_folder_are_no_entry(folder):
    filled(folder)
    plain, mirrored = (entry.path / "facts.json" for entry in list_entries(folder))
    plain.write_text(mirrored.read_text())
    assert len(list_entries(folder)) == 1


# --- several processes ---


def test_two_processes_share_the_work(folder, tmp_path):
    """Each waits inside its first view until the other computes too, and both want view 0 first."""
    logs = [tmp_path / "log0", tmp_path / "log1"]
    pair = [filling(folder, log, f"wait_for={other}") for log, other in zip(logs, logs[::-1], strict=True)]
    assert [process.wait(timeout=60) for process in pair] == [0, 0]
    assert sorted([*logged(logs[0]), *logged(logs[1])]) == ALL
    assert calls_that_fill(folder) == []


@pytest.mark.parametrize("dies", [False, True])
def test_a_view_that_another_process_computes_is_waited_for(folder, tmp_path, dies):
    """If that process dies meanwhile, the one that waits computes it."""
    process = filling(folder, tmp_path / "log", f"wait_for={tmp_path / 'go'}")
    wait_for(tmp_path / "log")
    computer = Computer()

    def last(view: int, start: int):
        yield from computer(view, start)
        process.kill() if dies else (tmp_path / "go").touch()

    assert_right(open_filled(CacheSettings(folder), entries(folder), last))
    assert computer.calls == (ALL[::-1] if dies else ALL[1:])
    process.wait(timeout=60)


def test_a_killed_process_is_continued(folder, tmp_path):
    assert filling(folder, tmp_path / "log", "die_at=(1, 8)").wait(timeout=60) == -signal.SIGKILL
    ((view, start),) = calls_that_fill(folder)
    assert view == 1
    assert start in (0, 8)  # what the system had not been given yet is lost


# --- room ---


def last_used(folder: Path, days_ago: int, **changes: object) -> None:
    """Sets when the entries with these facts were used."""
    for entry in list_entries(folder):
        if changes.items() <= entry.facts.items():
            when = entry.used.timestamp() - 86400 * days_ago
            os.utime(entry.path / "facts.json", (when, when))


def backbones(folder: Path) -> list[str]:
    return sorted(entry.facts["backbone"] for entry in list_entries(folder))


def test_the_limit_deletes_what_was_not_used_for_the_longest_time(folder):
    for backbone, days in (("vgg16", 3), ("densenet201", 1), ("efficientnetb0", 2)):
        filled(folder, backbone=backbone)
        last_used(folder, days, backbone=backbone)
    used = filled(folder, backbone="vgg16")  # a use: now it is the newest
    arrays = filled(folder, limit=5 * VIEW_BYTES)
    assert backbones(folder) == ["densenet121"] * 2 + ["densenet201"] + ["vgg16"] * 2
    assert_right(arrays)
    filled(folder, limit=2 * VIEW_BYTES, backbone="xception")
    assert backbones(folder) == ["xception"] * 2
    assert_right(used)  # what is in use can be read although it is deleted


def test_a_limit_below_the_need_deletes_nothing(folder):
    filled(folder, backbone="vgg16")
    with pytest.raises(FeatureCacheUnavailable, match=r"takes 800 B, but --cache-limit is 799 B\."):
        filled(folder, limit=2 * VIEW_BYTES - 1)
    assert backbones(folder) == ["vgg16"] * 2


def test_what_is_being_filled_is_left(folder):
    filled(folder, backbone="vgg16")
    first = list_entries(folder)[0]
    with first.lock:
        assert clear(folder) == [VIEW_BYTES]
    assert list_entries(folder) == [first]


def test_a_full_disk_is_seen_before_and_while_it_is_filled(folder, monkeypatch):
    def full(view: int, start: int):
        raise OSError(28, "No space left on device")

    with pytest.raises(FeatureCacheUnavailable, match=r"cannot be used \(No space left on device\)"):
        open_filled(CacheSettings(folder), entries(folder), full)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(10**12, 10**12 - 10**9, 10**9 + 799))
    with pytest.raises(FeatureCacheUnavailable, match=r"takes 800 B, but 799 B are free .* 1\.00 GB that stay free"):
        filled(folder)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FeatureCacheUnavailable, match="cannot be used"):
        filled(tmp_path / "file" / "features")


# --- the folder ---


def test_nothing_but_the_features_stays_behind(folder):
    filled(folder)
    names = {path.name for entry in list_entries(folder) for path in entry.path.iterdir()}
    assert names == {"facts.json", "output0.npy", "output1.npy"}
    assert sum(clear(folder)) == 2 * VIEW_BYTES
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("variable", "expected"), [("/var/cache", "/var/cache"), ("", "/home/me/.cache"), ("relative", "/home/me/.cache")]
)
def test_the_default_folder(monkeypatch, variable, expected):
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_folder() == Path(expected) / "mmdc_tf" / "features"


def test_it_needs_no_tensorflow():
    code = "import sys, mmdc_tf.training.feature_store; print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
