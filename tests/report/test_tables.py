"""The tables that people read and copy: one line a row, best in bold, and a phantom is called one everywhere."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up_run import PHANTOM, RUN

from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import TABLES, PaperTable, load_table
from mmdc_tf.report.html_tables import main_grid
from mmdc_tf.report.tables import latex, markdown, write_tables

# Under `paper`, then in the two leak-free folds, how many of four samples are right.
RIGHT = {"vgg16": (4, 2, 1), "mmdcnet_gamma": (3, 3, 3), "mmdcnet_beta": (1, 4, 0)}
COLUMNS = (
    "row,label,citation,protocol,status,accuracy,accuracy_std,accuracy_ci_low,accuracy_ci_high,precision,recall,f1,"
    "paper_accuracy,paper_precision,paper_recall,paper_f1,n_samples,n_groups,folds,seconds,"
    "threshold_precision,threshold_recall,image_size,preprocessing,"
    "precision_ci_low,precision_ci_high,recall_ci_low,recall_ci_high,f1_ci_low,f1_ci_high,"
    "balanced_accuracy,balanced_accuracy_ci_low,balanced_accuracy_ci_high,auc,auc_ci_low,auc_ci_high,"
    "kappa,kappa_ci_low,kappa_ci_high,brier,brier_ci_low,brier_ci_high,ece,ece_ci_low,ece_ci_high,"
    "leak_worth,leak_worth_ci_low,leak_worth_ci_high,layer_cut,"
    "distinguishable_from_best"
)
METHOD, SOURCE, PUBLISHED, PAPER, FREE, DIFFERENCE, PUBLISHED_F1, PAPER_F1, FREE_F1 = range(9)


def write_fold(folder: Path, protocol: str, fold: int, right: int, status: dict) -> None:
    """Two samples of each of two classes; ``right`` of them are predicted right."""
    place = folder / protocol / f"fold{fold}-seed0"
    place.mkdir(parents=True)
    fed = {"image_size": 64, "row_preprocessing": "paper"}
    config = {"protocol": protocol, "folds": 2, "fold": fold, "training_seed": 0, **fed}
    (place / "config.json").write_text(json.dumps(config))
    (place / "status.json").write_text(json.dumps(status))
    other = {"a": "b", "b": "a"}
    guesses = [t if i < right else other[t] for i, t in enumerate("abab")]
    sure = {"a": "0.75,0.25", "b": "0.25,0.75"}
    pairs = zip("abab", guesses, strict=True)
    lines = [f"s{fold}{i},,g{fold},{fold},0,{t},{g},{sure[g]}" for i, (t, g) in enumerate(pairs)]
    header = "sample_id,patient_id,group_id,fold,seed,y_true,y_pred,p_a,p_b"
    (place / "predictions.csv").write_text("\n".join([header, *lines]) + "\n")


def write_run(output: Path, run: dict, failure: str = "ValueError: no") -> None:
    """Three rows that ran, one that failed; the others of Table II did not run."""
    for row, (paper, *folds) in RIGHT.items():
        write_fold(output / "table2" / row, "paper", 0, paper, {"status": "ok", "seconds": 1.0})
        for fold, right in enumerate(folds):
            write_fold(output / "table2" / row, "leak-free", fold, right, {"status": "ok", "seconds": 1.0})
    failed = {"status": "failed", "error": failure, "seconds": 1.0}
    write_fold(output / "table2" / "mmdcnet_alpha", "paper", 0, 0, failed)
    (output / "table2" / "run.json").write_text(json.dumps(run))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A phantom run's folder with its three tables."""
    output = tmp_path_factory.mktemp("run")
    write_run(output, RUN)
    write_tables(load_table("table2"), output)
    return output


def markdown_lines(text: str) -> list[list[str]]:
    """The cells of each line of the table, the header first, without the rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert set("".join(cells[1])) <= set("-:")
    bare = [[re.sub(r" \[[a-z, ]+\]$", "", line[0]), *line[1:]] for line in cells]  # without footnote marks
    return [bare[0], *bare[2:]]


def row_of(text: str, label: str) -> list[str]:
    (cells,) = [cells for cells in markdown_lines(text) if cells[METHOD] == label and cells[SOURCE] == "the paper"]
    return cells


def latex_lines(text: str) -> list[list[str]]:
    lines = re.findall(r"^(.*) \\\\$", text, flags=re.MULTILINE)
    return [re.split(r"(?<!\\) & ", line) for line in lines]


def test_the_csv_has_the_promised_columns_and_two_lines_a_row(written):
    with (written / "table2.csv").open(encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert ",".join(header) == COLUMNS
    assert [line[0] for line in lines] == [
        row.name for row in load_table("table2").rows if not row.extra for _ in range(2)
    ]
    assert [line[3] for line in lines] == ["paper", "leak-free"] * 17


def test_the_csv_gives_percentages_with_two_decimals_and_plain_numbers_with_three(written):
    """mmdcnet_gamma: 3 of 4 right in both folds; truths abab, guesses abaa: F1 (4/5 + 2/3)/2.

    AUC: of the pairs of an a and a b two are in order and two equal. Kappa: (3/4 − 1/2)/(1 − 1/2). Brier:
    (3 · 2/16 + 18/16)/4. All are as sure as they are right. A fold of one group does not vary.
    """
    (line,) = [line for line in (written / "table2.csv").read_text().splitlines() if "mmdcnet_gamma" in line][1:]
    assert line == (
        f"mmdcnet_gamma,MMDCNet γ (VGG16) ({PHANTOM}),the paper,leak-free,ok,75.00,0.00,75.00,75.00,"
        "83.33,75.00,73.33,78.46,79.68,79.28,79.44,8,2,2,2.00,75.00,75.00,64,paper,"
        "83.33,83.33,75.00,75.00,73.33,73.33,75.00,75.00,75.00,0.750,0.750,0.750,0.500,0.500,0.500,0.375,0.375,0.375,"
        "0.000,0.000,0.000,,,,,best"
    )


def test_the_numbers_of_the_csv_are_read_as_numbers(written):
    lines = pd.read_csv(written / "table2.csv")
    texts = [
        "row",
        "label",
        "citation",
        "protocol",
        "status",
        "preprocessing",
        "layer_cut",
        "distinguishable_from_best",
    ]
    assert lines.drop(columns=[*texts, "layer_cut"]).dtypes.map(lambda kind: kind.kind).isin(["f", "i"]).all()
    assert lines.loc[lines["status"] != "ok", ["accuracy", "auc", "ece_ci_low", "n_samples"]].isna().all(axis=None)


def test_markdown_has_one_line_a_row_in_the_papers_order(written):
    header, *lines = markdown_lines((written / "table2.md").read_text(encoding="utf-8"))
    assert [line[METHOD] for line in lines] == [row.label for row in load_table("table2").rows if not row.extra]
    assert {len(line) for line in (header, *lines)} == {9}


def test_markdown_says_how_it_was_made(written):
    text = (written / "table2.md").read_text(encoding="utf-8")
    for fact in ("phantom-mammogram", "0123456789abcdef", "64 pixels", "4 epochs", "2 folds", "random initialisation"):
        assert fact in text
    assert "Research use only, not a medical device." in text


def test_numbers_and_their_difference_worked_by_hand(written):
    """VGG16: 100 under paper; 50 and 25 leak-free, so 37.5 ± 25/√2; 62.5 less than under paper.

    Each fold is one group, which does not vary: the interval is the mean. It is wrong in three samples that the best
    row gets right: p = 2/2³, so it is marked.
    """
    cells = row_of((written / "table2.md").read_text(encoding="utf-8"), "VGG16")
    assert [text.strip("*") for text in cells[PUBLISHED : FREE + 2]] == [
        "55.00",
        "100.00",
        "37.50 ± 17.68 (37.50–37.50) ≈",
        "-62.50",
    ]
    gain = row_of((written / "table2.md").read_text(encoding="utf-8"), "MMDCNet β (EfficientNetB0)")
    assert gain[DIFFERENCE] == "+25.00"  # 25 under paper, 100 and 0 leak-free


def test_the_best_of_each_column_is_bold_and_nothing_else(written):
    _, *lines = markdown_lines((written / "table2.md").read_text(encoding="utf-8"))
    bold = [(cells[METHOD], column) for cells in lines for column in range(9) if "**" in cells[column]]
    assert bold == [
        ("VGG16", PAPER),
        ("VGG16", PAPER_F1),
        ("MMDCNet α (DenseNet-201)", PUBLISHED),
        ("MMDCNet α (DenseNet-201)", PUBLISHED_F1),
        ("MMDCNet γ (VGG16)", FREE),
        ("MMDCNet γ (VGG16)", FREE_F1),
    ]
    assert row_of((written / "table2.md").read_text(encoding="utf-8"), "VGG16")[PAPER] == "**100.00**"


def test_rows_without_a_result_keep_the_published_numbers_and_say_why(written):
    text = (written / "table2.md").read_text(encoding="utf-8")
    kacher = next(cells for cells in markdown_lines(text) if cells[SOURCE] == "Kacher et al. 2024 [26]")
    assert kacher[PUBLISHED : FREE + 1] == ["86.51", "not run", "not run"]
    assert kacher[PUBLISHED_F1] == "86.54"
    assert row_of(text, "EfficientNetB0")[PUBLISHED : FREE + 1] == ["70.00", "not run", "not run"]
    failed = row_of(text, "MMDCNet α (DenseNet-201)")
    assert (failed[PAPER], failed[FREE]) == ("failed: ValueError: no", "not run")
    assert not re.search(r"\d", failed[DIFFERENCE])


@pytest.mark.parametrize("suffix", [".csv", ".md", ".tex"])
def test_a_phantom_is_called_one_in_every_file(written, suffix):
    assert PHANTOM in (written / f"table2{suffix}").read_text(encoding="utf-8")


def test_every_line_of_a_phantoms_csv_says_so(written):
    _, *lines = (written / "table2.csv").read_text(encoding="utf-8").splitlines()
    assert all(PHANTOM in line for line in lines)


@pytest.mark.parametrize("suffix", [".csv", ".md", ".tex"])
def test_real_data_are_not_called_a_phantom(tmp_path, suffix):
    write_run(tmp_path, {**RUN, "synthetic": False, "dataset": "mini-ddsm"})
    write_tables(load_table("table2"), tmp_path)
    assert "phantom" not in (tmp_path / f"table2{suffix}").read_text(encoding="utf-8")


def test_before_any_run_the_published_numbers_stand_alone(tmp_path):
    write_tables(load_table("table1"), tmp_path)
    text = (tmp_path / "table1.md").read_text(encoding="utf-8")
    assert len(markdown_lines(text)) == 16
    assert row_of(text, "BCDNet α (DenseNet-121)")[PUBLISHED : FREE + 1] == ["**97.05**", "not run", "not run"]


def test_latex_has_the_same_lines_and_cells(written):
    text = (written / "table2.tex").read_text(encoding="utf-8")
    header, *lines = latex_lines(text)
    ran = [row for row in load_table("table2").rows if row.name in {*RIGHT, "mmdcnet_alpha"}]
    assert len(lines) == len(ran) == 4
    assert {len(line) for line in (header, *lines)} == {9}
    assert "not run" in text  # one of the four has no leak-free result
    assert "Kacher" not in text
    columns = re.search(r"\\begin\{tabular\}\{([lrc]+)\}", text)
    assert columns is not None
    assert len(columns[1]) == 9
    assert r"\textbf{90.87}" in text
    assert r"MMDCNet $\gamma$ (VGG16)" in text


def check_latex(text: str) -> None:
    """Balanced groups and environments, no special character outside a command, only letters beyond ASCII."""
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for name in re.findall(r"\\begin\{([a-z*]+)\}", text):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    assert text.startswith(r"% Needs \usepackage{booktabs,graphicx}.")
    body = re.sub(
        r"%\n", "\n", text.partition("\n")[2]
    )  # a per cent sign at the end of a line joins two lines, as meant
    assert not re.search(r"(?<!\\)[%#_^~]", body)
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    strange = {character for character in text if ord(character) > 127 and "LATIN" not in unicodedata.name(character)}
    assert not strange


@pytest.mark.parametrize("name", TABLES)
def test_latex_of_every_table_is_well_formed(name, tmp_path):
    write_tables(load_table(name), tmp_path)
    check_latex((tmp_path / f"{name}.tex").read_text(encoding="utf-8"))


def test_latex_is_well_formed(written):
    check_latex((written / "table2.tex").read_text(encoding="utf-8"))


def test_the_caption_is_short_and_the_notes_stand_below(written):
    text = (written / "table2.tex").read_text(encoding="utf-8")
    (caption,) = re.findall(r"\\caption\{(.*)\}\n", text)
    assert caption == f"Performance on Mini-DDSM (Table II of the paper), published and ours; {PHANTOM}."
    assert text.count("Table II") == text.count(r"\label{tab:table2}") == 1
    assert text.index(r"\end{tabular}") < text.index("Research use only")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("name", ["table1", "table2", "figure3"])
def test_latex_compiles(written, tmp_path, name):
    """With the packages that its first line names, and no other."""
    if name != "table2":
        write_tables(load_table(name), tmp_path)
    text = ((written if name == "table2" else tmp_path) / f"{name}.tex").read_text(encoding="utf-8")
    packages = text.partition("\n")[0].removeprefix("% Needs ").removesuffix(".")
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{text}See~\ref{{tab:{name}}}.\end{{document}}"
    (tmp_path / "page.tex").write_text(document.replace(r"\begin{document}", "\\begin{document}\n"), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


AWKWARD = "\x1b[1mValueError: 50 % of {x} | #1 a_b & c~d ^ $5 \\path\x1b[0m • <b>\n→ end"
PLAIN = r"failed: ValueError: 50 % of {x} | #1 a_b & c~d ^ $5 \path • <b> → end"


def awkward_table(tmp_path: Path) -> tuple[PaperTable, object]:
    table = load_table("table2")
    table = replace(table, rows=tuple(row for row in table.rows if row.name == "mmdcnet_alpha"))
    write_run(tmp_path, RUN, failure=AWKWARD)
    return table, table_results(table, tmp_path / "table2")


def test_an_error_is_plain_text_in_every_format(tmp_path):
    """Without a terminal's colours or line breaks; a spreadsheet gets it as it is, the others escaped."""
    table, results = awkward_table(tmp_path)
    write_tables(table, tmp_path)
    assert pd.read_csv(tmp_path / "table2.csv")["status"][0] == PLAIN
    for suffix in (".csv", ".md", ".tex"):
        text = (tmp_path / f"table2{suffix}").read_text(encoding="utf-8")
        assert "\x1b" not in text and "[1m" not in text and "[0m" not in text
    escaped = PLAIN.replace("\\", "\\\\").replace("|", "\\|").replace("<", "\\<")
    assert escaped in (tmp_path / "table2.md").read_text(encoding="utf-8")
    cell = str(main_grid(table, results, RUN)[0].lines[0][3])
    assert cell == f'<span class="reason">{html.escape(PLAIN)}</span>'


def test_an_errors_text_does_not_break_a_markdown_line(tmp_path):
    table, results = awkward_table(tmp_path)
    (line,) = [line for line in markdown(table, results, RUN).splitlines() if line.startswith("| MMDCNet")]
    assert len(re.split(r"(?<!\\)\|", line.strip("|"))) == 9


def test_an_errors_text_does_not_break_the_latex(tmp_path):
    table, results = awkward_table(tmp_path)
    text = latex(table, results, RUN)
    assert {len(line) for line in latex_lines(text)} == {9}
    check_latex(text)
    assert r"\path" not in text


def test_the_leaks_worth_stands_in_every_format_where_the_control_was_run(tmp_path, written):
    """vgg16: 3 of 8 right leak-free, 7 of 8 image-level, two fewer in each of the two groups: no width."""
    assert "image-level folds" not in (written / "table2.md").read_text(encoding="utf-8")
    write_run(tmp_path, RUN)
    for fold, right in enumerate((4, 3)):
        write_fold(tmp_path / "table2" / "vgg16", "image-level", fold, right, {"status": "ok", "seconds": 1.0})
    results = write_tables(load_table("table2"), tmp_path)
    lines = results[results["row"] == "vgg16"].set_index("protocol")
    assert list(lines.index) == ["paper", "image-level", "leak-free"]
    assert lines["leak_worth"].tolist() == pytest.approx([float("nan"), float("nan"), -50.0], nan_ok=True)
    assert lines.loc["leak-free", ["leak_worth_ci_low", "leak_worth_ci_high"]].tolist() == [-50.0, -50.0]
    header, *cells = markdown_lines((tmp_path / "table2.md").read_text(encoding="utf-8"))
    (vgg,) = [line for line in cells if len(line) > 4 and "87.50" in line[4]]
    place = header.index("the leak's worth: leak-free − image-level folds (95 % interval)")
    assert vgg[place] == "-50.00 (-50.00 to -50.00)"
    assert vgg[place + 1] == "-62.50"  # of 100 under the paper protocol: another difference
    lines = latex_lines((tmp_path / "table2.tex").read_text(encoding="utf-8"))
    assert {len(line) for line in lines} == {len(header)} == {11}
    title = lines[0][place].removeprefix(r"\shortstack{").removesuffix("}").replace(r" \\ ", " ")
    assert title == r"the leak's worth: leak-free $-$ image-level folds (95 \% interval)"
