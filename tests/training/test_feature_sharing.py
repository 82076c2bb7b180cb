"""The store of frozen features filled by several processes, some of them killed, and damaged in between."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Timer

import pytest
from made_up_features import (
    ALL,
    Computer,
    assert_right,
    features,
    fill_elsewhere,
    filled,
    filling,
    logged,
    open_views,
    wait_for,
)

from mmdc_tf.training.feature_folder import list_entries
from mmdc_tf.training.feature_store import FeatureCacheUnavailable, fill


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "features"


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_a_part_is_one_claimants_until_it_is_finished_and_then_nobodys(folder):
    """Another process may finish a part between the looks at its record and at its lock."""
    here, there = open_views(folder)[0], open_views(folder)[0]
    with here.claimed(0) as mine, there.claimed(0) as others:
        assert (mine, others) == (True, False)
        here.write(0, features(0, 4, [0])[0])
    with there.claimed(0) as others, there.claimed(1) as next_part:
        assert (others, next_part) == (False, True)


def test_two_processes_share_the_work(folder, tmp_path):
    """Each waits inside its first computation until the other computes too, and both want part 0 first."""
    logs = [tmp_path / "log0", tmp_path / "log1"]
    pair = [filling(folder, log, f"wait_for={other}") for log, other in zip(logs, logs[::-1], strict=True)]
    assert [process.wait(timeout=60) for process in pair] == [0, 0]
    mine, others = map(logged, logs)
    assert sorted((start, view) for start, _, views in [*mine, *others] for view in views) == [
        (start, view) for start in (0, 4, 8) for view in (0, 1)
    ]
    computer = Computer()
    entries = open_views(folder)
    fill(entries, computer)
    assert computer.calls == []
    assert_right(entries)


def test_a_part_that_another_process_computes_is_waited_for(folder, tmp_path):
    process = filling(folder, tmp_path / "log", f"wait_for={tmp_path / 'go'}")
    wait_for(tmp_path / "log")
    computer = Computer()
    entries = open_views(folder)
    fill(entries, computer, lambda done, total: done == 2 and Timer(0.1, (tmp_path / "go").touch).start())
    assert computer.calls == ALL[1:]
    assert_right(entries)
    assert process.wait(timeout=60) == 0
    assert logged(tmp_path / "log") == ALL[:1]


def test_a_part_whose_process_dies_is_done_by_the_one_that_waits(folder, tmp_path):
    process = filling(folder, tmp_path / "log", f"wait_for={tmp_path / 'never'}")
    wait_for(tmp_path / "log")
    computer = Computer()
    entries = open_views(folder)
    fill(entries, computer, lambda done, total: done == 2 and process.kill())
    process.wait(timeout=60)
    assert computer.calls == [*ALL[1:], ALL[0]]
    assert_right(entries)


def test_a_killed_process_is_continued(folder, tmp_path):
    assert filling(folder, tmp_path / "log", "die_in=2").wait(timeout=60) == -signal.SIGKILL
    computer, told = Computer(), []
    entries = open_views(folder)
    assert fill(entries, computer, lambda *numbers: told.append(numbers)) == 2
    assert computer.calls == ALL[1:]
    assert told[0] == (0, 2)
    assert_right(entries)


def test_an_error_while_computing_keeps_what_is_done_and_holds_no_part(folder):
    def failing(start, stop, which):
        if start == 4:
            raise OSError("an image has gone")
        return features(start, stop, which)

    entries = open_views(folder)
    with pytest.raises(OSError, match="an image has gone"):
        fill(entries, failing)
    computer = Computer()
    fill(entries, computer)
    assert computer.calls == ALL[1:]


def test_a_flipped_bit_is_noticed_and_only_its_part_is_redone(folder):
    fill_elsewhere(folder)
    mirrored = next(info.path for info in list_entries(folder) if info.layout.facts["view"]["mirror"])
    flip(mirrored / "output1.bin", 5 * 4 * 2)  # image 5
    entries, computer = open_views(folder), Computer()
    assert [entry.damaged for entry in entries] == [0, 1]
    with pytest.raises(FeatureCacheUnavailable, match="4 of 10 images"):
        entries[1].arrays()
    fill(entries, computer)
    assert computer.calls == [(4, 8, (1,))]
    assert_right(entries)
    assert [entry.damaged for entry in open_views(folder)] == [0, 0]


def filled_elsewhere_and_opened(folder: Path) -> None:
    fill_elsewhere(folder)
    open_views(folder)


@pytest.mark.parametrize("seen", [filled, filled_elsewhere_and_opened])
def test_what_a_process_wrote_or_has_checked_it_does_not_check_again(folder, seen):
    seen(folder)
    flip(list_entries(folder)[0].path / "output0.bin", 0)
    assert [entry.damaged for entry in open_views(folder)] == [0, 0]


@pytest.mark.parametrize(
    ("name", "length", "damaged", "redone"),
    [
        ("output0.bin", 8 * 12, 1, ALL[2:]),  # images 0 to 7 are left
        ("output0.bin", 8 * 12 - 1, 2, ALL[1:]),
        ("output0.bin", None, 3, ALL),
        ("parts.bin", 16, 0, ALL[1:]),  # the record of part 0 is left
        ("parts.bin", None, 0, ALL),
        ("facts.json", 20, 3, ALL),
    ],
)
def test_truncated_and_absent_files_are_made_good(folder, name, length, damaged, redone):
    fill_elsewhere(folder)
    for info in list_entries(folder):
        if length is None:
            (info.path / name).unlink()
        else:
            os.truncate(info.path / name, length)
    entries, computer = open_views(folder), Computer()
    assert [entry.damaged for entry in entries] == [damaged, damaged]
    fill(entries, computer)
    assert computer.calls == redone
    assert_right(entries)
    assert len(list_entries(folder)) == 2


def test_facts_that_do_not_belong_to_the_folder_start_it_anew(folder):
    fill_elsewhere(folder)
    plain, mirrored = (info.path / "facts.json" for info in list_entries(folder))
    plain.write_text(mirrored.read_text())
    entries, computer = open_views(folder), Computer()
    fill(entries, computer)
    assert sorted(entry.damaged for entry in entries) == [0, 3]
    assert [len(which) for _, _, which in computer.calls] == [1, 1, 1]
    assert_right(entries)
