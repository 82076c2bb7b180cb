"""``mmdc-tf compare``, ``report`` and ``robustness``: what is made from a finished run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import made_up_backbone
import pandas as pd
import pytest
from command_line import ended, refused
from made_up_run import PHANTOM, write_row, write_run_file
from parsed_page import Page
from saved_training import shift_probabilities, write_saved_training

from mmdc_tf.cli import main
from mmdc_tf.commands.report import write_after_run
from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.experiments.run_folder import remember_command, write_samples

PERFECT, FAR = ["1" * 20, "1" * 20], ["1" * 20, "0" * 20]
COLUMNS = (
    "row,baseline,n_samples,n_groups,accuracy,baseline_accuracy,difference,ci_low,ci_high,"
    "only_row_right,only_baseline_right,mcnemar_p,holm_p,distinguishable,protocol,note"
)

# compare


@pytest.fixture
def output(tmp_path) -> Path:
    """Table II with three finished rows and a begun one; of two rows the paper's protocol; a table of real data."""
    write_run_file(tmp_path / "table2")
    for row, folds in {"vgg16": FAR, "densenet201": PERFECT, "mmdcnet_beta": PERFECT}.items():
        write_row(tmp_path / "table2", row, folds)
    write_row(tmp_path / "table2", "efficientnetb0", PERFECT, status={"status": "running"})
    for row, folds in {"vgg16": FAR, "densenet201": PERFECT}.items():
        write_row(tmp_path / "table2", row, folds[:1], protocol="paper")
    write_run_file(tmp_path / "table1", dataset="busi", synthetic=False)
    for row, folds in {"bcdnet_alpha": PERFECT, "bcdnet_beta": FAR}.items():
        write_row(tmp_path / "table1", row, folds)
    return tmp_path


def test_the_rows_are_compared_and_written(output, capsys):
    """vgg16 is wrong in the 20 samples of fold 1: p = 2 · 2⁻²⁰, times 2; every draw of that fold differs by 1."""
    code, out, _ = ended(capsys, "compare", output, "--baseline", "densenet201")
    text = (output / "table2-compare-densenet201.md").read_text(encoding="utf-8")
    lines = pd.read_csv(output / "table2-compare-densenet201.csv")
    assert code == 0 and text in out and ",".join(lines) == COLUMNS
    assert lines["row"].tolist() == ["vgg16", "mmdcnet_beta"]
    vgg16 = lines.iloc[0].to_dict()
    assert (vgg16["n_samples"], vgg16["n_groups"]) == (40, 20)
    assert (vgg16["accuracy"], vgg16["baseline_accuracy"]) == (50, 100)
    assert vgg16["difference"] == vgg16["ci_low"] == vgg16["ci_high"] == -50
    assert (vgg16["only_row_right"], vgg16["only_baseline_right"]) == (0, 20)
    assert vgg16["mcnemar_p"] == pytest.approx(2**-19, rel=1e-4)
    assert vgg16["holm_p"] == pytest.approx(2**-18, rel=1e-4)
    assert lines["distinguishable"].tolist() == [True, False] and set(lines["note"]) == {PHANTOM}
    for part in ("-50.00 (-50.00 to -50.00)", "McNemar's test takes images as independent", PHANTOM, "Research use"):
        assert part in text
    assert "Left out: efficientnetb0 (incomplete: 1 of 2 folds)." in out
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert len({tuple(i for i, letter in enumerate(line) if letter == "|") for line in table}) == 1


def test_real_data_are_not_called_a_phantom_and_a_tables_folder_is_enough(output, capsys, monkeypatch):
    monkeypatch.chdir(output / "table1")
    code, out, _ = ended(capsys, "compare", ".", "--baseline", "bcdnet_alpha", "--rows", "bcdnet_beta")
    assert code == 0 and "phantom" not in out and not list(output.glob("table2-compare*"))
    lines = pd.read_csv(output / "table1-compare-bcdnet_alpha.csv", keep_default_na=False)
    assert lines[["row", "note"]].to_numpy().tolist() == [["bcdnet_beta", ""]]


def test_both_protocols_for_programs_and_all_tables_that_have_the_baseline(output, capsys):
    write_run_file(output / "figure3")
    for row in ("densenet201", "m1"):
        write_row(output / "figure3", row, PERFECT)
    _, out, _ = ended(capsys, "compare", output, "--baseline", "densenet201", "--protocol", "both", "--json")
    content = {one["table"]: one for one in json.loads(out)}
    assert set(content) == {"table2", "figure3"} and all(PHANTOM in one["note"] for one in content.values())
    free, paper = content["table2"]["comparisons"]
    assert (free["protocol"], paper["protocol"]) == ("leak-free", "paper")
    assert [line["row"] for line in free["rows"]] == ["vgg16", "mmdcnet_beta"]
    assert free["left_out"] == {"efficientnetb0": "incomplete: 1 of 2 folds"}
    (line,) = paper["rows"]
    assert (line["n_samples"], line["difference"], line["distinguishable"]) == (20, 0.0, False)
    assert paper["left_out"] == {"efficientnetb0": "not run", "mmdcnet_beta": "not run"}


# report


def phantom(output: Path):
    return phantom_mammograms(output / "phantom-mammogram", patients=12, height=64, seed=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A finished row, leak-free, two folds, on phantoms of 12 patients in the run's folder."""
    output = tmp_path_factory.mktemp("made") / "run"
    dataset = phantom(output)
    with made_up_backbone.registered() as backbone:
        fused = {"backbone": backbone, "conv_filters": 8, "grid": 2}
        write_saved_training(output / "table2", dataset, "mmdcnet_beta", "mmdcnet", "leak-free", **fused)
    write_samples(dataset, output / "table2")
    remember_command(output / "table2", "mmdc-tf run --table 2", dataset.root)
    return output


@pytest.fixture
def run(made, tiny_backbone, tmp_path) -> Path:
    """A copy of the run, to be changed."""
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture
def without_figures(monkeypatch) -> None:
    """For what does not look at them: they take most of the time."""
    monkeypatch.setattr("mmdc_tf.report.html.table_pictures", lambda *arguments: [])


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def change_facts(run: Path, **changes: object) -> dict:
    """What ``run.json`` said before; None removes a fact."""
    path = run / "table2" / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in {**facts, **changes}.items() if value is not None}))
    return facts


def test_examples_are_right_and_wrong_as_the_predictions_say_and_have_heatmaps(run, capsys):
    code, out, _ = ended(capsys, "report", run, "--examples", "2")
    assert code == 0 and f"written: {run / 'report.html'}, {run / 'figures'}" in out and "Research use only" in out
    page = page_of(run)
    predictions = pd.read_csv(run / "table2/mmdcnet_beta/leak-free/fold0-seed0/predictions.csv")
    is_right = predictions["y_true"] == predictions["y_pred"]
    rights, wrongs = (min(2, predictions.loc[part, "group_id"].nunique()) for part in (is_right, ~is_right))
    shown = [one["class"] for one in page.attributes("div") if one.get("class") in ("example", "example wrong")]
    assert len(shown) == rights + wrongs and shown.count("example wrong") == wrongs
    pictures = [one for one in page.attributes("img") if one["src"].startswith("data:image/jpeg")]
    kinds = ("preprocessed image", "Grad-CAM", "fusion, by the clinical token", "fusion, by the image tokens")
    assert len(pictures) == len(shown) * len(kinds)
    assert {one["alt"].split(": ")[1] for one in pictures} == set(kinds)
    assert {one["alt"].split(": ")[0] for one in pictures} <= set(predictions["sample_id"])
    assert f"{is_right.sum()} of {len(predictions)} test images right" in page.text
    assert PHANTOM in page.text and "confidential" not in page.text and "mmdc-tf run --table 2" in page.text
    assert f"--dataset mini-ddsm --root {run / 'phantom-mammogram'}" in page.text


def test_images_of_patients_make_the_page_confidential(run, without_figures, monkeypatch):
    """The run says that its data are real; they are found where its last command found them."""
    dataset, asked = phantom(run), []
    change_facts(run, synthetic=False, dataset="mini-ddsm")
    monkeypatch.setattr("mmdc_tf.commands.report.dataset_of_run", lambda *given: asked.append(given[2:]) or dataset)
    assert main(["report", str(run), "--examples", "1"]) == 0
    text = page_of(run).text
    assert text.count("This page shows images of the dataset: it is as confidential as the dataset itself.") == 2
    assert PHANTOM not in text
    assert main(["report", str(run), "--examples", "1", "--dataset-root", str(run), "--dataset", "folder"]) == 0
    commands = json.loads((run / "table2" / "commands.json").read_text())["commands"]
    assert asked == [(Path(commands[-1]["dataset_root"]), None), (run, "folder")]
    assert main(["report", str(run), "--examples", "0"]) == 0
    assert "confidential" not in page_of(run).text


def test_images_that_are_gone_are_a_sentence(run, without_figures, capsys):
    shutil.rmtree(run / "phantom-mammogram")
    _, out, _ = ended(capsys, "report", run)
    assert "note: table2: no examples: Expected the run's phantom" in out
    assert "No examples are shown. Expected the run's phantom" in page_of(run).text


def test_another_folder_and_no_examples(run, without_figures, tmp_path):
    before, elsewhere = set(run.rglob("*")), tmp_path / "elsewhere"
    assert main(["report", str(run), "--examples", "0", "--output", str(elsewhere)]) == 0
    assert set(run.rglob("*")) == before and "Examples" not in page_of(elsewhere).text
    assert {path.name for path in elsewhere.iterdir()} == {"checklist.csv", "checklist.md", "report.html"}


def test_after_a_run_a_failure_is_one_line(run, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no\nway")

    monkeypatch.setattr("mmdc_tf.report.html.write_report", broken)
    line = f"note: no report (RuntimeError: no way); try mmdc-tf report {run}"
    assert write_after_run(run, "table2", phantom(run)) == [line]
    assert not (run / "report.html").exists()


# robustness


def test_a_phantom_run_needs_no_dataset_and_is_scored_once(run, capsys):
    """Also where the run is of a version that did not yet say how near-twins were treated."""
    change_facts(run, near_twins=None)
    code, out, _ = ended(capsys, "robustness", run)
    assert code == 0 and PHANTOM in out and "Research use only" in out
    assert "mmdcnet_beta leak-free fold0-seed0: clean " in out
    assert f"written: {run / 'table2'}_noise (.csv, .md, .png)" in out
    assert pd.read_csv(run / "table2_noise.csv")["row"].tolist() == ["mmdcnet_beta"] * 17
    files = list(run.rglob("predictions-noise.csv"))
    before = [path.stat().st_mtime_ns for path in files]
    assert "(scored before)" in ended(capsys, "robustness", run, "--rows", "mmdcnet_beta")[1]
    assert [path.stat().st_mtime_ns for path in files] == before and len(files) == 2


def test_predictions_that_do_not_come_again_end_with_exit_code_1(run, capsys):
    for place in (run / "table2" / "mmdcnet_beta" / "leak-free").iterdir():
        shift_probabilities(place, 0.01)
    code, out, _ = ended(capsys, "robustness", run)
    assert code == 1 and "The data or the code changed since the training" in out
    assert not list(run.glob("table2_noise*"))


def test_data_that_are_not_the_runs_are_refused(run, capsys):
    assert "none of the chosen rows" in refused(capsys, "robustness", run, "--protocol", "paper")
    before = change_facts(run, dataset_fingerprint="0" * 16)["dataset_fingerprint"]
    error = refused(capsys, "robustness", run)
    assert f"fingerprint {'0' * 16}" in error and before in error
    (run / "phantom-mammogram" / "phantom.json").unlink()
    assert "Expected the run's phantom in" in refused(capsys, "robustness", run)
    change_facts(run, synthetic=False, dataset="mini-ddsm")
    assert "Expected --dataset-root for a run made from mini-ddsm" in refused(capsys, "robustness", run)
    assert not list(run.rglob("predictions-noise.csv"))


def test_near_twins_are_treated_again_as_in_the_run(busi, tmp_path):
    """A run that keeps one image of each near-twin cluster: a small network, one epoch."""
    (busi / "benign" / "benign (7).png").write_bytes((busi / "benign" / "benign (1).png").read_bytes())
    what = f"run --table 1 --rows moon_vgg_like --near-twins one-per-cluster --dataset-root {busi} --weights none"
    how = f"--protocol paper --profile quick --image-size 32 --epochs 1 --output {tmp_path / 'out'}"
    assert main([*what.split(), *how.split()]) == 0
    assert json.loads((tmp_path / "out" / "table1" / "run.json").read_text())["near_twins"] == "one-per-cluster"
    assert len(pd.read_csv(tmp_path / "out" / "table1" / "samples.csv")) == 18
    assert main(["robustness", str(tmp_path / "out"), "--dataset-root", str(busi)]) == 0
    assert len(pd.read_csv(tmp_path / "out" / "table1_noise.csv")) == 17
