"""Files that are written whole or not at all, and what killed processes leave of them."""

from __future__ import annotations

import errno

import pytest
from full_disk import full_after

from mmdc_tf.io import PREFIX, clear_leftovers, is_disk_error, new_folder, write_text


def test_a_full_disk_leaves_the_earlier_file_and_names_the_path(tmp_path):
    path = tmp_path / "status.json"
    write_text(path, "before")
    with full_after(0, tmp_path), pytest.raises(OSError) as raised:
        write_text(path, "after, and longer")
    assert is_disk_error(raised.value)
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["status.json"]


def test_a_file_that_cannot_be_written_is_named_itself_not_its_temporary_one(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(OSError) as raised:
        write_text(tmp_path / "table.csv", "a,b")
    assert raised.value.filename == str(tmp_path / "table.csv")
    assert not is_disk_error(raised.value)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    place = tmp_path / "model"
    with new_folder(place) as new:
        (new / "weights").write_text("first")
    with pytest.raises(RuntimeError), new_folder(place) as new:
        (new / "weights").write_text("second")
        raise RuntimeError
    assert (place / "weights").read_text() == "first"
    with new_folder(place) as new:
        (new / "weights").write_text("third")
    assert (place / "weights").read_text() == "third"
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_leftovers_go_and_other_files_stay(tmp_path):
    for name in (f"{PREFIX}17.csv", ".mmdc_tf.lock", "table.csv"):
        (tmp_path / name).touch()
    (tmp_path / f"{PREFIX}abc").mkdir()
    (tmp_path / f"{PREFIX}abc" / "half").touch()
    clear_leftovers([tmp_path, tmp_path / "absent"])
    assert {path.name for path in tmp_path.iterdir()} == {".mmdc_tf.lock", "table.csv"}


@pytest.mark.parametrize(("number", "disk"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOENT, False)])
def test_only_what_stops_all_work_is_the_disks(number, disk):
    assert is_disk_error(OSError(number, "")) is disk
    assert not is_disk_error(ValueError(number))
