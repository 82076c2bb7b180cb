"""The command line: what each bad input says, in one line and before anything is trained."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from command_line import PROJECT, refused

from mmdc_tf.cli import main

pytestmark = pytest.mark.usefixtures("small_phantoms")


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


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (
            ["run", "--tabel", "2"],
            "mmdc-tf run: unrecognized arguments: --tabel 2. Did you mean '--table'? See mmdc-tf run",
        ),
        (["run", "--table", "2", "--dataset", "buis"], "Did you mean 'busi'?"),
        (["preproces", "--input", "x"], "Did you mean 'preprocess'?"),
        (["predict", "--modl", "x", "y"], "are required: --model. Did you mean '--model'?"),
        (["cache", "lst"], "Did you mean 'list'?"),
        (["run", "--table", "2", "--weights", "imagnet"], "Did you mean 'imagenet'?"),
        (["run", "--table", "1", "--recipe", "plian"], "Did you mean 'plain'?"),
        (
            ["run", "--table", "2", "--rows", "bcdnet_beta"],
            "Received: rows='bcdnet_beta'. It is a row of Table I: --table 1.",
        ),
        (["run", "--table", "1", "--rows", "m3"], "It is a row of Fig. 3: --figure 3."),
        (["run", "--table", "1", "--dataset-root", "data/busi"], "(no such folder). Did you mean 'BUSI'?"),
        (["report", "runs/NAM"], "(absent). Did you mean 'NAME'?"),
        (["robustness", "runs/NAM"], "(absent). Did you mean 'NAME'?"),
        (["predict", "--model", "runs/NAME", "x.png"], "folder, for example runs/NAME/table2/a/paper/fold0-seed0."),
        (["explain", "--model", "runs", "--output", "o", "x.png"], "for example runs/NAME/table2/a/paper/fold0-seed0."),
        (["demo", "--model", "runs/NAM3"], "(no such file). Did you mean 'NAME'?"),
        (["predict", "--model", "runs/NAME/table2/a/paper/fold0-seed0", "nofile.png"], "nofile.png (no such file)"),
    ],
)
def test_the_likely_intention_is_named_before_anything_slow_is_imported(tmp_path, arguments, hint):
    (tmp_path / "data" / "BUSI").mkdir(parents=True)
    (tmp_path / "runs" / "NAME" / "table2" / "a" / "paper" / "fold0-seed0").mkdir(parents=True)
    (tmp_path / "runs" / "NAME" / "table2" / "a" / "paper" / "fold0-seed0" / "model.keras").touch()
    code = (
        f"import sys, mmdc_tf.cli\ntry: code = mmdc_tf.cli.main({arguments!r})\nexcept SystemExit as e: code = e.code\n"
        "print(code, sorted({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert hint in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "2 []\n"


@pytest.mark.parametrize("missing", ["wrapt", "filelock"])
def test_without_the_environment_it_says_how_to_activate_it(tmp_path, missing):
    code = (
        f"import sys, runpy\nsys.modules[{missing!r}] = None\nsys.argv[1:] = ['--table', '2']\n"
        f"runpy.run_path({str(PROJECT / 'run_experiments.py')!r}, run_name='__main__')"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"no {missing} in {sys.executable}. Activate the environment: . .venv/bin/activate" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["train"], ["datasets"], ["datasets", "check"]])
def test_an_incomplete_command_is_one_line(capsys, arguments):
    refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected --table 1, --table 2 or --figure 3. Received: no table."),
        (["--table", "2", "--rows", "mmdcnet_alpa"], "Did you mean 'mmdcnet_alpha'?"),
        (["--table", "2", "--rows", "swin"], "Received: rows='swin'"),
        (["--table", "1", "--rows", "vgg16,swin"], "Received: rows='vgg16'"),
        (["--figure", "3", "--rows", "mmdcnt"], "Did you mean 'mmdcnet'?"),
        (["--table", "2", "--rows", "metadata_only", "--without-images"], "Expected --dataset-root together with --wi"),
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


def test_rows_with_images_cannot_go_without_them(capsys, tmp_path):
    (tmp_path / "table.csv").touch()
    options = ["--without-images", "--dataset-root", tmp_path, "--output", tmp_path / "out"]
    error = refused(capsys, "run", "--table", "2", *options)
    assert "Expected rows that take no image with --without-images. Received: row='kacher_densenet201'." in error


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


def test_a_fresh_process_too_says_one_line_although_tensorflow_talks(tmp_path):
    """On the real error stream, where TensorFlow's native code writes as well."""
    options = ["--table", "2", "--rows", "vgg16", "--weights", str(tmp_path), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, str(PROJECT / "run_experiments.py"), *options], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("mmdc-tf: Expected the file vgg16_weights")
