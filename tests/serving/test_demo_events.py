"""What the page does when scans follow each other quickly: by its event functions, as Gradio calls them."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace

import pytest

pytest.importorskip("gradio")

from served_model import scan, write_dicom, write_image

from mmdc_tf.serving.demo_answers import Answers
from mmdc_tf.serving.demo_events import Events, Inputs, Outputs
from mmdc_tf.serving.demo_uploads import Uploads
from mmdc_tf.serving.metadata import GIVEN, HEADER, UNKNOWN

VISITOR, OTHER = SimpleNamespace(session_hash="a"), SimpleNamespace(session_hash="b")


@pytest.fixture
def events(saved, tmp_path) -> Events:
    """On a page whose components are their names."""
    inputs, outputs = (kind(**{one.name: one.name for one in fields(kind)}) for kind in (Inputs, Outputs))
    return Events(Answers(saved() / "model.keras"), tmp_path / "kept", inputs, outputs, Uploads(tmp_path / "kept"))


def upload(events, path, request=VISITOR) -> tuple[list[str], dict]:
    return [str(path)], events.on_uploads([str(path)], request)


def test_a_new_scan_has_neither_age_nor_density_of_the_one_before(events, tmp_path):
    """After an example, even where the page had no time to look at it."""
    example = events.on_example(0)
    assert example["source"] == GIVEN and example["density"] in "1234"
    kept = events.on_uploads(example["files"], VISITOR)
    assert "source" not in kept and "density" not in kept
    _, reset = upload(events, write_image(tmp_path / "next.png", scan()))
    assert reset["source"] == HEADER and reset["density"] == UNKNOWN
    path = write_dicom(tmp_path / "next.dcm", scan(), PatientAge="058Y", Modality="MG")
    files, reset = upload(events, path)
    updates = list(events.on_files(files, reset["source"], 69, reset["density"], VISITOR))
    assert any("58 years (from the DICOM header)" in str(one.get("verdict")) for one in updates)


def test_the_old_answer_goes_at_once_and_the_new_scan_is_the_one_that_is_shown(events, tmp_path):
    """The first scan is still being computed when the second comes, and is not looked at again."""
    first, _ = upload(events, write_image(tmp_path / "first.png", scan()))
    running = events.on_files(first, HEADER, None, UNKNOWN, VISITOR)
    assert "first.png" in str([next(running), next(running)])
    second, cleared = upload(events, write_image(tmp_path / "second.png", scan(1)))
    assert "Looking at the scan" in cleared["verdict"] and cleared["heats"] == cleared["steps"] == ""
    assert not cleared["details"]["visible"] and not cleared["overview"]["visible"]
    upload(events, tmp_path / "first.png", OTHER)  # of another visitor
    assert list(running) == []
    assert list(events.on_values(first, 0, GIVEN, 40, "2", VISITOR)) == []
    assert "second.png" in str(list(events.on_files(second, HEADER, None, UNKNOWN, VISITOR)))
