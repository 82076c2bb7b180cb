"""The report of a run: it stands alone, escapes every name, says what it is made of, and writes its figures."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_run import PHANTOM, RUN, made_up_table, write_row, write_run_file
from parsed_page import Page

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments import rows
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.run_folder import remember_command
from mmdc_tf.report import html
from mmdc_tf.report.html import audit_summary, main_grid, numbers_grid, write_report
from mmdc_tf.report.tables import EXTRA

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


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(written) -> Page:
    return page_of(written)


def test_the_page_parses_and_needs_nothing_beside_it(written, page):
    assert page.open == []
    assert not {"script", "link", "iframe", "base"} & {tag for tag, _ in page.tags}
    assert "url(" not in (written / "report.html").read_text(encoding="utf-8")
    pictures = page.attributes("img")
    assert len(pictures) == len(KINDS)
    assert all(one["src"].startswith("data:image/png;base64,") and one["alt"] for one in pictures)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    places, links = {attributes.get("id") for _, attributes in page.tags}, [one["href"] for one in page.attributes("a")]
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
    for fact in ("3.11.2", "3.15.0", "2026-01-01 to 2026-01-05", "0123456789abcdef", "This run has no samples.csv."):
        assert fact in page.text
    assert not [word for word in ("None", "Examples", "confidential") if word in page.text]


def test_the_conclusion_and_its_figure_come_first_and_then_the_tables_numbers(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.index("img") < tags.index("table")
    conclusion = page.text.index("Best leak-free accuracy")
    assert conclusion < page.text.index("Published numbers and ours") < page.text.index("0123456789abcdef")
    assert "62.50 ± 17.68" in page.text  # beta: 50 and 75
    assert "Not run: 1 other row" in page.text  # gamma
    assert "not run" in page.text  # beta under the paper protocol


def test_figures_are_written_as_png_and_pdf_and_the_page_shows_the_same(written, page):
    names = {path.name for path in (written / "figures").iterdir()}
    drawn = {f"table2-{kind}.{suffix}" for kind in KINDS for suffix in ("png", "pdf")}
    assert names == drawn | {"table2-mine.png", "mine.png"}  # those of an earlier report go, other files stay
    shown = [base64.b64decode(one["src"].split(",")[1]) for one in page.attributes("img")]
    for content, kind in zip(shown, KINDS, strict=True):
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        file = cv2.imread(str(written / "figures" / f"table2-{kind}.png"))
        assert image.shape == file.shape
        assert np.abs(image.astype(int) - file).mean() < 1.5  # of 255: fewer colours, and they look the same
        assert len(np.unique(file[::5, ::5])) > 50
    assert (written / "figures" / "table2-roc.pdf").read_bytes().startswith(b"%PDF")


def test_several_tables_of_a_run_are_sections_of_one_page(tmp_path, monkeypatch):
    monkeypatch.setattr(html, "table_pictures", lambda *arguments: [])
    monkeypatch.setattr(rows, "load_table", lambda name: replace(TABLE, name=name, title=f"Title of {name}: scans"))
    for name, synthetic in (("table1", False), ("table2", True)):
        write_run_file(tmp_path / name, class_names=["a", "b"], synthetic=synthetic)
        write_row(tmp_path / name, "alpha", ["1101", "0011"])
    reasons = {name: REASON.format(tmp_path / name) for name in ("table1", "table2")}
    problems = write_report(tmp_path, tmp_path, nowhere, 2)
    assert problems == [f"{name}: no examples: {why}" for name, why in reasons.items()]
    page = page_of(tmp_path)
    assert len(page.attributes("section")) == 2
    assert page.text.index("Title of table1") < page.text.index("Title of table2")
    assert all(f"No examples are shown. {why}" in page.text for why in reasons.values())


def test_before_any_result_there_is_a_page(tmp_path):
    write_run_file(tmp_path / "table2")
    write_report(tmp_path, tmp_path, nowhere, 0)
    assert "No row has a finished leak-free result." in page_of(tmp_path).text
    assert page_of(tmp_path).attributes("img") == []


PROBE = Row("probe", "Probe", "there", classifier="any", extra=True)
NOTED = replace(TABLE, rows=(replace(TABLE.rows[0], notes=("a <i> note",)), *TABLE.rows[1:], PROBE))


@pytest.fixture
def results(tmp_path) -> pd.DataFrame:
    """Alpha: 3 of 4 right under paper, 4 of 8 leak-free; the probe: 1 of 4, and 6 of 8; beta and gamma did not run."""
    folder = tmp_path / "table2"
    write_run_file(folder)
    write_row(folder, "alpha", ["1110"], protocol="paper")
    write_row(folder, "alpha", ["1100", "1010"])
    write_row(folder, "probe", ["1000"], protocol="paper")
    write_row(folder, "probe", ["1110", "0111"])
    return table_results(NOTED, folder)


def test_cells_are_those_of_the_markdown_and_escaped(results):
    grid, below = main_grid(NOTED, results, RUN)
    alpha, between, probe = grid.lines
    assert alpha[0].startswith("Net &lt;script&gt; &amp; co [")
    assert (alpha[2:4], alpha[5]) == (["<b>91.00</b>", "<b>75.00</b>"], "-25.00")
    assert str(alpha[4]).startswith("50.00 ± 0.00 (")
    assert below[0] == "Not run: 2 other rows; table2.md has the published numbers."
    assert (between, probe[2]) == ([EXTRA], "")
    assert "<b>75.00" in probe[4]
    assert any(line.endswith("a <i> note") for line in below)  # escaped by the page


def test_the_reason_of_a_failure_is_short_and_plain(tmp_path):
    write_run_file(tmp_path / "table2")
    error = f"ValueError: \x1b[1mno <b>\x1b[0m {'way ' * 99}"
    status = {"status": "failed", "error": error, "seconds": 1.0}
    write_row(tmp_path / "table2", "beta", ["10"], status=status)
    cell = main_grid(TABLE, table_results(TABLE, tmp_path / "table2"), RUN)[0].lines[0][4]
    assert cell.startswith('<span class="reason">failed: ValueError: no &lt;b&gt; way way')
    assert cell.endswith("way …</span>") and len(cell) < 230 and cell.isprintable()


def test_all_numbers_stand_a_line_a_row_and_protocol(results):
    """Alpha under paper, truths abab, guesses abaa: precision (2/3 + 1)/2, recall (1 + 1/2)/2, F1 (4/5 + 2/3)/2,
    kappa (3/4 − 1/2) / (1 − 1/2)."""
    grid = numbers_grid(results)
    assert grid.header[:7] == ["Method", "Source", "Protocol", "Accuracy", "Precision", "Recall", "F1"]
    ours = ["paper protocol", "leak-free"]
    names = [(EVIL, "published"), *((EVIL, side) for side in ours), *(("Probe", side) for side in ours)]
    assert [(line[0], line[2]) for line in grid.lines] == names
    published, paper, *_ = ([cell.split(" ")[0] for cell in line[3:]] for line in grid.lines)
    assert published == ["91.00", "90.00", "89.00", "88.00", *"–––––"]
    assert (paper[:4], paper[6]) == (["75.00", "83.33", "75.00", "73.33"], "0.500")
    assert all(cell.endswith(")") for cell in grid.lines[2][3:7])
    assert numbers_grid(results.assign(status="not run")).lines == []


SAMPLES = {"a": ("1", "cancer"), "b": ("1", "cancer"), "c": ("2", "normal"), "d": ("2", "cancer"), "e": ("3", "normal")}


@pytest.fixture
def audited(tmp_path) -> Path:
    """A run of five images in three groups; the same splits for each row count once."""
    folder = tmp_path / "out" / "table2"
    write_run_file(folder)
    header = "sample_id,patient_id,group_id,label,age,density,view,side,digitizer"
    lines = [f"{name},,{group},{label},,,,," for name, (group, label) in SAMPLES.items()]
    (folder / "samples.csv").write_text("\n".join([header, *lines]))
    splits = (("paper", 0, "ace", "bd", "bd"), ("leak-free", 0, "ab", "cd", "e"), ("leak-free", 1, "e", "", "abcd"))
    for row in ("alpha", "beta"):
        for protocol, fold, *parts in splits:
            place = folder / row / protocol / f"fold{fold}-seed0"
            place.mkdir(parents=True)
            (place / "split.json").write_text(Split(protocol, fold, 2, 0, "any", *map(tuple, parts)).to_json())
    return folder


def test_labels_groups_and_relatives_in_training_are_counted(audited):
    found = audit_summary(audited, RUN)
    assert found["labels"] == {"cancer": 3, "normal": 2}
    counts = {"unit": "patient", "groups": 3, "of_several": 2, "largest": 2, "several_labels": 1, "found": None}
    assert counts.items() <= found.items()
    # paper: b's a and d's c stand in training; leak-free: none in either fold
    leaks = [(one["protocol"], one["images"], one["related"]) for one in found["leaks"]]
    assert leaks == [("paper", 2, 2), ("leak-free", 5, 0)]
    (audited / "samples.csv").unlink()
    assert audit_summary(audited, RUN) is None


@pytest.mark.parametrize("place", ["audit.json", "audit/audit.json"])
def test_an_audit_of_the_same_data_is_found_and_of_others_not(audited, place):
    path = audited.parent / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"fingerprint": RUN["dataset_fingerprint"], "verdict": "Unfit."}))
    assert audit_summary(audited, RUN)["found"]["verdict"] == "Unfit."
    assert audit_summary(audited, {**RUN, "dataset_fingerprint": "another"})["found"] is None
