"""Command lines and what they say: bad input is one line, and neither that, nor help, nor light work is slow."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import PROJECT, in_a_process
from made_up_run import write_row, write_run_file
from served_model import write_card, write_image

from mmdc_tf.cli import COMMANDS
from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS
from mmdc_tf.preprocessing import get_recipe

TRAINING = "runs/NAME/table2/vgg16/leak-free/fold0-seed0"
DONE = {  # what each says that ends well, or in code 1
    **{f"{command} --help": (0, f"usage: mmdc-tf {command}") for command in COMMANDS},
    "": (0, "usage: mmdc-tf"),
    "--help": (0, "usage: mmdc-tf"),
    "--version": (0, "mmdc-tf 0."),
    "run --help": (0, "where it runs:"),
    "audit --help": (0, f"default: {NEAR_TWIN_BITS}"),
    "run --list": (0, "mmdcnet_alpha"),
    "datasets check --dataset folder --root data": (0, "8"),
    "datasets lesions --dataset folder --root data": (0, "masks that keep at least 99 %"),
    "cache list --cache-dir empty": (0, "no features are stored in "),
    "cache clear --cache-dir nowhere": (0, "no features are stored in "),
}
REFUSED = {
    "train": "invalid choice: 'train'",
    "preproces --input x": "Did you mean 'preprocess'?",
    "datasets": "required: ACTION",
    "datasets check": "required: --dataset, --root",
    "cache lst": "Did you mean 'list'?",
    # run
    "run": "Expected --table 1, --table 2 or --figure 3, or data of your own",
    "run --table": "argument --table: expected one argument",
    "run --table 3": "argument --table: invalid choice: 3",
    "run --tabel 2": "mmdc-tf run: unrecognized arguments: --tabel 2. Did you mean '--table'? See mmdc-tf run",
    "run --table 2 --epochs 0": "--epochs: expected a whole number of at least 1, received '0'",
    "run --table 2 --seed -1": "--seed: expected",
    "run --table 2 --sensitivity 1.5": "--sensitivity: expected a number above 0 and at most 1, received '1.5'",
    "run --table 2 --task-gpus nan": "--task-gpus: expected a number of at least 0, received 'nan'",
    "run --table 2 --cache-limit bananas": "--cache-limit: expected a size such as 20GB, 500MiB or none",
    "run --table 2 --dataset buis": "Did you mean 'busi'?",
    "run --table 2 --dataset busi": "Expected --dataset-root together with --dataset.",
    "run --table 2 --without-images": "Expected --dataset-root together with --without-images",
    "run --table 2 --jit": "unrecognized arguments: --jit",
    "run --table 2 --rows mmdcnet_alpa": "Did you mean 'mmdcnet_alpha'?",
    "run --table 1 --rows vgg16,swin": "Received: rows='vgg16'",
    "run --table 1 --rows ,": "Received: rows=''",
    "run --table 2 --rows bcdnet_beta": "Received: rows='bcdnet_beta'. It is a row of Table I: --table 1.",
    "run --figure 3 --rows mmdcnt": "Did you mean 'mmdcnet'?",
    "run --table 1 --recipe plian": "Did you mean 'plain'?",
    "run --table 2 --weights imagnet": "Did you mean 'imagenet'?",
    "run --table 2 --rows vgg16 --weights empty": "the file vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "run --table 1 --dataset-root Data": "(no such folder). Did you mean 'data'?",
    "run --table 1 --dataset-root empty": "root='empty' (an empty",
    "run --table 2 --dataset-root file": "root='file' (a file",
    "run --table 2 --output file/below": "Received: output=file/below",
    "run --table 2 --task-cpus 2": "Expected --task-cpus with --executor ray only",
    "run --table 2 --executor ray --jobs 2": "Expected --jobs with --executor local only",
    "run --table 2 --jobs 2 --devices all": "Expected --devices all with one training at a time",
    # what reads a run
    "compare nowhere --baseline vgg16": "(absent)",
    "compare empty --baseline vgg16": "none of table1",
    "compare file --baseline vgg16": "a file",
    "compare broken --baseline vgg16": "broken/table2/run.json",
    "compare runs/NAME --baseline densnet201": "Received: baseline='densnet201'. Did you mean 'densenet201'?",
    "compare runs/NAME --baseline swin_large": "Expected rows of this run: ",
    "compare runs/NAME --baseline vgg16 --rows densenet2O1": "Received: rows='densenet2O1'. Did you mean",
    "compare runs/NAME --baseline vgg16 --rows ,": "Received: rows=''",
    "compare runs/NAME --baseline vgg16 --rows vgg16": "(under leak-free: no other row)",
    "compare runs/NAME --baseline xception": "(under leak-free: xception (incomplete: 1 of 2 folds))",
    "compare runs/NAME --baseline densenet201 --protocol paper": "under paper: densenet201 (not run)",
    "report runs/NAM": "(absent). Did you mean 'NAME'?",
    "report broken --examples 0": "broken/table2/run.json",
    "report runs/NAME --dataset-root nowhere": "root='nowhere' (no such folder)",
    "report runs/NAME --output file/out": "file/out",
    "robustness runs/NAM": "(absent). Did you mean 'NAME'?",
    "robustness runs/NAME --table table1": "Expected a run with table1",
    "robustness runs/NAME --rows densnet201": "Did you mean 'densenet201'?",
    # what uses a model
    "predict --modl x y": "are required: --model. Did you mean '--model'?",
    "predict --model runs/NAME x.png": f"folder, for example {TRAINING}.",
    "predict --model nowhere scans": "model=nowhere",
    f"predict --model {TRAINING} nofile.png": "nofile.png (no such file)",
    f"predict --model {TRAINING}": "no PATH and no --table",
    f"predict --model {TRAINING} scans --density 5": "density='5'",
    f"predict --model {TRAINING} scans --age old": "Expected age between 0 and 120",
    f"predict --model {TRAINING} scans --output found.txt": "output=found.txt",
    f"predict --model {TRAINING} scans --table values.csv --output values.csv": "replaces no file given",
    f"predict --model {TRAINING} scans --output link.csv --table values.csv": "replaces no file given",
    f"predict --model {TRAINING} empty": "with none",
    "explain --model runs --output o scans/a.png": f"for example {TRAINING}.",
    f"explain --model {TRAINING} --output o scans/a.png --age old": "age='old'",
    f"explain --model {TRAINING} --output o scans/a.png scans/b.png --mask m.png": "Expected one image with --mask",
    f"explain --model {TRAINING} --output file/o scans/a.png": "file/o",
    f"explain --model {TRAINING} --output scans scans/x.png scans/x.heatmap.png": "scans/x.heatmap.png is one",
    "export --model nowhere --format onnx": "Expected a saved model",
    f"export --model {TRAINING} --format saved_model --quantize": "Expected --format onnx or tflite with --quantize",
    f"export --model {TRAINING} --format onnx --output m.tflite": "ends in .onnx",
    f"export --model {TRAINING} --format onnx --images nowhere.png": "nowhere.png",
    f"export --model {TRAINING} --format onnx --images empty": "Expected PNG, JPEG, TIFF, BMP or DICOM files",
    f"export --model {TRAINING} --format tflite --output file/x.tflite": "/file (File exists)",
    "demo --model runs/NAM3": "(no such file). Did you mean 'NAME'?",
    "demo --model x --port 65536": "expected a port of at most 65535, received '65536'",
    # what reads data
    "audit --root data --dataset folder": "one of the arguments --output --split is required",
    "audit --root data --dataset folder --output o --split s": "--split: not allowed with argument --output",
    "audit --root data --dataset folder --output o --json": "Received: json without it",
    "audit --root data --dataset folder --split nowhere.json": "nowhere.json",
    "audit --root data --dataset folder --output o --without-images": "Leave --without-images out",
    "audit --root data --dataset busi --output o": "Expected the folders benign",
    "audit --split values.csv": "Add --dataset and --root",
    "audit --root data --output o": "Expected --dataset and --root. Received: dataset=None, root=data",
    "datasets lesions --dataset folder --root maskless": "Expected lesion masks. Received: root=",
    "datasets lesions --dataset busi --root data": "--dataset",
    "datasets lesions --dataset folder --root data --csv empty": "Received: empty (Is a directory)",
    "preprocess --input scans --output o --recipe papr": "Did you mean 'paper'?",
    "preprocess --input scans --output o --recipe paper --contact-sheet s.jpg": "Received: contact_sheet=s.jpg",
    "preprocess --input nowhere --output o --recipe paper": "/nowhere (no such folder)",
    "preprocess --input scans --output file/o --recipe paper": "/file/o (Not a directory)",
    "cache list --cache-dir file": "Received: --cache-dir",
}


def write_data(folder: Path, masks: str) -> None:
    """Eight images, each of a patient; the first has a lesion mask."""
    lines = [f"s{n},s{n}.png,{('benign', 'cancer')[n % 2]},p{n},{masks if n == 0 else ''}" for n in range(8)]
    folder.mkdir()
    (folder / "samples.csv").write_text("\n".join(["sample_id,image_path,label,patient_id,lesion_masks", *lines]))
    draw = np.random.default_rng(0)
    for number in range(8):
        write_image(folder / f"s{number}.png", draw.integers(20, 200, (60, 40), dtype=np.uint8))
    write_image(folder / "mask.png", np.full((60, 40), 255, np.uint8))


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A folder with a bit of everything: data, scans, a run written by hand, and a model's card."""
    folder = tmp_path_factory.mktemp("scene")
    write_data(folder / "data", "mask.png")
    write_data(folder / "maskless", "")
    (folder / "empty").mkdir()
    (folder / "file").write_text("x")
    (folder / "values.csv").write_text("image_path,age\nscans/a.png,45")
    (folder / "link.csv").symlink_to("values.csv")
    for name in ("a", "b", "x", "x.heatmap"):
        write_image(folder / "scans" / f"{name}.png", np.zeros((8, 8), np.uint8))
    run = folder / "runs" / "NAME" / "table2"
    write_run_file(run)
    for row in ("vgg16", "densenet201"):
        write_row(run, row, ["11", "10"])
    write_row(run, "xception", ["11", "10"], status={"status": "running"})
    (folder / TRAINING / "model.keras").touch()
    content = {"class_names": ["a", "b"], "inputs": ["image"], "image_size": 32}
    write_card(folder / TRAINING, {**content, "preprocessing": get_recipe("plain").to_config()})
    (folder / "broken" / "table2").mkdir(parents=True)
    (folder / "broken" / "table2" / "run.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def said(scene) -> dict[str, list]:
    """How each command ended: all in one process, the refused ones first, and what they left behind."""
    before = sorted(scene.rglob("*"))
    commands = [*REFUSED, *DONE]
    found = dict(zip(commands, in_a_process([shlex.split(one) for one in commands], scene), strict=True))
    return {**found, "left": sorted(set(scene.rglob("*")) - set(before))}


@pytest.mark.parametrize("command", REFUSED)
def test_bad_input_is_one_line(said, command):
    code, _, error, imported = said[command]
    assert REFUSED[command] in error
    assert code == 2 and error.count("\n") == 1 and error.startswith("mmdc-tf")
    assert imported == (["matplotlib"] if imported and command.startswith("audit") else [])  # before anything slow


def test_bad_input_writes_nothing(said):
    assert said["left"] == []


@pytest.mark.parametrize("command", DONE)
def test_help_and_light_commands_import_nothing_heavy(said, command):
    code, text = DONE[command]
    assert said[command][0] == code and text in " ".join(said[command][1].split())
    assert said[command][3] == []


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


def test_missing_libgl_is_one_line_that_says_what_to_install(tmp_path):
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({message!r})\n")
    command = [sys.executable, "-m", "mmdc_tf.cli", "datasets", "check", "--dataset", "busi", "--root", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{PROJECT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in (message, "apt-get install libgl1", "opencv-python-headless"))


@pytest.mark.parametrize("output", ["/dev/full", "closed"])
def test_an_output_that_takes_no_text_is_one_line(output):
    command = [sys.executable, "-m", "mmdc_tf.cli", "run", "--list"]
    if output == "closed":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(output, os.O_WRONLY)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=PROJECT, timeout=60)
    os.close(writer)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert ("closed by its reader" if output == "closed" else "No space left on device") in done.stderr
