"""The tables that people read and copy: one line a row, best in bold, and a phantom is called one everywhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up_run import PHANTOM, made_up_table, write_row, write_run_file

from mmdc_tf.experiments.results import COLUMNS
from mmdc_tf.experiments.rows import TABLES, Row, load_table
from mmdc_tf.report import conclusion
from mmdc_tf.report.tables import footnotes, write_tables

TABLE = load_table("table2")
# under ``paper``, then in the two leak-free folds, which of four samples are right; a fold is one group
RIGHT = {
    "vgg16": ("1111", "1100", "1000"),
    "mmdcnet_gamma": ("1110", "1110", "1110"),
    "mmdcnet_beta": ("1000", "1111", "0000"),
}
METHOD, SOURCE, PUBLISHED, PAPER, FREE, DIFFERENCE, PUBLISHED_F1, PAPER_F1, FREE_F1 = range(9)
AWKWARD = "\x1b[1mValueError: 50 % of {x} | #1 a_b & c~d ^ $5 \\path\x1b[0m • <b>\n→ end"
PLAIN = r"failed: ValueError: 50 % of {x} | #1 a_b & c~d ^ $5 \path • <b> → end"


def write_run(output: Path, failure: str = "ValueError: no", **changes: object) -> None:
    """Three rows that ran, one that failed; the others of Table II did not run."""
    folder = output / "table2"
    write_run_file(folder, **changes)
    for row, (paper, *folds) in RIGHT.items():
        write_row(folder, row, [paper], protocol="paper", together=4)
        write_row(folder, row, folds, together=4)
    failed = {"status": "failed", "error": failure, "seconds": 1.0}
    write_row(folder, "mmdcnet_alpha", ["0000"], protocol="paper", status=failed)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A phantom run's folder with its three tables."""
    output = tmp_path_factory.mktemp("run")
    write_run(output)
    write_tables(TABLE, output)
    return output


def read(output: Path, suffix: str = ".md", name: str = "table2") -> str:
    return (output / f"{name}{suffix}").read_text(encoding="utf-8")


def markdown_lines(text: str) -> list[list[str]]:
    """The cells of each line of the table without footnote marks, the header first, without the rule."""
    lines = [re.split(r"(?<!\\)\|", line.strip("|")) for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert set("".join(cells[1])) <= set("-:")
    bare = [[re.sub(r" \[[a-z, ]+\]$", "", line[0]), *line[1:]] for line in cells]
    return [bare[0], *bare[2:]]


def row_of(output: Path, label: str, source: str = "the paper", name: str = "table2") -> list[str]:
    lines = markdown_lines(read(output, name=name))
    (cells,) = [cells for cells in lines if (cells[METHOD], cells[SOURCE]) == (label, source)]
    return cells


def latex_lines(text: str) -> list[list[str]]:
    lines = re.findall(r"^(.*) \\\\$", text, flags=re.MULTILINE)
    return [re.split(r"(?<!\\) & ", line) for line in lines]


def check_latex(text: str, folder: Path) -> None:
    """Balanced groups, no special character outside a command, only letters beyond ASCII; and it compiles, with the
    packages that its first line names and no other, where LaTeX is installed."""
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    body = re.sub(r"%\n", "\n", text.partition("\n")[2])  # a per cent sign at the end of a line joins two lines
    assert not re.search(r"(?<!\\)[%#_^~]", body)
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    assert not {one for one in text if ord(one) > 127 and "LATIN" not in unicodedata.name(one)}
    packages = text.partition("\n")[0].removeprefix("% Needs ").removesuffix(".")
    if shutil.which("pdflatex") is None:
        return
    document = f"\\documentclass{{article}}{packages}\\begin{{document}}\n{text}\\end{{document}}"
    (folder / "page.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_csv_has_the_promised_columns_and_two_lines_a_row(written):
    lines = pd.read_csv(written / "table2.csv", keep_default_na=False)
    assert list(lines.columns) == [*COLUMNS, "distinguishable_from_best"]
    assert lines["row"].tolist() == [row.name for row in TABLE.rows if not row.extra for _ in range(2)]
    assert lines["protocol"].tolist() == ["paper", "leak-free"] * 17
    assert lines["label"].str.contains(PHANTOM).all()  # each line, since a line is copied alone


def test_the_csv_gives_percentages_with_two_decimals_and_plain_numbers_with_three(written):
    """mmdcnet_gamma: 3 of 4 right in both folds; truths abab, guesses abaa: F1 (4/5 + 2/3)/2.

    AUC: of the pairs of an a and a b two are in order and two equal. Kappa: (3/4 − 1/2)/(1 − 1/2). Brier:
    (3 · 2/16 + 18/16)/4. All are as sure as they are right. A fold of one group does not vary.
    """
    (line,) = [line for line in read(written, ".csv").splitlines() if "mmdcnet_gamma" in line][1:]
    assert line == (
        f"mmdcnet_gamma,MMDCNet γ (VGG16) ({PHANTOM}),the paper,leak-free,ok,75.00,0.00,75.00,75.00,"
        "83.33,75.00,73.33,78.46,79.68,79.28,79.44,8,2,2,2.00,75.00,75.00,64,paper,"
        "83.33,83.33,75.00,75.00,73.33,73.33,75.00,75.00,75.00,0.750,0.750,0.750,0.500,0.500,0.500,0.375,0.375,0.375,"
        "0.000,0.000,0.000,,,,,best"
    )


def test_markdown_has_one_line_a_row_in_the_papers_order(written):
    text = read(written)
    header, *lines = markdown_lines(text)
    assert [line[METHOD] for line in lines] == [row.label for row in TABLE.rows if not row.extra]
    assert {len(line) for line in (header, *lines)} == {9}
    for fact in ("phantom-mammogram", "0123456789abcdef", "64 pixels", "4 epochs", "2 folds", "random initialisation"):
        assert fact in text


def test_numbers_and_their_difference_worked_by_hand(written):
    """VGG16: 100 under paper; 50 and 25 leak-free, so 37.5 ± 25/√2; 62.5 less than under paper.

    Each fold is one group, which does not vary: the interval is the mean. It is wrong in three samples that the best
    row gets right: p = 2/2³, so it is marked.
    """
    numbers = [text.strip("*") for text in row_of(written, "VGG16")[PUBLISHED : DIFFERENCE + 1]]
    assert numbers == ["55.00", "100.00", "37.50 ± 17.68 (37.50–37.50) ≈", "-62.50"]
    assert row_of(written, "MMDCNet β (EfficientNetB0)")[DIFFERENCE] == "+25.00"  # 25 under paper, 100 and 0 leak-free


def test_the_best_of_each_column_is_bold_and_nothing_else(written):
    _, *lines = markdown_lines(read(written))
    bold = [(cells[METHOD], [column for column in range(9) if "**" in cells[column]]) for cells in lines]
    assert [one for one in bold if one[1]] == [
        ("VGG16", [PAPER, PAPER_F1]),
        ("MMDCNet α (DenseNet-201)", [PUBLISHED, PUBLISHED_F1]),
        ("MMDCNet γ (VGG16)", [FREE, FREE_F1]),
    ]
    assert row_of(written, "VGG16")[PAPER] == "**100.00**"


def test_rows_without_a_result_keep_the_published_numbers_and_say_why(written, tmp_path):
    kacher = row_of(written, "DenseNet201", "Kacher et al. 2024 [26]")
    assert (kacher[PUBLISHED : FREE + 1], kacher[PUBLISHED_F1]) == (["86.51", "not run", "not run"], "86.54")
    failed = row_of(written, "MMDCNet α (DenseNet-201)")
    assert failed[PAPER : DIFFERENCE + 1] == ["failed: ValueError: no", "not run", ""]
    write_tables(load_table("table1"), tmp_path)
    assert row_of(tmp_path, "BCDNet α (DenseNet-121)", name="table1")[PUBLISHED:PAPER] == ["**97.05**"]


@pytest.mark.parametrize("suffix", [".csv", ".md", ".tex"])
def test_a_phantom_is_called_one_and_real_data_are_not(written, tmp_path, suffix):
    write_run(tmp_path, synthetic=False, dataset="mini-ddsm")
    write_tables(TABLE, tmp_path)
    assert PHANTOM in read(written, suffix)
    assert "phantom" not in read(tmp_path, suffix)
    if suffix != ".csv":
        assert all("Research use only, not a medical device." in read(place, suffix) for place in (written, tmp_path))


def test_latex_has_the_cells_of_the_rows_that_ran_a_short_caption_and_notes_below(written, tmp_path):
    text = read(written, ".tex")
    header, *lines = latex_lines(text)
    assert len(lines) == 4 and {len(line) for line in (header, *lines)} == {9}
    assert r"\begin{tabular}{ll" + "r" * 7 + "}" in text
    assert "not run" in text and "Kacher" not in text  # one of the four has no leak-free result
    assert r"\textbf{90.87}" in text and r"MMDCNet $\gamma$ (VGG16)" in text
    (caption,) = re.findall(r"\\caption\{(.*)\}\n", text)
    assert caption == f"Performance on Mini-DDSM (Table II of the paper), published and ours; {PHANTOM}."
    assert text.count("Table II") == text.count(r"\label{tab:table2}") == 1
    assert text.index(r"\end{tabular}") < text.index("Research use only")
    check_latex(text, tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_latex_of_every_table_compiles_before_any_run(name, tmp_path):
    write_tables(load_table(name), tmp_path)
    check_latex(read(tmp_path, ".tex", name), tmp_path)


def test_an_error_is_plain_text_in_every_format(tmp_path):
    """Without a terminal's colours or line breaks; a spreadsheet gets it as it is, the others escaped."""
    table = replace(TABLE, rows=tuple(row for row in TABLE.rows if row.name == "mmdcnet_alpha"))
    write_run(tmp_path, failure=AWKWARD)
    write_tables(table, tmp_path)
    assert pd.read_csv(tmp_path / "table2.csv")["status"][0] == PLAIN
    for suffix in (".csv", ".md", ".tex"):
        assert not {"\x1b", "[1m", "[0m"} & set(re.findall(r"\x1b|\[[01]m", read(tmp_path, suffix)))
    escaped = PLAIN.replace("\\", "\\\\").replace("|", "\\|").replace("<", "\\<")
    (_, line) = markdown_lines(read(tmp_path))
    assert (len(line), line[PAPER]) == (9, escaped)
    assert {len(line) for line in latex_lines(read(tmp_path, ".tex"))} == {9}
    assert r"\path" not in read(tmp_path, ".tex")
    check_latex(read(tmp_path, ".tex"), tmp_path)


def test_the_leaks_worth_stands_in_every_format_where_the_control_was_run(tmp_path, written):
    """vgg16: 3 of 8 right leak-free, 7 of 8 image-level, two fewer in each of the two groups: no width."""
    assert "image-level folds" not in read(written)
    write_run(tmp_path)
    write_row(tmp_path / "table2", "vgg16", ["1111", "1110"], protocol="image-level", together=4)
    results = write_tables(TABLE, tmp_path)
    lines = results[results["row"] == "vgg16"].set_index("protocol")
    assert list(lines.index) == ["paper", "image-level", "leak-free"]
    assert lines["leak_worth"].tolist() == pytest.approx([float("nan"), float("nan"), -50.0], nan_ok=True)
    assert lines.loc["leak-free", ["leak_worth_ci_low", "leak_worth_ci_high"]].tolist() == [-50.0, -50.0]
    header, *cells = markdown_lines(read(tmp_path))
    (vgg,) = [line for line in cells if "87.50" in line[FREE]]
    place = header.index("the leak's worth: leak-free − image-level folds (95 % interval)")
    assert vgg[place] == "-50.00 (-50.00 to -50.00)"
    assert vgg[place + 1] == "-62.50"  # of 100 under the paper protocol: another difference
    lines = latex_lines(read(tmp_path, ".tex"))
    assert {len(line) for line in lines} == {len(header)} == {11}
    title = lines[0][place].removeprefix(r"\shortstack{").removesuffix("}").replace(r" \\ ", " ")
    assert title == r"the leak's worth: leak-free $-$ image-level folds (95 \% interval)"


# Of 2 × 20 samples in 20 groups of two, all right but: two of one group, all of one fold. Worked by hand below.
PERFECT, NEAR, FAR = ["1" * 20, "1" * 20], ["1" * 20, "1" * 18 + "00"], ["1" * 20, "0" * 20]


def verdicts(output: Path, **rows: list[str]) -> dict[str, str]:
    """The leak-free verdicts in the CSV, of a table that has these rows only; folds that are given are written."""
    write_run_file(output / "table2")
    for row, folds in rows.items():
        if folds:
            write_row(output / "table2", row, folds)
    write_tables(replace(TABLE, rows=tuple(row for row in TABLE.rows if row.name in rows)), output)
    lines = pd.read_csv(output / "table2.csv", keep_default_na=False).set_index("row")
    assert set(lines.loc[lines["protocol"] == "paper", "distinguishable_from_best"]) == {""}
    return lines.loc[lines["protocol"] == "leak-free", "distinguishable_from_best"].to_dict()


def test_rows_like_the_best_one_are_marked_and_the_mark_is_explained(tmp_path):
    """One differs from the best in two samples: p = 1/2; one in twenty: p = 2⁻¹⁹, interval −1/2."""
    found = verdicts(tmp_path, densenet201=PERFECT, vgg16=NEAR, efficientnetb0=FAR, mmdcnet_alpha=[])
    assert found == {"densenet201": "best", "vgg16": "no", "efficientnetb0": "yes", "mmdcnet_alpha": ""}
    tests = "McNemar's exact test, Holm-corrected, and the bootstrap interval of the difference over groups; 5"
    for suffix, mark in ((".md", "≈"), (".tex", r"$\approx$")):
        text = read(tmp_path, suffix)
        (marked,) = [line for line in text.splitlines() if f") {mark} " in line]
        assert "VGG16" in marked
        assert text.count(f"{mark}: not distinguishable from the best row ({tests}") == 1


def test_a_single_row_has_nothing_to_be_compared_with_and_of_equal_ones_the_first_is_best(tmp_path):
    assert verdicts(tmp_path, vgg16=NEAR, densenet201=[]) == {"vgg16": "", "densenet201": ""}
    assert "≈" not in read(tmp_path)
    assert verdicts(tmp_path, densenet201=NEAR, vgg16=[]) == {"densenet201": "best", "vgg16": "no"}


def test_a_row_with_other_seeds_is_not_compared_and_named(tmp_path):
    write_row(tmp_path / "table2", "vgg16_atten", FAR, seed=1)
    assert verdicts(tmp_path, densenet201=PERFECT, vgg16=NEAR, vgg16_atten=[])["vgg16_atten"] == ""
    assert "Not scored on the samples, folds and seeds of the best row: vgg16_atten." in read(tmp_path)


def test_rows_are_compared_again_only_where_leak_free_predictions_have_changed(tmp_path, monkeypatch):
    before = verdicts(tmp_path, densenet201=PERFECT, vgg16=NEAR, efficientnetb0=FAR)
    names: dict[str, list[str]] = {row: [] for row in before}
    with monkeypatch.context() as patch:
        patch.setattr(conclusion, "compare_in_folder", lambda *_, **__: pytest.fail("compared again"))
        write_row(tmp_path / "table2", "vgg16", NEAR[:1], protocol="paper")
        assert verdicts(tmp_path, **names) == before
    place = tmp_path / "table2/vgg16/leak-free/fold1-seed0/predictions.csv"
    shutil.copy(tmp_path / "table2/efficientnetb0/leak-free/fold1-seed0/predictions.csv", place)
    os.utime(place, ns=(1, 1))  # a new time, however coarse the clock of the file system
    assert verdicts(tmp_path, **names) == {**before, "vgg16": "yes"}


def fed(cut: str = "", **made: tuple[object, object]) -> pd.DataFrame:
    """Image size and preprocessing of each row; None where it did not run. The last one is frozen up to ``cut``."""
    lines = [{"row": name, "image_size": size, "preprocessing": recipe} for name, (size, recipe) in made.items()]
    lines = [{**line, "layer_cut": cut if line is lines[-1] else ""} for line in lines]
    return pd.DataFrame(lines).astype({"image_size": "Int64"})


def noted(**notes: tuple[str, ...]):
    rows = tuple(Row(name, name, "here", model="any", notes=own) for name, own in notes.items())
    return replace(made_up_table(), rows=rows)


SAME = {"training": {"image_size": 64, "feature_views": 8, "feature_mixing": 0.2}, "preprocessing": "paper"}


def test_a_note_stands_once_and_rows_that_are_not_in_the_table_bring_none():
    table = noted(one=("first",), two=("second", "first"), three=(), four=("fourth",))
    marks, lines = footnotes(table, fed(one=(64, "paper"), two=(64, "paper"), three=(None, None)), SAME)
    assert marks == {"one": " [a]", "two": " [b, a]", "three": ""}
    assert lines == ["[a] first", "[b] second"]
    assert footnotes(noted(one=("first",)), fed(one=(None, None)), {})[1] == ["[a] first"]  # before any run
    many = noted(one=tuple(f"note {number}" for number in range(28)))
    last = footnotes(many, fed(one=(64, "paper")), SAME)[1][24:]
    assert [line.split("]")[0] for line in last] == ["[y", "[z", "[aa", "[ab"]


def test_where_a_row_was_fed_otherwise_than_the_table_says_it_is_noted():
    marks, lines = footnotes(noted(one=(), two=()), fed(one=(75, "paper"), two=(64, "brint")), SAME)
    assert list(marks.values()) == [" [a]", " [b]"]
    assert lines == ["[a] Images of 75 pixels.", "[b] Preprocessing 'brint'."]
    table, both = noted(one=(), two=()), fed("pool4", one=(64, "paper"), two=(64, "paper"))
    marks, (moved, fixed) = footnotes(table, both, {**SAME, "frozen_features": True})
    assert list(marks.values()) == [" [a]", " [b]"]
    assert "moved anew in each step (mirror, shift, zoom) and not mixed" in moved
    assert "8 fixed view(s) an image (mirror, shift, zoom, rotation, brightness), mixed with α = 0.2" in fixed
    assert footnotes(table, fed(one=(64, "paper"), two=(64, "paper")), {**SAME, "frozen_features": True})[1] == []
    assert footnotes(table, both, SAME)[1] == []
