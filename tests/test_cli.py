"""The command line: what each option does, what each bad input says in one line, and one run from end to end."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmdc_tf import cli
from mmdc_tf.cli import main
from mmdc_tf.experiments.grid import Plan
from mmdc_tf.experiments.rows import load_table
from mmdc_tf.opencv import cv2

PROJECT = Path(__file__).parents[1]
PHANTOM = "phantom: not a reproduction"
IMPORTS = """
import sys
from mmdc_tf.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print("code", code, "imported", sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.fixture(autouse=True)
def small_phantoms(monkeypatch) -> None:
    monkeypatch.setattr(cli, "PHANTOM_PATIENTS", {"quick": 12, "full": 12})
    monkeypatch.setattr(cli, "PHANTOM_IMAGES", {"quick": 40, "full": 40})


@pytest.fixture(scope="module")
def shared_output(tmp_path_factory) -> Path:
    """An output folder for several runs, so that the phantom is drawn once."""
    return tmp_path_factory.mktemp("output")


@pytest.fixture
def busi(tmp_path) -> Path:
    """A folder in the layout of BUSI with six images of each class, no two alike."""
    rng = np.random.default_rng(0)
    for name in ("benign", "malignant", "normal"):
        for number in range(1, 7):
            path = tmp_path / "busi" / name / f"{name} ({number}).png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), rng.integers(0, 256, (40, 40), dtype=np.uint8))
    return tmp_path / "busi"


@pytest.fixture
def plans(monkeypatch) -> list[Plan]:
    """Collects the plans instead of training them."""
    seen: list[Plan] = []

    def run_cells(plan, cells, after_cell, fresh=False):
        seen.append(plan)
        return 0

    monkeypatch.setattr("mmdc_tf.experiments.runner.run_cells", run_cells)
    return seen


def refused(capsys, *arguments: str | Path) -> str:
    """The one line on the error stream of a command that ends with exit code 2."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("mmdc-tf")
    assert "Traceback" not in error
    return error


def test_the_list_gives_every_row_with_its_numbers(capsys):
    assert main(["run", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [row for number in (1, 2) for row in load_table(number).rows]
    listed = [line for line in lines if line.split()[0] in {row.name for row in rows}]
    assert len(listed) == len(rows) == 32
    for row, line in zip(rows, listed, strict=True):
        assert line.split()[:5] == [row.name, *(f"{value:.2f}" for value in row.paper)]
        assert row.label in line
        assert line.endswith("not built") == (row.model is None)


def test_the_list_of_one_table(capsys):
    assert main(["run", "--list", "--table", "1"]) == 0
    out = capsys.readouterr().out
    assert "bcdnet_alpha" in out
    assert "mmdcnet_alpha" not in out


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "--list"], ["--version"]])
def test_help_and_lists_come_without_tensorflow(arguments):
    done = subprocess.run([sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "code 0 imported []", done.stderr


def test_help_names_every_promised_option(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    text = capsys.readouterr().out
    promised = "table rows dataset-root protocol folds seeds profile image-size epochs batch-size weights output"
    for name in f"{promised} resume fresh list seed debug".split():
        assert f"--{name} " in text or f"--{name}\n" in text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--table", "3"], "--table"),
        (["--table", "2", "--epochs", "0"], "--epochs"),
        (["--table", "2", "--folds", "two"], "--folds"),
        (["--table", "2", "--image-size", "22.5"], "--image-size"),
        (["--table", "2", "--batch-size", "-4"], "--batch-size"),
        (["--table", "2", "--seeds", "0"], "--seeds"),
        (["--table", "2", "--seed", "-1"], "--seed"),
        (["--table", "2", "--protocol", "honest"], "--protocol"),
        (["--table", "2", "--profile", "huge"], "--profile"),
        (["--table", "2", "--dataset", "inbreast"], "--dataset"),
        (["--table", "2", "--resume", "--fresh"], "--fresh"),
        (["--tabel", "2"], "--tabel"),
        (["--table"], "--table"),
    ],
)
def test_a_bad_option_is_one_line(capsys, arguments, named):
    error = refused(capsys, "run", *arguments)
    assert named in error
    assert "--help" in error


@pytest.mark.parametrize("arguments", [[], ["train"], ["datasets"], ["datasets", "check"]])
def test_an_incomplete_command_is_one_line(capsys, arguments):
    refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected --table 1 or --table 2. Received: no table."),
        (["--table", "2", "--rows", "mmdcnet_alpa"], "Did you mean 'mmdcnet_alpha'?"),
        (["--table", "2", "--rows", "swin"], "Received: rows='swin'"),
        (["--table", "1", "--rows", "vgg16,swin"], "Received: rows='vgg16'"),
        (["--table", "1", "--rows", "swin"], "rows='swin', not built yet"),
        (["--table", "1", "--rows", ","], "Received: rows=''"),
        (["--table", "1", "--dataset", "busi"], "Expected --dataset-root together with --dataset."),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_written(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "run", *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("place", "state"), [("nowhere", "no such folder"), ("empty", "an empty"), ("file", "a file")])
@pytest.mark.parametrize("table", ["1", "2"])
def test_a_root_that_is_no_dataset_folder(capsys, tmp_path, table, place, state):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    root = tmp_path / place
    error = refused(capsys, "run", "--table", table, "--dataset-root", root, "--output", tmp_path / "out")
    assert f"root='{root}' ({state}" in error


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(capsys, busi, tmp_path, content):
    broken = busi / "malignant" / "malignant (3).png"
    broken.write_bytes(content)
    error = refused(capsys, "run", "--table", "1", "--dataset-root", busi, "--output", tmp_path / "out")
    assert str(broken) in error
    assert not (tmp_path / "out" / "table1").exists()


def test_an_output_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("x")
    error = refused(capsys, "run", "--table", "2", "--output", tmp_path / "file" / "below")
    assert f"Received: output={tmp_path}/file/below" in error


def test_one_fold_is_too_few(capsys, shared_output):
    error = refused(capsys, "run", "--table", "2", "--rows", "vgg16", "--folds", "1", "--output", shared_output)
    assert "at least 2 folds. Received: folds=1" in error


def test_a_weights_folder_without_the_file(capsys, shared_output, tmp_path):
    options = ["--rows", "vgg16", "--weights", tmp_path, "--output", shared_output]
    error = refused(capsys, "run", "--table", "2", *options)
    assert "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5" in error
    assert f"--weights {tmp_path}" in error
    assert "--weights none" in error


def fail_to_download(*_, **__):
    raise Exception("URL fetch failure on https://example.org/x.h5: None -- [Errno -2] Name or\nservice not known")


def test_imagenet_weights_that_cannot_be_had_are_no_silent_fall_back(capsys, shared_output, monkeypatch):
    import keras

    monkeypatch.setattr(keras.utils, "get_file", fail_to_download)
    options = ["--rows", "vgg16", "--weights", "imagenet", "--output", shared_output]
    error = refused(capsys, "run", "--table", "2", *options)
    assert "service not known" in error
    assert "--weights DIR" in error
    assert "--weights none" in error
    assert not (shared_output / "table2").exists()  # so that the same command with --weights none is not refused


def test_real_data_ask_for_imagenet_weights(capsys, busi, tmp_path, monkeypatch):
    import keras

    monkeypatch.setattr(keras.utils, "get_file", fail_to_download)
    options = ["--rows", "bcdnet_gamma", "--folds", "2", "--output", tmp_path / "out"]
    error = refused(capsys, "run", "--table", "1", "--dataset-root", busi, *options)
    assert "ImageNet weights of vgg16" in error


def test_a_cut_that_the_model_does_not_have(capsys, shared_output):
    options = ["--rows", "vgg16", "--cut", "pool4_pool", "--image-size", "32", "--output", shared_output]
    error = refused(capsys, "run", "--table", "2", *options)
    assert "Received: cut='pool4_pool'" in error
    assert "block3_pool" in error


def test_debug_shows_the_trace(capsys, tmp_path):
    assert main(["run", "--table", "1", "--dataset-root", str(tmp_path / "no"), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_says_how_to_go_on(capsys, shared_output, monkeypatch):
    def run_cells(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmdc_tf.experiments.runner.run_cells", run_cells)
    assert main(["run", "--table", "2", "--output", str(shared_output)]) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_a_failed_row_is_exit_code_1(shared_output, monkeypatch):
    monkeypatch.setattr("mmdc_tf.experiments.runner.run_cells", lambda *_, **__: 1)
    assert main(["run", "--table", "2", "--output", str(shared_output)]) == 1


def test_without_data_the_quick_profile_runs_on_the_phantom(capsys, tmp_path, monkeypatch, plans):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--table", "1"]) == 0
    (plan,) = plans
    assert (plan.dataset.info.name, plan.preprocessing, plan.weights) == ("phantom-ultrasound", "ultrasound", "none")
    assert (plan.profile.name, plan.protocols, plan.seeds) == ("quick", ("paper", "leak-free"), 1)
    assert [row.name for row in plan.rows] == ["bcdnet_alpha", "bcdnet_beta", "bcdnet_gamma"]
    assert plan.output == Path("runs/phantom-ultrasound-quick")
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"note: {PHANTOM}"


def test_real_data_run_in_full(capsys, busi, tmp_path, monkeypatch, plans):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--table", "1", "--dataset-root", str(busi)]) == 0
    (plan,) = plans
    assert (plan.dataset.info.name, plan.preprocessing, plan.weights) == ("busi", "ultrasound", "imagenet")
    assert (plan.profile.name, plan.profile.folds, plan.profile.recipe.image_size) == ("full", 5, 224)
    assert plan.output == Path("runs/busi-full")
    out = capsys.readouterr().out
    assert "phantom" not in out
    assert "expected 437 benign" in out


def test_options_override_the_profile(shared_output, plans):
    options = "--profile full --folds 3 --epochs 7 --batch-size 5 --image-size 96 --seeds 2 --protocol leak-free"
    rows = ["--rows", "vgg16, mmdcnet_beta", "--weights", "some/folder", "--cut", "none"]
    assert main(["run", "--table", "2", *options.split(), *rows, "--output", str(shared_output)]) == 0
    (plan,) = plans
    recipe = plan.profile.recipe
    assert (plan.profile.folds, recipe.epochs, recipe.batch_size, recipe.image_size) == (3, 7, 5, 96)
    assert (plan.seeds, plan.protocols, plan.weights, plan.cut) == (2, ("leak-free",), "some/folder", "none")
    assert [row.name for row in plan.rows] == ["vgg16", "mmdcnet_beta"]


@pytest.mark.parametrize(("table", "recipe"), [("1", "ultrasound"), ("2", "paper")])
def test_a_users_own_folder_is_preprocessed_as_the_tables_images_are(busi, tmp_path, plans, table, recipe):
    """Otsu and contours are specified for mammograms only."""
    lines = [f"{n}{i},{n}/{n} ({i}).png,{n},p{n}{i}" for n in ("benign", "normal") for i in range(1, 7)]
    (busi / "samples.csv").write_text("\n".join(["sample_id,image_path,label,patient_id", *lines]))
    options = ["--dataset", "folder", "--dataset-root", str(busi), "--output", str(tmp_path / "out")]
    assert main(["run", "--table", table, "--folds", "2", *options]) == 0
    assert plans[0].dataset.info.class_names == ("benign", "normal")
    assert plans[0].preprocessing == recipe


def test_check_counts_and_says_usable(capsys, busi):
    assert main(["datasets", "check", "--dataset", "busi", "--root", str(busi)]) == 0
    out = capsys.readouterr().out
    assert "malignant" in out
    assert out.splitlines()[-1].split() == ["usable", "yes"]


def test_check_for_programs(capsys, busi):
    assert main(["datasets", "check", "--dataset", "busi", "--root", str(busi), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 18
    assert report["classes"]["normal"] == {"expected": 133, "found": 6}
    assert report["usable"] is True


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_check_of_what_cannot_be_used(capsys, busi, as_json):
    broken = busi / "normal" / "normal (2).png"
    broken.write_bytes(b"")
    assert main(["datasets", "check", "--dataset", "busi", "--root", str(busi), *as_json]) == 2
    assert str(broken) in capsys.readouterr().out
    assert main(["datasets", "check", "--dataset", "busi", "--root", str(busi / "nowhere"), *as_json]) == 2
    assert "no such folder" in capsys.readouterr().out


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Iterator[Path]:
    """A whole phantom run of one cheap row; its models are large and are removed afterwards."""
    output = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "PHANTOM_PATIENTS", {"quick": 12})
        options = "--rows vgg16 --image-size 32 --epochs 1 --folds 2 --protocol both"
        assert main(["run", "--table", "2", *options.split(), "--output", str(output)]) == 0
    yield output
    shutil.rmtree(output)


def test_a_run_from_end_to_end_writes_its_tables(finished):
    names = {path.name for path in finished.iterdir()} - {"tensorflow.log"}
    assert names == {"phantom-mammogram", "table2", "table2.csv", "table2.md", "table2.tex"}
    with (finished / "table2.csv").open(encoding="utf-8") as file:
        lines = {(line["row"], line["protocol"]): line for line in csv.DictReader(file)}
    assert len(lines) == 34
    assert lines["vgg16", "paper"]["status"] == lines["vgg16", "leak-free"]["status"] == "ok"
    assert (lines["vgg16", "paper"]["n_samples"], lines["vgg16", "paper"]["folds"]) == ("10", "1")
    free = lines["vgg16", "leak-free"]
    assert (free["n_samples"], free["n_groups"], free["folds"]) == ("48", "12", "2")
    assert 0 <= float(free["accuracy_ci_low"]) <= float(free["accuracy_ci_high"]) <= 100
    assert {line["status"] for key, line in lines.items() if key[0] != "vgg16"} == {"not built", "not run"}
    assert all(PHANTOM in line["label"] for line in lines.values())
    for suffix in ("md", "tex"):
        assert PHANTOM in (finished / f"table2.{suffix}").read_text(encoding="utf-8")


RERUN = "--table 2 --rows vgg16 --image-size 32 --folds 2 --epochs"


def test_the_same_command_trains_nothing_and_prints_the_table(finished, capsys):
    models = {path: path.stat().st_mtime_ns for path in finished.rglob("model.keras")}
    assert len(models) == 3
    assert main(["run", *RERUN.split(), "1", "--output", str(finished), "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("model.keras")} == models
    out = capsys.readouterr().out
    assert "3 of 3 trainings are already finished" in out
    assert (finished / "table2.md").read_text(encoding="utf-8") in out


def test_another_option_for_the_same_folder_is_refused(finished, capsys):
    error = refused(capsys, "run", *RERUN.split(), "2", "--output", finished)
    assert "training.epochs: 1 → 2" in error
    assert "--fresh" in error


def test_the_script_is_the_same_command_from_any_folder(tmp_path, capsys):
    done = subprocess.run(
        [sys.executable, str(PROJECT / "run_experiments.py"), "--list"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    main(["run", "--list"])
    assert done.stdout == capsys.readouterr().out


def test_a_fresh_process_too_says_one_line_although_tensorflow_talks(tmp_path):
    """On the real error stream, where TensorFlow's native code writes as well."""
    options = ["--table", "2", "--rows", "vgg16", "--weights", str(tmp_path), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, str(PROJECT / "run_experiments.py"), *options], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("mmdc-tf: Expected the file vgg16_weights")
