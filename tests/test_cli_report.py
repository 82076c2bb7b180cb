"""``mmdc-tf report`` on a small finished run, from the saved model to the heatmaps on the page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import refused
from parsed_page import Page
from saved_training import write_saved_training

from mmdc_tf.cli import main
from mmdc_tf.commands.report import write_after_run
from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.experiments.run_folder import remember_command, write_samples

PHANTOM = "phantom: not a reproduction"
FUSED = {"backbone": "tiny", "conv_filters": 8, "grid": 2}
MADE: dict[str, Path] = {}


def make(output: Path) -> None:
    """A finished row, leak-free, two folds, on phantoms of 12 patients in the run's folder."""
    dataset = phantom_mammograms(output / "phantom-mammogram", patients=12, height=64, seed=1)
    write_saved_training(output / "table2", dataset, "mmdcnet_beta", "mmdcnet", "leak-free", **FUSED)
    write_samples(dataset, output / "table2")
    remember_command(output / "table2", "mmdc-tf run --table 2", dataset.root)


@pytest.fixture
def run(tiny_backbone, tmp_path_factory, tmp_path) -> Path:
    """A copy of the run, to be changed."""
    if "run" not in MADE:
        MADE["run"] = tmp_path_factory.mktemp("made") / "run"
        make(MADE["run"])
    return shutil.copytree(MADE["run"], tmp_path / "run")


@pytest.fixture
def without_figures(monkeypatch) -> None:
    """For what does not look at them: they take most of the time."""
    monkeypatch.setattr("mmdc_tf.report.html.table_pictures", lambda *arguments: [])


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_examples_are_right_and_wrong_as_the_predictions_say_and_have_heatmaps(run, capsys):
    assert main(["report", str(run), "--examples", "2"]) == 0
    out = capsys.readouterr().out
    assert f"written: {run / 'report.html'}, {run / 'figures'}" in out
    assert "Research use only" in out
    page = page_of(run)
    predictions = pd.read_csv(run / "table2/mmdcnet_beta/leak-free/fold0-seed0/predictions.csv")
    is_right = predictions["y_true"] == predictions["y_pred"]
    rights, wrongs = (min(2, predictions.loc[part, "group_id"].nunique()) for part in (is_right, ~is_right))
    wanted = rights + wrongs
    shown = [one["class"] for one in page.attributes("div") if one.get("class") in ("example", "example wrong")]
    assert len(shown) == wanted
    assert shown.count("example wrong") == wrongs
    pictures = [one for one in page.attributes("img") if one["src"].startswith("data:image/jpeg")]
    kinds = ("preprocessed image", "Grad-CAM", "fusion, by the clinical token", "fusion, by the image tokens")
    assert len(pictures) == wanted * len(kinds)
    assert {one["alt"].split(": ")[1] for one in pictures} == set(kinds)
    assert f"{is_right.sum()} of {len(predictions)} test images right" in page.text
    names = {one["alt"].split(": ")[0] for one in pictures}
    assert names <= set(predictions["sample_id"])
    assert PHANTOM in page.text
    assert "confidential" not in page.text
    assert "mmdc-tf run --table 2" in page.text
    assert f"--dataset mini-ddsm --root {run / 'phantom-mammogram'}" in page.text


def test_images_of_patients_make_the_page_confidential(run, without_figures, monkeypatch):
    """The run says that its data are real; they are found where its last command found them."""
    dataset, asked = phantom_mammograms(run / "phantom-mammogram", patients=12, height=64, seed=1), []
    facts = run / "table2" / "run.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "synthetic": False, "dataset": "mini-ddsm"}))
    monkeypatch.setattr(
        "mmdc_tf.commands.report.dataset_of_run", lambda *arguments: asked.append(arguments[2:]) or dataset
    )
    assert main(["report", str(run), "--examples", "1"]) == 0
    text = page_of(run).text
    assert text.count("This page shows images of the dataset: it is as confidential as the dataset itself.") == 2
    assert PHANTOM not in text
    assert main(["report", str(run), "--examples", "1", "--dataset-root", str(run), "--dataset", "folder"]) == 0
    root = Path(json.loads((run / "table2" / "commands.json").read_text())["commands"][-1]["dataset_root"])
    assert root.name == "phantom-mammogram"
    assert asked == [(root, None), (run, "folder")]
    assert main(["report", str(run), "--examples", "0"]) == 0
    assert "confidential" not in page_of(run).text


def test_images_that_are_gone_are_a_sentence(run, without_figures, capsys):
    shutil.rmtree(run / "phantom-mammogram")
    assert main(["report", str(run)]) == 0
    assert "note: table2: no examples: Expected the run's phantom" in capsys.readouterr().out
    assert "No examples are shown. Expected the run's phantom" in page_of(run).text


def test_another_folder_and_no_examples(run, without_figures, tmp_path):
    before = set(run.rglob("*"))
    assert main(["report", str(run), "--examples", "0", "--output", str(tmp_path / "elsewhere")]) == 0
    assert set(run.rglob("*")) == before
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["report.html"]
    assert "Examples" not in page_of(tmp_path / "elsewhere").text


def test_after_a_run_a_failure_is_one_line(run, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no\nway")

    dataset = phantom_mammograms(run / "phantom-mammogram", patients=12, height=64, seed=1)
    monkeypatch.setattr("mmdc_tf.report.html.write_report", broken)
    line = f"note: no report (RuntimeError: no way); try mmdc-tf report {run}"
    assert write_after_run(run, "table2", dataset) == (None, [line])
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--examples", "-1"], "received '-1'"),
        (["--dataset-root", "nowhere"], "root='nowhere' (no such folder)"),
        (["--output", "/dev/null/out"], "/dev/null/out"),
    ],
)
def test_bad_options_are_one_line(run, capsys, options, message):
    assert message in refused(capsys, "report", run, *options)
    assert not (run / "report.html").exists()


def test_what_is_no_run_is_one_line(tmp_path, capsys):
    assert "Received: RUN='nowhere' (absent)" in refused(capsys, "report", "nowhere")
    assert f"RUN={str(tmp_path)!r}" in refused(capsys, "report", tmp_path)
    (tmp_path / "table1").mkdir()
    (tmp_path / "table1" / "run.json").write_text("{")
    assert "table1/run.json" in refused(capsys, "report", tmp_path, "--examples", "0")


def test_without_examples_it_needs_no_tensorflow(run):
    code = "import sys\nfrom mmdc_tf.cli import main\nfrom mmdc_tf.report import html\n"
    code += "html.table_pictures = lambda *arguments: []  # drawing takes long\nmain(sys.argv[1:])\n"
    code += "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    arguments = ["report", str(run), "--examples", "0"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
