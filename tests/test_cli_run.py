"""``mmdc-tf run``: what its options do, how it ends, and one run from end to end."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import PROJECT, ended, refused
from event_files import events
from full_disk import full_after

from mmdc_tf.cli import main
from mmdc_tf.commands import run as run_command
from mmdc_tf.commands.arguments import size
from mmdc_tf.experiments.plan import Plan
from mmdc_tf.experiments.rows import TABLES, load_table
from mmdc_tf.training.feature_store import CacheSettings

pytestmark = pytest.mark.usefixtures("small_phantoms")
PHANTOM = "phantom: not a reproduction"
CHEAP = "run --table 2 --rows metadata_only --image-size 32 --folds 2 --protocol paper --output"


@pytest.fixture
def plans(monkeypatch) -> list[Plan]:
    """Collects the plans instead of training them."""
    seen: list[Plan] = []
    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", lambda plan, *_, **__: seen.append(plan) or 0)
    return seen


def test_the_list_gives_every_row_with_its_numbers(capsys):
    _, out, _ = ended(capsys, "run", "--list")
    rows = [row for name in TABLES for row in load_table(name).rows]
    listed = [line for line in out.splitlines() if line.split()[0] in {row.name for row in rows}]
    assert len(listed) == len(rows) == 15 + 17 + 6 + 5 + 7
    for row, line in zip(rows, listed, strict=True):
        numbers = [f"{value:.2f}" for value in row.paper or ()]
        assert line.split()[: 1 + len(numbers)] == [row.name, *numbers]
        assert row.label in line
    paper, extra = ended(capsys, "run", "--list", "--table", "1")[1].split("\nextra")
    assert "bcdnet_gamma" in paper and "hog_svm" not in paper and "hog_svm" in extra and "mmdcnet" not in paper + extra


def test_the_script_is_the_same_command_from_any_folder(tmp_path, capsys):
    script = [sys.executable, str(PROJECT / "run_experiments.py"), "--list"]
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ended(capsys, "run", "--list")[1])


FACTS: dict[str, Callable[[Plan], Any]] = {
    "dataset": lambda plan: plan.dataset.info.name,
    "profile": lambda plan: (plan.profile.name, plan.profile.folds, plan.profile.recipe.image_size),
    "trained": lambda plan: (plan.profile.recipe.epochs, plan.profile.recipe.batch_size),
    "rows": lambda plan: tuple(row.name for row in plan.rows),
    "threshold": lambda plan: (plan.dataset.info.positive_class, plan.sensitivity),
    "images": lambda plan: len(plan.dataset.table),
}
ALL = ("paper", "image-level", "leak-free")
PLANS = {  # options → what they become; "DATA" is a folder in the layout of BUSI with one copy, OWN lists some of it
    "--table 1": {
        "dataset": "phantom-ultrasound", "preprocessing": "plain", "weights": "none", "protocols": ALL, "seeds": 1,
        "profile": ("quick", 2, 64), "rows": load_table("table1").first_rows, "tensorboard": "full",
        "cache": CacheSettings(Path("/cache/mmdc_tf/features"), 50 * 10**9), "precision": "float32", "cut": "auto",
        "output": Path("runs/phantom-ultrasound-quick"), "threshold": (None, 0.9),
    },
    "--table 1 --dataset-root DATA": {
        "dataset": "busi", "preprocessing": "plain", "weights": "imagenet", "protocols": ("paper", "leak-free"),
        "profile": ("full", 5, 224), "output": Path("runs/busi-full"), "images": 19, "near_twins": "keep",
    },
    "--table 2 --profile full --folds 3 --epochs 7 --batch-size 5 --image-size 96 --seeds 2 --protocol leak-free "
    "--rows vgg16,mmdcnet_beta --cut none --precision mixed_bfloat16": {
        "profile": ("full", 3, 96), "trained": (7, 5), "seeds": 2, "protocols": ("leak-free",), "cut": "none",
        "rows": ("vgg16", "mmdcnet_beta"), "precision": "mixed_bfloat16",
    },
    "--table 2 --recipe paper --cache-dir /mine --cache-limit 1.5GB": {
        "preprocessing": "paper", "cache": CacheSettings(Path("/mine"), 1_500_000_000),
    },
    "--table 2 --cache-dir none --devices all": {"preprocessing": "lesion-safe", "cache": None, "devices": "all"},
    "--table 1 --dataset-root DATA --near-twins one-per-cluster --sensitivity 0.8": {
        "images": 18, "near_twins": "one-per-cluster", "threshold": (None, 0.8),
    },
    "--table 1 --dataset-root DATA --dataset folder --folds 2": {"preprocessing": "plain", "threshold": (None, 0.9)},
    "--table 2 --dataset-root DATA --dataset folder --folds 2 --positive-class Benign": {
        "preprocessing": "lesion-safe", "threshold": ("benign", 0.9),
    },
}  # fmt: skip


@pytest.fixture
def data(busi) -> Path:
    """A copy of one image; and a table of the user's own, in which there are two classes."""
    (busi / "benign" / "benign (7).png").write_bytes((busi / "benign" / "benign (1).png").read_bytes())
    lines = [f"{n}{i},{n}/{n} ({i}).png,{n},p{n}{i}" for n in ("benign", "normal") for i in range(1, 7)]
    (busi / "samples.csv").write_text("\n".join(["sample_id,image_path,label,patient_id", *lines]))
    return busi


@pytest.mark.parametrize("options", PLANS)
def test_what_options_become(options, data, plans, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    code, out, _ = ended(capsys, "run", *options.replace("DATA", str(data)).split())
    assert code == 0
    (plan,) = plans
    expected = PLANS[options]
    assert {name: FACTS.get(name, lambda one, name=name: getattr(one, name))(plan) for name in expected} == expected
    assert (PHANTOM in out) == ("DATA" not in options)
    assert ("no decision; name it with --positive-class" in out) == (options.endswith("--dataset folder --folds 2"))
    assert "tensorboard" not in plan.shared_config()  # so that a run may continue with another


def test_where_trainings_run(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", lambda *_, executor, **__: given.append(executor) or 1)
    cluster = "--executor ray --task-cpus 3 --task-gpus 0.5"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    for options in ("", "--jobs 2", cluster):
        assert main([*CHEAP.split(), str(tmp_path), *options.split()]) == 1  # a row that failed
    here, processes, ray = given
    # the fields of datasets.jobs.Executor
    assert (here.processes, processes.processes) == (1, 2) and not here.ray and not processes.ray
    assert (ray.ray, ray.address, ray.cpus, ray.gpus) == (True, "head:6379", 3, 0.5)


def test_sizes():
    known = {"20GB": 2 * 10**10, "1.5 GiB": 1_610_612_736, "2kb": 2000, "700": 700, "8B": 8, "None": None}
    assert {text: size(text) for text in known} == known
    for text in ("", "GB", "-1GB", "0", "0.5B", "inf", "nan", "1.2.3GB"):
        with pytest.raises(ArgumentTypeError, match="expected a size such as 20GB, 500MiB or none, received"):
            size(text)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command continues where it stopped"),
        (KeyError("age"), 70, "internal error: KeyError: 'age'. Please report it, with what --debug prints."),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/h.csv"), 2, "Received: out/h.csv (No space left on d"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "out/h.csv"), 2, "Make it readable and writable for this"),
    ],
)
def test_how_it_ends(error, code, line, shared_output, monkeypatch, capsys):
    def run_trainings(*_, **__):
        raise error

    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", run_trainings)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    found, _, said = ended(capsys, *CHEAP.split(), shared_output)
    assert found == code and line in said and said.count("\n") == 1
    assert ("Traceback" in ended(capsys, *CHEAP.split(), shared_output, "--debug")[2]) == (code != 130)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(capsys, busi, tmp_path, content):
    broken = busi / "malignant" / "malignant (3).png"
    broken.write_bytes(content)
    assert str(broken) in refused(capsys, "run", "--table", "1", "--dataset-root", busi, "--output", tmp_path / "out")
    assert not (tmp_path / "out" / "table1").exists()


def fail_to_download(*_, **__):
    raise Exception("URL fetch failure on https://example.org/x.h5: None -- [Errno -2] Name or\nservice not known")


LATER = {
    "--table 2 --rows vgg16 --folds 1": ["at least 2 folds. Received: folds=1"],
    "--table 2 --rows vgg16 --weights imagenet": ["ImageNet weights of vgg16", "service not known", "--weights none"],
    "--table 1 --rows bcdnet_gamma --folds 2 --dataset-root DATA": ["ImageNet weights of vgg16", "--weights DIR"],
    "--table 1 --without-images --dataset-root DATA --dataset folder": [
        "Expected rows that take no image with --without-images. Received: row="
    ],
    "--table 1 --folds 2 --dataset-root DATA --dataset folder --positive-class Benin": [
        "benign, normal. Received: positive_class='Benin'. Did you mean 'benign'?"
    ],
}


@pytest.mark.parametrize("options", LATER)
def test_what_is_refused_later_is_one_line_too(options, data, shared_output, monkeypatch, capsys):
    import keras

    monkeypatch.setattr(keras.utils, "get_file", fail_to_download)
    error = refused(capsys, "run", *options.replace("DATA", str(data)).split(), "--output", shared_output)
    assert all(message in error for message in LATER[options])
    assert not (shared_output / "table1").exists()  # so that the same command with --weights none is not refused


def test_a_fresh_process_says_one_line_although_tensorflow_talks(tmp_path):
    """On the real error stream, where TensorFlow's native code writes as well."""
    options = "--table 2 --rows vgg16 --cut pool4_pool --image-size 32 --output out"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, str(PROJECT / "run_experiments.py"), *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "Received: cut='pool4_pool'" in done.stderr and "block3_pool" in done.stderr


def test_a_disk_that_is_full_at_any_file_ends_it_and_the_same_command_goes_on(tmp_path, capsys):
    predictions = {}
    for place, steps in (("whole", ()), ("refused", (1, 30, 60, 75))):
        output = tmp_path / place
        for files in steps:
            with full_after(files, output) as refused_files:
                code, _, error = ended(capsys, *CHEAP.split(), output)
            assert bool(refused_files) == (code == 2)
            assert error.count("\n") == (code == 2) and ("(No space left on device)" in error) == (code == 2)
        assert ended(capsys, *CHEAP.split(), output)[0] == 0
        predictions[place] = {path.name: path.read_bytes() for path in output.rglob("*predictions*.csv")}
    assert predictions["whole"] == predictions["refused"] != {}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Iterator[Path]:
    """A whole phantom run of one cheap row; its models are large and are removed afterwards."""
    output = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_command, "PHANTOM_PATIENTS", 12)
        assert main(["run", *RERUN.split(), "1", "--output", str(output)]) == 0
    yield output
    shutil.rmtree(output)


RERUN = "--table 2 --rows vgg16 --protocol both --image-size 32 --folds 2 --epochs"


def test_a_run_from_end_to_end_writes_its_tables(finished):
    names = {path.name for path in finished.iterdir()} - {".table2.lock"}
    kinds = ("details.md", "classes.csv", "levels.csv", "subgroups.csv", "calibration.csv", "reliability.png")
    written = {f"table2_{name}" for name in (*kinds, "decision.png")}  # vgg16 takes no metadata: no table of it
    tables = {"phantom-mammogram", "table2", "table2.csv", "table2.md", "table2.tex"}
    assert names == tables | written | {"report.html", "figures", "checklist.md", "checklist.csv"}
    table = pd.read_csv(finished / "table2.csv").set_index(["row", "protocol"])
    ok = table[table["status"] == "ok"]
    assert len(table) == 34 and set(ok.index) == {("vgg16", "paper"), ("vgg16", "leak-free")}
    assert set(table["status"]) == {"ok", "not run"}
    assert ok.loc[("vgg16", "paper"), ["n_samples", "folds"]].tolist() == [10, 1]
    assert ok.loc[("vgg16", "leak-free"), ["n_samples", "n_groups", "folds"]].tolist() == [48, 12, 2]
    assert ok["accuracy_ci_low"].between(0, ok["accuracy_ci_high"]).all() and ok["accuracy_ci_high"].max() <= 100
    assert table["label"].str.contains(PHANTOM).all()
    for name in ("table2.md", "table2.tex", "table2_details.md", "table2_levels.csv", "table2_subgroups.csv"):
        assert PHANTOM in (finished / name).read_text(encoding="utf-8"), name


def test_tensorboard_shows_its_test_parts(finished):
    tags = events(finished / "table2" / "vgg16" / "paper" / "tb").Tags()["tensors"]
    assert {"test/accuracy (%)", "test/cancer/pr_curves", "test/confusion matrix"} <= set(tags)
    assert "_hparams_/session_start_info" in tags


def test_it_ends_with_a_report_that_names_its_command(finished):
    (command,) = json.loads((finished / "table2" / "commands.json").read_text(encoding="utf-8"))["commands"]
    assert command["command"].startswith("mmdc-tf run --table 2 --rows vgg16 ")
    assert command["dataset_root"] == str(finished / "phantom-mammogram")
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert all(part in text for part in (command["command"], "Examples: VGG16, the paper", PHANTOM))


def test_the_same_command_trains_nothing_and_ends_for_people(finished, capsys):
    models = {path: path.stat().st_mtime_ns for path in finished.rglob("model.keras")}
    assert len(models) == 3
    code, out, _ = ended(capsys, "run", *RERUN.split(), "1", "--output", finished)
    assert code == 0 and {path: path.stat().st_mtime_ns for path in finished.rglob("model.keras")} == models
    assert "3 of 3 trainings already finished" in out
    *_, end = out.partition(f"Table II: performance on phantom-mammogram ({PHANTOM})")
    table, conclusion, *_, last = end.strip().split("\n\n")
    assert [line[:8].strip() for line in table.splitlines()] == ["accuracy", "VGG16"]
    assert "95 % interval" in table and "not run" not in out
    assert "Best leak-free accuracy: VGG16, " in conclusion
    _, report, _, *commands = last.splitlines()
    assert report == f"report: {finished / 'report.html'}"
    explain, tensorboard = (shlex.split(line) for line in commands)
    assert tensorboard[1:] == ["--logdir", str(finished)]
    assert main(explain[1:]) == 0
    assert list((finished / "heatmaps").glob("*.heatmap.png"))
    shutil.rmtree(finished / "heatmaps")


def test_another_option_for_the_same_folder_is_refused(finished, capsys):
    error = refused(capsys, "run", *RERUN.split(), "2", "--output", finished)
    assert "training.epochs: 1 → 2" in error and "--fresh" in error
