"""``--json-log``: everything on standard output is one JSON object a line, whoever writes there."""

from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys

import pytest

from mmdc_tf import events
from mmdc_tf.cli import main

HEAD = ["time", "level", "event", "message"]
LOUD = """
import os, sys
from mmdc_tf.cli import main
from mmdc_tf.commands import run
run.PHANTOM_PATIENTS = 12
train = run._train
def loud_train(*arguments):
    from mmdc_tf.experiments import learners
    fit = learners.fit_classifier
    def loud_fit(estimator, parts):
        print("printed by Python, half a line", end="")
        print()
        os.write(1, b"written by native code\\n")
        os.system("echo another process")
        if "Neighbor" in repr(estimator):
            raise ValueError("nothing to learn")
        return fit(estimator, parts)
    learners.fit_classifier = loud_fit
    return train(*arguments)
run._train = loud_train
sys.exit(main(sys.argv[1:]))
"""


def parsed(text: str) -> list[dict]:
    """Each line as JSON, of which NaN and infinity are no part."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    found = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    for event in found:
        assert list(event)[:4] == HEAD
        assert datetime.datetime.fromisoformat(event["time"]).utcoffset() == datetime.timedelta(0)
    return found


def of(found: list[dict], event: str) -> list[dict]:
    return [one for one in found if one["event"] == event]


def test_a_run_with_a_failing_row_is_all_json_whatever_is_printed(tmp_path):
    options = "--table 2 --rows metadata_only,image_nearest_neighbour --protocol paper --folds 2 --image-size 32"
    words = ["run", *options.split(), "--tensorboard", "curves", "--json-log", "--output", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", LOUD, *words], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr
    found = parsed(done.stdout)
    (begun,) = of(found, "run")
    assert (begun["table"], begun["trainings"], begun["images"]) == ("table2", 2, 48)
    assert set(begun["rows"]) == {"metadata_only", "image_nearest_neighbour"}
    assert "phantom: not a reproduction" in begun["notes"]
    trainings = {one["row"]: one for one in of(found, "training")}
    good, bad = trainings["metadata_only"], trainings["image_nearest_neighbour"]
    place = {"protocol": "paper", "fold": 0, "folds": 1, "seed": 0}
    for one in (good, bad):
        assert {name: one[name] for name in place} == place
    scores = json.loads((tmp_path / "table2/metadata_only/paper/fold0-seed0/metrics.json").read_text())
    assert (good["status"], good["accuracy"]) == ("ok", scores["accuracy"])
    assert good["seconds"] > 0
    assert (bad["status"], bad["error"]) == ("failed", "ValueError: nothing to learn")
    assert "accuracy" not in bad
    assert bad["trace"].rstrip().endswith("ValueError: nothing to learn")
    (table,) = of(found, "table")
    rows = {(line["row"], line["protocol"]): line for line in table["rows"]}
    assert rows["metadata_only", "paper"]["accuracy"] == pytest.approx(100 * scores["accuracy"])
    assert rows["metadata_only", "leak-free"]["accuracy"] is None
    assert str(tmp_path / "table2.csv") in table["files"]
    assert found[-1]["event"] == "finished"
    assert found[-1]["exit_code"] == 1
    messages = [one["message"] for one in of(found, "message")]
    assert messages.count("printed by Python, half a line") == 2
    assert done.stderr.split("\n") == ["written by native code", "another process"] * 2 + [""]
    assert "ValueError: nothing to learn" in (tmp_path / "failures.log").read_text()


def test_preprocess_names_what_has_no_result(busi, tmp_path, capsys):
    (busi / "normal" / "normal (2).png").write_bytes(b"x")
    options = ["--input", busi, "--output", tmp_path / "out", "--recipe", "plain", "--size", "16"]
    assert main(["preprocess", "--json-log", *map(str, options)]) == 1
    output = capsys.readouterr()
    found = parsed(output.out)
    assert output.err == ""
    (failed,) = of(found, "scan_failed")
    assert (failed["source"], failed["flags"]) == ("normal/normal (2).png", "unreadable")
    (done,) = of(found, "preprocessed")
    assert (done["scans"], done["written"], done["failed"]) == (18, 17, 1)
    assert of(found, "progress")[-1]["done"] == 18
    assert found[-1]["exit_code"] == 1


def test_a_refusal_is_an_event_too(tmp_path, capsys):
    assert main(["run", "--json-log", "--output", str(tmp_path)]) == 2
    output = capsys.readouterr()
    failed, finished = parsed(output.out)
    assert output.err == ""
    assert (failed["event"], failed["level"], failed["exit_code"]) == ("failed", "error", 2)
    assert (failed["error"], failed["log"]) == ("ConfigurationError", None)
    assert failed["message"].startswith("Expected --table 1")
    assert failed["trace"].startswith("Traceback")
    assert finished["exit_code"] == 2


def test_no_value_makes_a_line_that_is_not_json(capsys):
    with events.json_events():
        events.tell("table", "two\nlines α", rows=[{"a": math.nan, "b": [math.inf, 1.5]}], file="line\nbreak \udce9")
        print("several", "words\nin lines", end="")
    first, second, third = parsed(capsys.readouterr().out)
    assert first["rows"] == [{"a": None, "b": [None, 1.5]}]
    assert (first["message"], first["file"]) == ("two\nlines α", "line\nbreak \udce9")
    assert [second["message"], third["message"]] == ["several words", "in lines"]


def test_people_read_lines_again_afterwards(capsys):
    with events.json_events():
        pass
    events.tell("table", "a line", rows=[1])
    assert capsys.readouterr().out == "a line\n"


def test_each_epoch_is_told_with_its_numbers(capsys):
    from types import SimpleNamespace

    from mmdc_tf.experiments.progress import Progress

    split = SimpleNamespace(protocol="leak-free", fold=1, folds=5)
    cell = SimpleNamespace(row=SimpleNamespace(name="mmdcnet_beta"), split=split, seed=3)
    with events.json_events(), Progress() as progress:
        progress.begin(1, 4)
        callback = progress.callback(cell)
        callback.on_epoch_begin(1)
        callback.on_epoch_end(1, {"loss": 0.5, "val_loss": math.nan})
    (epoch,) = parsed(capsys.readouterr().out)
    expected = {"row": "mmdcnet_beta", "protocol": "leak-free", "fold": 1, "folds": 5, "seed": 3}
    assert {name: epoch[name] for name in expected} == expected
    assert (epoch["epoch"], epoch["epochs"], epoch["loss"], epoch["val_loss"]) == (2, 4, 0.5, None)
