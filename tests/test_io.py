"""Files that are written whole or not at all, what killed processes leave of them, and pages of HTML."""

from __future__ import annotations

import base64
import errno

import jinja2
import pytest
from full_disk import full_after

from mmdc_tf.io import PREFIX, clear_leftovers, is_disk_error, new_folder, page_templates, picture_address, write_text


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


def test_values_are_escaped_and_what_is_not_defined_raises():
    environment = page_templates("mmdc_tf.report", twice=lambda text: 2 * text)
    environment.loader = jinja2.DictLoader({"a.html.j2": "<b>{{ text | twice }}</b>", "a.md.j2": "{{ text }}"})
    assert environment.get_template("a.html.j2").render(text="<i>") == "<b>&lt;i&gt;&lt;i&gt;</b>"
    assert environment.get_template("a.md.j2").render(text="<i>") == "<i>"
    with pytest.raises(jinja2.UndefinedError):
        environment.get_template("a.html.j2").render()


def test_the_stylesheet_is_one_for_all():
    for package in ("mmdc_tf.audit", "mmdc_tf.report"):
        assert "@media print" in page_templates(package).get_template("page.css").render()


def test_an_address_holds_the_file():
    kind, content = picture_address(b"\x89PNG", "jpeg").split(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(content) == b"\x89PNG"
