"""The pages and files behind a table, from a hand-made run folder."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from made_up_run import PHANTOM, write_run_file, write_training

from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import load_table
from mmdc_tf.report.details import write_details

TABLE = load_table("table2")
# Two patients a fold, two views each of one breast: sample, patient, fold, label, age, view.
SAMPLES = [
    ("P1", "P", 0, "benign", 35, "CC"),
    ("P2", "P", 0, "benign", 35, "MLO"),
    ("Q1", "Q", 0, "cancer", 72, "CC"),
    ("Q2", "Q", 0, "cancer", 72, "MLO"),
    ("R1", "R", 1, "benign", 35, "CC"),
    ("R2", "R", 1, "benign", 35, "MLO"),
    ("S1", "S", 1, "cancer", None, "CC"),
    ("S2", "S", 1, "cancer", None, "MLO"),
]
# Probability of cancer. VGG16: P1 and S2 are wrong; by patient P is benign (0.4) and S benign too (0.4).
VGG16 = {"P1": 0.6, "P2": 0.2, "Q1": 0.9, "Q2": 0.8, "R1": 0.1, "R2": 0.3, "S1": 0.7, "S2": 0.1}
SURE = {name: float(label == "cancer") for name, _, _, label, _, _ in SAMPLES}


def write_samples_file(folder: Path, **changes) -> None:
    columns = ["sample_id", "patient_id", "fold", "label", "age", "view"]
    table = pd.DataFrame(SAMPLES, columns=columns).assign(density=None, side="LEFT", digitizer="")
    table = table.assign(group_id=table["patient_id"]).assign(**changes)
    names = ["sample_id", "patient_id", "group_id", "label", "age", "density", "view", "side", "digitizer"]
    table[names].to_csv(folder / "samples.csv", index=False)


def write_row(folder: Path, row: str, protocol: str, cancer: dict[str, float], patients: bool = True) -> None:
    for fold in {"paper": (0,), "leak-free": (0, 1)}[protocol]:
        lines = [
            (sample, patient if patients else "", patient, fold, 0, label, guess, 1 - p, p)
            for sample, patient, part, label, _, _ in SAMPLES
            if part == fold and (p := cancer[sample]) is not None
            for guess in ["cancer" if p > 0.5 else "benign"]
        ]
        header = ["sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred", "p_benign", "p_cancer"]
        write_training(folder / row / protocol / f"fold{fold}-seed0", pd.DataFrame(lines, columns=header))


def write(output: Path) -> None:
    write_details(TABLE, output, table_results(TABLE, output / "table2"))


def make_run(output: Path, samples: bool = True, patients: bool = True, **run) -> Path:
    folder = output / "table2"
    write_run_file(folder, **run)
    write_row(folder, "vgg16", "leak-free", VGG16, patients)
    write_row(folder, "vgg16", "paper", SURE, patients)
    write_row(folder, "mmdcnet_gamma", "leak-free", SURE, patients)
    if samples:
        write_samples_file(folder)
    return output


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    output = make_run(tmp_path_factory.mktemp("run"))
    write(output)
    return output


def page_of(output: Path) -> str:
    return (output / "table2_details.md").read_text(encoding="utf-8")


def csv_of(output: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(output / f"table2_{name}.csv", keep_default_na=False)


def grid_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, header first, without the rule."""
    below = page.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line.strip("|").split("|") for line in below.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert set("".join(cells[1])) <= set("-:")
    assert len({len(line) for line in cells}) == 1
    return [cells[0], *cells[2:]]


def test_four_files_and_the_sections_in_order(written):
    names = ["classes.csv", "details.md", "levels.csv", "subgroups.csv"]
    assert sorted(path.name for path in written.glob("table2_*")) == [f"table2_{name}" for name in names]
    assert re.findall(r"^##? (.*)", page_of(written), flags=re.MULTILINE) == [
        "Table II: performance on Mini-DDSM: details",
        "Statistics",
        "By class",
        "By breast and patient",
        "By subgroup",
    ]


def test_a_phantom_is_called_one_in_every_file_and_real_data_are_not(written, tmp_path):
    assert PHANTOM in page_of(written) and "Research use only, not a medical device." in page_of(written)
    for name in ("classes", "levels", "subgroups"):
        assert csv_of(written, name)["label"].str.endswith(f" ({PHANTOM})").all()
    write(make_run(tmp_path, dataset="mini-ddsm", synthetic=False))
    assert "phantom" not in page_of(tmp_path)
    assert set(csv_of(tmp_path, "levels")["label"]) == {"VGG16", "MMDCNet γ (VGG16)"}


def test_levels_worked_by_hand(written):
    """VGG16: 3 of 4 images right in each fold; by patient 2 of 2 and 1 of 2. Four patients, one breast each."""
    levels = csv_of(written, "levels").set_index(["row", "protocol", "level"]).sort_index()
    free = levels.loc[("vgg16", "leak-free")]
    assert free["n_units"].to_dict() == {"image": 8, "breast": 4, "patient": 4}
    assert free["accuracy"].to_dict() == {"image": 75, "breast": 75, "patient": 75}
    assert free.loc[["image", "patient"], "accuracy_std"].astype(float).tolist() == pytest.approx([0, 35.36])
    assert float(free.loc["patient", "auc"]) == 1
    assert levels.loc[("vgg16", "paper"), "accuracy"].to_dict() == {"image": 100, "breast": 100, "patient": 100}
    header, *lines = grid_of(page_of(written), "## By breast and patient")
    assert header == ["Method", "Source", "Images (n = 8)", "Breasts (n = 4)", "Patients (n = 4)"]
    assert [line[0] for line in lines] == ["VGG16", "MMDCNet γ (VGG16)"]
    assert lines[0][4].startswith("75.0 (")
    # of the two patients of a fold one is drawn, alone in her class: no draw has an AUC
    assert lines[1][4] == "100.0 (100.0–100.0), AUC 1.000"


def test_the_image_level_is_the_tables_own_result(written):
    own = table_results(TABLE, written / "table2").query("row == 'vgg16' and protocol == 'leak-free'").iloc[0]
    levels = csv_of(written, "levels").set_index(["row", "protocol", "level"]).loc[("vgg16", "leak-free", "image")]
    for name in ("accuracy", "accuracy_ci_low", "accuracy_ci_high", "accuracy_std", "precision", "recall", "f1"):
        assert float(levels[name]) == pytest.approx(own[name], abs=0.005)


def test_classes_on_the_page(written):
    """VGG16, fold 0, b b c c against c b c c: b 1, 1/2, 2/3 and c 2/3, 1, 4/5; fold 1 the other way round."""
    header, *lines = grid_of(page_of(written), "## By class")
    assert header[2:] == ["benign (n = 4)", "cancer (n = 4)"]
    assert lines[0][2:] == ["83.3 / 75.0 / 73.3", "83.3 / 75.0 / 73.3"]
    assert lines[1][2:] == ["100.0 / 100.0 / 100.0"] * 2


def test_one_table_a_kind_of_subgroup(written):
    header, counts, *lines = grid_of(page_of(written), "### Age in years")
    assert header[2:] == [
        r"\<40 (n = 4; one class only; few)",
        "70+ (n = 2; one class only; few)",
        "unknown (n = 2; one class only; few)",
    ]
    assert counts == ["Images: benign / cancer", "", "4 / 0", "0 / 2", "0 / 2"]
    assert [line[2:] for line in lines] == [
        ["75.0 (50.0–100.0)", "100.0", "50.0"],
        ["100.0 (100.0–100.0)", "100.0", "100.0"],
    ]
    header, counts, *lines = grid_of(page_of(written), "### View")
    assert header[2:] == ["CC (n = 4; few)", "MLO (n = 4; few)"]
    assert "Not known in this dataset: Breast density (BI-RADS); Site" in page_of(written)


def test_statistics_are_those_of_the_results(tmp_path):
    output = make_run(tmp_path)
    results = table_results(TABLE, output / "table2").set_index(["row", "protocol"])
    for place, name in enumerate(("balanced_accuracy", "auc", "kappa", "brier", "ece")):
        columns = [name, f"{name}_ci_low", f"{name}_ci_high"]
        results.loc[("vgg16", "leak-free"), columns] = [0.5 + place, 0.25 + place, 0.75 + place]
    write_details(TABLE, output, results.reset_index())
    header, line, _ = grid_of(page_of(output), "## Statistics")
    titles = ["Balanced accuracy", "AUC, one against rest", "Cohen's kappa", "Brier score", "Calibration error"]
    assert header[2:] == titles
    plain = [f"{place}.500 ({place}.250–{place}.750)" for place in (1, 2, 3, 4)]
    assert line == ["VGG16", "the paper", "0.5 (0.2–0.8)", *plain]


def test_a_run_of_an_older_version_says_what_is_left_out(tmp_path):
    write(make_run(tmp_path, samples=False))
    page = page_of(tmp_path)
    assert "this run has no samples.csv" in page and "## By class" in page
    assert "## By breast" not in page and "## By subgroup" not in page
    assert [path.name for path in tmp_path.glob("*.csv")] == ["table2_classes.csv"]


@pytest.mark.parametrize(
    ("changes", "said", "not_said"),
    [
        (
            {"patient_id": "", "age": None, "view": "", "side": ""},
            [
                "Breasts: not named in this dataset.",
                "Patients: not named in this dataset.",
                "Not known in this dataset: Age in years; Breast density (BI-RADS); View; Side; Site",
            ],
            "### ",
        ),
        (
            {"side": ["", "LEFT", *["RIGHT"] * 6]},
            ["Breasts: images of unknown patient or side, left out: 1."],
            "Patients: images",
        ),
    ],
)
def test_what_the_dataset_does_not_name_is_said(tmp_path, changes, said, not_said):
    output = make_run(tmp_path, patients="patient_id" not in changes)
    write_samples_file(output / "table2", **changes)
    write(output)
    page = page_of(output)
    assert all(text in page for text in said) and not_said not in page


def test_before_a_leak_free_result_there_is_a_page_and_the_numbers_are_in_the_files(tmp_path):
    write(tmp_path)
    assert "No row has a finished leak-free result." in page_of(tmp_path)
    assert [path.name for path in tmp_path.glob("table2_*")] == ["table2_details.md"]
    for place in make_run(tmp_path).glob("table2/*/leak-free"):
        place.rename(place.with_name("elsewhere"))
    write(tmp_path)
    assert "No row has a finished leak-free result." in page_of(tmp_path)
    assert set(csv_of(tmp_path, "levels")["protocol"]) == {"paper"}
