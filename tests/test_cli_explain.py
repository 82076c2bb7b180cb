"""``mmdc-tf explain``: what it writes and prints, its exit codes, and what it refuses in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import refused

from mmdc_tf.cli import main
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.models import ModelSettings, build_model
from mmdc_tf.preprocessing import get_recipe

SIZE = 32
CLASSES = ["benign", "cancer", "normal"]
PHANTOM = "phantom: not a reproduction"


@pytest.fixture
def training(tmp_path, tiny_backbone):
    """A folder as a training leaves it, of an untrained MMDCNet."""
    keras.utils.set_random_seed(0)
    folder = tmp_path / "training"
    folder.mkdir()
    model = build_model("mmdcnet", ModelSettings(SIZE, 3), backbone=tiny_backbone, conv_filters=8)
    for weight in model.get_layer("fusion").attention.weights[:4]:
        weight.assign(40 * weight)  # an untrained attention is uniform
    model.save(folder / "model.keras")
    write_card(folder)
    return folder


def write_card(folder, **more) -> None:
    card = {"model": "mmdcnet", "class_names": CLASSES, "inputs": ["image", "metadata"], "image_size": SIZE}
    card |= {"preprocessing": get_recipe("plain").to_config(), "temperature": 2.0, **more}
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")


@pytest.fixture
def scans(tmp_path):
    """Two scans of one name, the first with a lesion mask beside it that is half of it."""
    for number, name in enumerate(("a", "b")):
        path = tmp_path / "scans" / name / "scan.png"
        path.parent.mkdir(parents=True)
        assert cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (40, 30), dtype=np.uint8))
    mask = np.zeros((40, 30), np.uint8)
    mask[:20] = 255
    assert cv2.imwrite(str(tmp_path / "scans" / "a" / "scan_Mask.png"), mask)
    return tmp_path / "scans"


def command(training, scans, *more) -> list[str]:
    images = [scans / "a" / "scan.png", scans / "b" / "scan.png"]
    return [str(part) for part in ("explain", "--model", training, "--output", scans.parent / "out", *images, *more)]


def test_a_picture_an_image_and_scores_where_a_mask_is(training, scans, capsys):
    assert main(command(training, scans, "--age", "61", "--density", "3")) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == RESEARCH_USE
    assert len(lines) == 2
    for name in ("Grad-CAM", "fusion, by the clinical token", "fusion, by the image tokens"):
        assert f"{name}: " in lines[0]
    assert lines[0].count("(chance 50.0 %)") == 3
    assert "chance" not in lines[1]
    for name in "ab":
        picture = cv2.imread(str(scans.parent / "out" / name / "scan.heatmap.png"))
        assert picture.shape[1] > 4 * 400  # the image and three heatmaps beside each other
    assert {path.name for path in scans.parent.iterdir()} == {"out", "scans", "training"}


def test_two_lesions_are_summed_up_and_phantoms_are_called_so(training, scans, capsys):
    write_card(training, notice=PHANTOM)
    (scans / "b" / "scan_Mask.png").write_bytes((scans / "a" / "scan_Mask.png").read_bytes())
    masks = [scans / name / "scan_Mask.png" for name in "ab"]  # as a shell's *.png gives them: no scans
    assert main(command(training, scans, *masks)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{PHANTOM}. {RESEARCH_USE}"
    assert len(lines) == 1 + 2 + 3
    assert all("phantom" in line for line in lines)
    assert lines[3].startswith("Grad-CAM: pointing game ")
    assert " of 2 lesions" in lines[3]


def test_a_broken_image_and_a_broken_mask_are_named_and_the_rest_is_done(training, scans, capsys):
    (scans / "broken.png").write_text("x")
    (scans / "b" / "scan_mask.png").write_text("x")
    assert main(command(training, scans, scans / "broken.png")) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith("scan.png: drawn without its lesion: Expected")
    assert errors[1].startswith("broken.png: Expected a PNG")
    assert len(list((scans.parent / "out").rglob("*.png"))) == 2


def test_the_class_asked_for_and_a_mask_elsewhere(training, scans, capsys):
    images = [
        "explain",
        "--model",
        training / "model.keras",
        "--output",
        scans.parent / "out",
        scans / "b" / "scan.png",
    ]
    more = ["--class", "normal", "--mask", scans / "a" / "scan_Mask.png"]
    assert main([str(part) for part in (*images, *more)]) == 0
    assert "scan.png: normal 0." in (line := capsys.readouterr().out.splitlines()[1])
    assert "chance 50.0 %" in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--class", "canser"], "Did you mean 'cancer'?"),
        (["--age", "old"], "age='old'"),
        (["--density", "5"], "density='5'"),
        (["--mask", "mask.png"], "Expected one image with --mask"),
        (["--model", "/nowhere"], "/nowhere"),
        (["--output", "/dev/null/out"], "/dev/null/out"),
    ],
)
def test_bad_input_is_one_line(training, scans, capsys, more, message):
    assert message in refused(capsys, *command(training, scans, *more))
    assert not list((scans.parent).rglob("*.heatmap.png"))


def test_the_card_of_another_model_is_refused(training, scans, capsys):
    write_card(training, image_size=2 * SIZE)
    assert "Expected the card of this model beside it" in refused(capsys, *command(training, scans))
    assert not list(scans.parent.rglob("*.heatmap.png"))


def test_any_name_of_a_file_is_printed_and_drawn(training, scans, capsys):
    """No name is a control sequence to the terminal, and one that is not UTF-8 is a name like others."""
    pixels, (image, other) = (scans / "a" / "scan.png").read_bytes(), awkward_names(scans)
    image.write_bytes(pixels)
    other.write_text("x")
    write_card(training, notice=f"\x1b[2J{PHANTOM}")
    assert main(command(training, scans, image, other)) == 1
    captured = capsys.readouterr()
    assert "s?[31m?.png: " in captured.out
    assert captured.err.startswith("t??.png: Expected a PNG")
    assert all(character.isprintable() for character in (captured.out + captured.err).replace("\n", ""))
    assert (scans.parent / "out" / f"{image.stem}.heatmap.png").is_file()


def awkward_names(folder) -> list[Path]:
    """A colour sequence and a byte that is not UTF-8; the same with C1's one-character form of the sequence."""
    paths = [folder / os.fsdecode(name) for name in (b"s\x1b[31m\xff.png", b"t\xc2\x9b\xff.png")]
    try:
        paths[0].write_bytes(b"")
    except OSError:
        pytest.skip("the file system takes UTF-8 names alone")
    return paths


def test_no_image_given_is_replaced(training, scans, capsys):
    taken = scans / "scan.heatmap.png"
    taken.write_bytes((scans / "a" / "scan.png").read_bytes())
    (scans / "scan.png").write_bytes(taken.read_bytes())
    before = taken.read_bytes()
    arguments = ["explain", "--model", training, "--output", scans, scans / "scan.png", taken]
    assert "Received: " + str(taken) in refused(capsys, *arguments)
    assert taken.read_bytes() == before


def test_help_needs_no_tensorflow():
    code = "import sys\nfrom mmdc_tf.cli import main\ntry:\n    main(['explain', '--help'])\nexcept SystemExit:\n"
    code += "    print(sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_uniform_map_is_called_so_and_has_no_score(training, scans, capsys):
    """A fusion whose queries are zero attends to all tokens alike: 1/17 each."""
    model = keras.models.load_model(training / "model.keras")
    for weight in model.get_layer("fusion").attention.weights[:2]:
        weight.assign(0 * weight)
    model.save(training / "model.keras")
    (scans / "b" / "scan_Mask.png").write_bytes((scans / "a" / "scan_Mask.png").read_bytes())
    assert main(command(training, scans)) == 0
    out = capsys.readouterr().out
    assert out.count("fusion, by the clinical token: n/a (uniform)") == 2
    assert "fusion, by the image tokens: n/a; uniform maps, without a score: 2" in out
