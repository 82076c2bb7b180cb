"""``mmdc-tf predict`` from end to end with a small saved model, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import PROJECT, imported_by_help, refused
from served_model import CLASSES, change_card, scan, write_dicom, write_image

import mmdc_tf
from mmdc_tf.cli import main
from mmdc_tf.errors import RESEARCH_USE

P_COLUMNS = [f"p_{name}" for name in CLASSES]


@pytest.fixture
def model(phantom_model) -> Path:
    return phantom_model


@pytest.fixture
def scans(tmp_path) -> Path:
    """A folder with two scans, one with a lesion mask, and notes beside them."""
    for name, seed in (("a.png", 1), ("b/c.png", 2), ("b/c_Mask.png", 3)):
        write_image(tmp_path / "scans" / name, scan(seed))
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    return tmp_path / "scans"


def predict(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main(["predict", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def parsed(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_folder_becomes_a_table(model, scans, capsys):
    code, out, err = predict(capsys, "--model", model, scans, "--age", "61", "--density", "3")
    assert code == 0
    assert "phantom: not a reproduction" in out and RESEARCH_USE in out
    assert "cancer at or above 0.300 (sensitivity 0.9, fitted on: validation part)" in out
    lines = [line for line in out.splitlines() if ".png" in line]
    assert [Path(line.split()[0]).name for line in lines] == ["a.png", "c.png"]
    expected = mmdc_tf.load_predictor(model).predict([scans / "a.png"], age=61, density=3)[0]
    assert lines[0].split()[1:4] == [f"{value:.3f}" for value in expected.probabilities.values()]
    assert f"cancer {expected.with_unknown['age']['cancer']:.3f}" in lines[0]
    assert "61 (given)" in lines[0]
    assert "lesion masks" in err


def test_json_is_strict_and_alone_on_the_output_stream(model, scans, capsys):
    code, out, _ = predict(capsys, "--model", model / "model.keras", scans, scans / "a.png", "--json")
    content = parsed(out)
    assert code == 0 and content["research_use_only"] is True and RESEARCH_USE in content["notice"]
    assert [Path(one["path"]).name for one in content["predictions"]] == ["a.png", "c.png"]
    assert content["predictions"][0]["age"] == {"value": None, "source": "unknown", "in_header": None}
    assert content["failed"] == []


def test_a_csv_file_holds_the_same_and_no_formula(model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(Path("=1+1.png"), scan(1))
    write_image(Path("plain.png"), scan(2))
    code, out, _ = predict(capsys, "--model", model, "=1+1.png", "plain.png", "--json", "--output", "found.csv")
    table, content = pd.read_csv("found.csv"), parsed(out)["predictions"]
    assert code == 0 and table["image_path"].tolist() == ["'=1+1.png", "plain.png"]
    expected = [[one["probabilities"][name] for name in CLASSES] for one in content]
    pd.testing.assert_frame_equal(table[P_COLUMNS], pd.DataFrame(expected, columns=P_COLUMNS))
    assert table["decision"].tolist() == [one["decision"] for one in content]
    assert table["notice"].str.contains(RESEARCH_USE).all() and table["notice"].str.contains("phantom").all()
    assert table["error"].isna().all()


def test_a_table_gives_values_by_image_before_those_for_all(model, scans, tmp_path, capsys):
    lines = ["image_path,age,density", "scans/a.png,45,", f"{scans / 'b' / 'c.png'},,unknown", "scans/gone.png,50,1"]
    (tmp_path / "values.csv").write_text("\n".join(lines))
    arguments = ["--model", model, "--table", tmp_path / "values.csv", "--age", 61, "--density", 2, "--json"]
    code, out, err = predict(capsys, *arguments, scans)
    values = [(one["age"]["value"], one["density"]["value"]) for one in parsed(out)["predictions"]]
    assert code == 0 and values == [(45.0, 2.0), (61.0, None)]
    assert "for images that are not asked for: 1" in err
    code, out, err = predict(capsys, *arguments)
    assert code == 1 and len(parsed(out)["predictions"]) == 2 and "gone.png" in err


def test_a_broken_file_is_named_and_the_rest_is_done(model, scans, capsys):
    (scans / "broken.png").write_bytes(b"no image")
    code, out, err = predict(capsys, "--model", model, scans, scans / "nowhere.png", "--json")
    content = parsed(out)
    assert code == 1 and len(content["predictions"]) == 2
    assert [Path(one["path"]).name for one in content["failed"]] == ["broken.png", "nowhere.png"]
    assert err.count("failed: ") == 2 and str(scans / "broken.png") in err and "Traceback" not in err
    code, out, err = predict(capsys, "--model", model, scans / "broken.png", "--output", scans / "found.csv")
    table = pd.read_csv(scans / "found.csv")
    assert code == 1 and RESEARCH_USE in out
    assert table["image_path"].tolist() == [str(scans / "broken.png")]
    assert "broken.png" in table["error"][0] and RESEARCH_USE in table["notice"][0]


def test_a_table_may_be_written_as_people_do(model, scans, tmp_path, capsys):
    """Semicolons, decimal commas, a byte order mark, another case, back-slashes; one image is called in two ways."""
    write_image(scans / "b" / "Se\u0301no.png", scan(7))
    lines = ["Image Path;AGE;Density;BMI", "scans\\A.PNG;45,5;B;22", "scans\\b\\s\u00e9no.PNG;0;BI-RADS 3;23"]
    (tmp_path / "values.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    code, out, err = predict(capsys, "--model", model, "--table", tmp_path / "values.csv", "--json")
    found = [
        (Path(one["path"]).name, one["age"]["value"], one["density"]["value"]) for one in parsed(out)["predictions"]
    ]
    assert code == 0 and found == [("a.png", 45.5, 2.0), ("Se\u0301no.png", None, 3.0)]
    assert "note: age 0, taken as unknown: 1, for example in row 3" in err
    assert "note: columns of the table that are not used: 'BMI'" in err


def test_without_a_positive_class_it_is_said_that_there_is_no_decision(model, scans, capsys):
    change_card(model, threshold=None, positive_class=None)
    _, out, _ = predict(capsys, "--model", model, scans / "a.png")
    assert "decision: none, since no class was named with --positive-class when it was trained" in out


def test_the_age_of_a_header_is_used_and_a_disagreement_is_printed(model, tmp_path, capsys):
    path = write_dicom(tmp_path / "a.dcm", scan(), PatientAge="061Y")
    _, out, err = predict(capsys, "--model", model, path)
    assert "61 (header)" in out and "in the DICOM header" not in err
    _, out, err = predict(capsys, "--model", model, path, "--age", "40")
    assert "40 (given)" in out and "age_differs_from_header" in out
    assert f"note: {path}: age 61 in the DICOM header; used: the given 40" in err
    _, out, err = predict(capsys, "--model", model, path, "--age", "unknown", "--json")
    assert parsed(out)["predictions"][0]["age"] == {"value": None, "source": "unknown", "in_header": 61.0}


def test_what_files_are_called_is_text_on_the_terminal(model, scans, capsys):
    escape = write_image(scans / "evil\x1b[2J" / "a.png", scan(4))
    write_image(escape.with_name("a_mask.png"), scan(5))
    change_card(model, model="net\x1b[2J", class_names=["be\x1bnign", "cancer", "normal"])
    code, out, err = predict(capsys, "--model", model, escape.parent, "--output", scans / "found\x1b.csv")
    assert code == 0 and "note: lesion masks in " in err
    assert "(net?[2J, " in out and "be?nign" in out
    assert "\x1b" not in out + err


def test_no_file_given_is_replaced(model, scans, tmp_path, capsys):
    (table := tmp_path / "values.csv").write_text("image_path,age\nscans/a.png,45")
    (tmp_path / "link.csv").symlink_to(table)
    for arguments in (["--table", tmp_path / "link.csv"], ["--table", table, scans], [table]):
        assert "replaces no file given" in refused(capsys, "predict", "--model", model, "--output", table, *arguments)
    assert table.read_text() == "image_path,age\nscans/a.png,45"


def test_bad_input_is_one_line(model, scans, tmp_path, capsys):
    given = ("predict", "--model", model, scans)
    assert "density='5'" in refused(capsys, *given, "--density", "5")
    assert "Expected age between 0 and 120" in refused(capsys, *given, "--age", "old")
    assert "output=found.txt" in refused(capsys, *given, "--output", "found.txt")
    assert "no PATH" in refused(capsys, "predict", "--model", model)
    assert "model=nowhere" in refused(capsys, "predict", "--model", "nowhere", scans)
    (tmp_path / "empty").mkdir()
    assert "with none" in refused(capsys, "predict", "--model", model, tmp_path / "empty")
    (model / "model.json").unlink()
    assert "Expected model.json beside the model" in refused(capsys, *given)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image_path", "a.png"], "Expected a column age, density or both"),
        (["image,age", "a.png,4"], "without image_path"),
        (["image_path,age", "a.png,400"], "age='400' in row 2"),
        (["image_path,age", ",40"], "none in row 2"),
        (["image_path,age", "a.png,40", "./a.png,41"], "again in row 3"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(model, scans, tmp_path, capsys, lines, message):
    (tmp_path / "values.csv").write_text("\n".join(lines))
    assert message in refused(capsys, "predict", "--model", model, scans, "--table", tmp_path / "values.csv")


def test_the_output_stream_of_a_process_holds_json_alone(model, scans):
    command = [sys.executable, "-m", "mmdc_tf.cli", "predict", "--model", str(model), str(scans / "a.png"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(parsed(done.stdout)["predictions"]) == 1
    assert "oneDNN" not in done.stderr and "cuda" not in done.stderr.lower()


def test_help_and_the_package_import_no_tensorflow():
    assert imported_by_help("predict", {"tensorflow", "keras"}) == []
