"""The report of a run: it stands alone, escapes every name, says what it is made of, and writes its figures."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_run import PHANTOM, made_up_table, write_row, write_run_file
from parsed_page import Page

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments import rows
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.run_folder import remember_command
from mmdc_tf.report import html
from mmdc_tf.report.html import write_report

EVIL = "Net <script> & co"
TABLE = made_up_table("beta", "gamma")
TABLE = replace(TABLE, rows=(Row("alpha", EVIL, "<i>here</i>", (91.0, 90.0, 89.0, 88.0), model="any"), *TABLE.rows))
CURVES, LEARNING = ("confusion", "roc", "precision-recall"), ("learning-leak-free", "learning-paper")
KINDS = ("accuracy", *CURVES, "row-alpha", "row-beta", *LEARNING)  # in the order of the page
EARLIER = ("table2-row-old.png", "table2-roc-2.pdf", "table2-mine.png", "mine.png")
HISTORY = "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n1,1.2,0.3,1.4,0.2,0.1\n2,1.0,0.4,1.2,0.3,0.1\n"
REASON = (
    "Expected a finished network that takes images, under leak-free. Received: none in {}. Train one into this run."
)
VERSIONS = {"python": "3.11.2", "packages": {"keras": "3.15.0"}, "git_revision": None}


def nowhere(table):
    raise ConfigurationError("Expected images. Received: none. Name them.")


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """A run with two finished rows, one of them under both protocols."""
    output = tmp_path_factory.mktemp("run") / "a <run>"
    folder = output / "table2"
    write_run_file(folder, class_names=["a", "b"])
    write_row(folder, "alpha", ["1101", "0011"])
    write_row(folder, "alpha", ["1011"], protocol="paper")
    write_row(folder, "beta", ["0101", "1011"])
    for number, place in enumerate(sorted(folder.glob("*/*/fold*"))):
        (place / "environment.json").write_text(json.dumps({**VERSIONS, "written": f"2026-01-0{number + 1}"}))
        (place / "history.csv").write_text(HISTORY)
    remember_command(folder, "mmdc-tf run --rows '<a>'", output)
    return output


@pytest.fixture(scope="module")
def written(output, tmp_path_factory) -> Path:
    """The report, in a folder of its own that holds figures of an earlier one."""
    place = tmp_path_factory.mktemp("report")
    (place / "figures").mkdir()
    for name in EARLIER:
        (place / "figures" / name).write_text("of an earlier report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "load_table", lambda name: replace(TABLE, name=name))
        assert write_report(output, place, nowhere, 0) == []
    return place


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page((written / "report.html").read_text(encoding="utf-8"))


def test_the_page_parses_and_needs_nothing_beside_it(written, page):
    assert page.open == []
    assert not {"script", "link", "iframe", "base"} & {tag for tag, _ in page.tags}
    assert "url(" not in (written / "report.html").read_text(encoding="utf-8")
    pictures = page.attributes("img")
    assert len(pictures) == len(KINDS)
    assert all(one["src"].startswith("data:image/png;base64,") and one["alt"] for one in pictures)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


def test_every_link_leads_to_a_place_on_the_page(page):
    places = {attributes.get("id") for _, attributes in page.tags}
    links = [one["href"] for one in page.attributes("a")]
    assert len(links) == 8
    assert all(link.startswith("#") and link[1:] in places for link in links)


def test_names_are_text_everywhere(page):
    assert page.text.count(EVIL) >= 3
    assert "Report: a <run>" in page.text
    assert "mmdc-tf run --rows '<a>'" in page.text
    assert {"script", "i", "run", "a>"}.isdisjoint(tag for tag, _ in page.tags)


def test_it_says_what_it_is_and_what_it_was_made_with(page):
    assert page.text.count(PHANTOM) >= 3
    assert "Research use only, not a medical device." in page.text
    assert "confidential" not in page.text
    for fact in ("3.11.2", "3.15.0", "2026-01-01 to 2026-01-05", "0123456789abcdef", "This run has no samples.csv."):
        assert fact in page.text
    assert "None" not in page.text
    assert "Examples" not in page.text


def test_the_conclusion_and_its_figure_come_first(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.index("img") < tags.index("table")
    conclusion = page.text.index("Best leak-free accuracy")
    assert conclusion < page.text.index("Published numbers and ours") < page.text.index("0123456789abcdef")


def test_figures_are_written_as_png_and_pdf_and_the_page_shows_the_same(written, page):
    names = {path.name for path in (written / "figures").iterdir()} - set(EARLIER)
    assert names == {f"table2-{kind}.{suffix}" for kind in KINDS for suffix in ("png", "pdf")}
    shown = [base64.b64decode(one["src"].split(",")[1]) for one in page.attributes("img")]
    for content, kind in zip(shown, KINDS, strict=True):
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        file = cv2.imread(str(written / "figures" / f"table2-{kind}.png"))
        assert image.shape == file.shape
        assert np.abs(image.astype(int) - file).mean() < 1.5  # of 255: fewer colours, and they look the same
        assert len(np.unique(file[::5, ::5])) > 50
    assert (written / "figures" / "table2-roc.pdf").read_bytes().startswith(b"%PDF")


def test_the_tables_numbers_stand_in_it(page):
    assert "50.00 ± 35.36" not in page.text  # alpha: 75 and 50
    assert "62.50 ± 17.68" in page.text
    assert "Not run: 1 other row" in page.text  # gamma
    assert "not run" in page.text  # beta under the paper protocol
    assert "Accuracy: published" in page.text


def test_several_tables_of_a_run_are_sections_of_one_page(output, tmp_path, monkeypatch):
    monkeypatch.setattr(html, "table_pictures", lambda *arguments: [])
    monkeypatch.setattr(rows, "load_table", lambda name: replace(TABLE, name=name, title=f"Title of {name}: scans"))
    other = tmp_path / "out"
    for name, synthetic in (("table1", False), ("table2", True)):
        write_run_file(other / name, class_names=["a", "b"], synthetic=synthetic)
        write_row(other / name, "alpha", ["1101", "0011"])
    problems = write_report(other, other, nowhere, 2)
    reasons = [REASON.format(other / name) for name in ("table1", "table2")]
    assert problems == [f"{name}: no examples: {why}" for name, why in zip(("table1", "table2"), reasons, strict=True)]
    page = Page((other / "report.html").read_text(encoding="utf-8"))
    assert len(page.attributes("section")) == 2
    assert page.text.index("Title of table1") < page.text.index("Title of table2")
    assert all(f"No examples are shown. {why}" in page.text for why in reasons)


def test_a_figure_that_is_not_drawn_again_is_removed_and_other_files_stay(written):
    left = {path.name for path in written.rglob("*.p*")} & set(EARLIER)
    assert left == {"table2-mine.png", "mine.png"}


def test_before_any_result_there_is_a_page(tmp_path):
    write_run_file(tmp_path / "table2")
    write_report(tmp_path, tmp_path, nowhere, 0)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "No row has a finished leak-free result." in page.text
    assert page.attributes("img") == []


@pytest.mark.parametrize(("name", "state"), [("nowhere", "absent"), ("empty", "none of table1"), ("file", "a file")])
def test_what_is_no_run_is_refused(tmp_path, name, state):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=state):
        write_report(tmp_path / name, tmp_path / "out", nowhere, 0)
    assert not (tmp_path / "out").exists()
