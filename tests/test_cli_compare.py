"""``mmdc-tf compare`` on run folders written by hand."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused
from made_up_run import PHANTOM, write_row, write_run_file

from mmdc_tf.cli import main

PERFECT, FAR = ["1" * 20, "1" * 20], ["1" * 20, "0" * 20]
COLUMNS = (
    "row,baseline,n_samples,n_groups,accuracy,baseline_accuracy,difference,ci_low,ci_high,"
    "only_row_right,only_baseline_right,mcnemar_p,holm_p,distinguishable,protocol,note"
)
IMPORTS = """
import sys
from mmdc_tf.cli import main
main(sys.argv[1:])
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.fixture
def output(tmp_path) -> Path:
    """Table II with three finished rows and a begun one; Table I with a row of the same name as one of them."""
    write_run_file(tmp_path / "table2")
    write_row(tmp_path / "table2", "vgg16", FAR)
    write_row(tmp_path / "table2", "densenet201", PERFECT)
    write_row(tmp_path / "table2", "mmdcnet_beta", PERFECT)
    write_row(tmp_path / "table2", "efficientnetb0", PERFECT, status={"status": "running"})
    write_row(tmp_path / "table2", "vgg16", FAR[:1], protocol="paper")
    write_row(tmp_path / "table2", "densenet201", PERFECT[:1], protocol="paper")
    write_run_file(tmp_path / "table1", dataset="busi", synthetic=False)
    write_row(tmp_path / "table1", "bcdnet_alpha", PERFECT)
    return tmp_path


def csv_lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def compare(*arguments: object) -> int:
    return main(["compare", *map(str, arguments)])


def test_the_rows_are_compared_and_written(output, capsys):
    """vgg16 is wrong in the 20 samples of fold 1: p = 2 · 2⁻²⁰, times 2; every draw of that fold differs by 1."""
    assert compare(output, "--baseline", "densenet201") == 0
    text = (output / "table2-compare-densenet201.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    lines = csv_lines(output / "table2-compare-densenet201.csv")
    assert ",".join(lines[0]) == COLUMNS
    assert [line["row"] for line in lines] == ["vgg16", "mmdcnet_beta"]
    vgg16 = lines[0]
    assert (vgg16["n_samples"], vgg16["n_groups"]) == ("40", "20")
    assert [float(vgg16[name]) for name in ("accuracy", "baseline_accuracy", "difference")] == [50, 100, -50]
    assert [float(vgg16[name]) for name in ("ci_low", "ci_high")] == [-50, -50]
    assert (vgg16["only_row_right"], vgg16["only_baseline_right"]) == ("0", "20")
    assert float(vgg16["mcnemar_p"]) == pytest.approx(2**-19, rel=1e-4)
    assert float(vgg16["holm_p"]) == pytest.approx(2**-18, rel=1e-4)
    assert [line["distinguishable"] for line in lines] == ["True", "False"]
    assert "-50.00 (-50.00 to -50.00)" in text
    assert "McNemar's test takes images as independent" in text
    assert "Research use only, not a medical device." in text


def test_an_unfinished_row_is_named_and_left_out(output, capsys):
    assert compare(output, "--baseline", "densenet201") == 0
    assert "Left out: efficientnetb0 (incomplete: 1 of 2 folds)." in capsys.readouterr().out


def test_the_columns_stand_below_each_other(output, capsys):
    compare(output, "--baseline", "densenet201")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({tuple(i for i, letter in enumerate(line) if letter == "|") for line in lines}) == 1


def test_a_phantom_is_called_one_everywhere(output, capsys):
    assert compare(output, "--baseline", "densenet201", "--json") == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert PHANTOM in content["note"]
    assert PHANTOM in (output / "table2-compare-densenet201.md").read_text(encoding="utf-8")
    assert {line["note"] for line in csv_lines(output / "table2-compare-densenet201.csv")} == {PHANTOM}


def test_real_data_are_not_called_a_phantom(output, capsys):
    write_row(output / "table1", "bcdnet_beta", FAR)
    assert compare(output, "--baseline", "bcdnet_alpha") == 0
    assert "phantom" not in capsys.readouterr().out
    assert {line["note"] for line in csv_lines(output / "table1-compare-bcdnet_alpha.csv")} == {""}
    assert not list(output.glob("table2-compare*"))


def test_a_tables_folder_is_enough(output, monkeypatch):
    monkeypatch.chdir(output / "table2")
    assert compare(".", "--baseline", "vgg16", "--rows", "densenet201") == 0
    assert [line["row"] for line in csv_lines(output / "table2-compare-vgg16.csv")] == ["densenet201"]


def test_both_protocols_for_programs(output, capsys):
    assert compare(output, "--baseline", "densenet201", "--protocol", "both", "--json") == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert (content["table"], content["baseline"]) == ("table2", "densenet201")
    free, paper = content["comparisons"]
    assert (free["protocol"], paper["protocol"]) == ("leak-free", "paper")
    assert [line["row"] for line in free["rows"]] == ["vgg16", "mmdcnet_beta"]
    assert free["left_out"] == {"efficientnetb0": "incomplete: 1 of 2 folds"}
    (line,) = paper["rows"]
    assert (line["n_samples"], line["difference"], line["distinguishable"]) == (20, 0.0, False)
    assert paper["left_out"] == {"efficientnetb0": "not run", "mmdcnet_beta": "not run"}


def test_several_tables_with_the_baseline_are_all_compared(output):
    write_run_file(output / "figure3")
    for row in ("densenet201", "m1"):
        write_row(output / "figure3", row, PERFECT)
    assert compare(output, "--baseline", "densenet201") == 0
    assert {path.stem for path in output.glob("*-compare-*.csv")} == {
        "table2-compare-densenet201",
        "figure3-compare-densenet201",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--baseline", "densnet201"], "Received: baseline='densnet201'. Did you mean 'densenet201'?"),
        (["--baseline", "swin_large"], "Expected rows of this run: bcdnet_alpha, "),
        (["--baseline", "vgg16", "--rows", "densenet2O1"], "Received: rows='densenet2O1'. Did you mean 'densenet201'?"),
        (["--baseline", "vgg16", "--rows", ","], "Received: rows=''"),
        (["--baseline", "vgg16", "--rows", "vgg16"], "(under leak-free: no other row)"),
        (["--baseline", "bcdnet_alpha"], "Received: baseline='bcdnet_alpha' (under leak-free: no other row)"),
        (["--baseline", "efficientnetb0"], "(under leak-free: efficientnetb0 (incomplete: 1 of 2 folds))"),
        (["--baseline", "mmdcnet_beta", "--protocol", "paper"], "under paper: mmdcnet_beta (not run)"),
        (["--baseline", "vgg16", "--protocol", "honest"], "--protocol"),
        ([], "--baseline"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_writes_no_comparison(output, capsys, options, message):
    before = sorted(output.rglob("*"))
    assert message in refused(capsys, "compare", output, *options)
    assert [path for path in sorted(output.rglob("*")) if path.name != "failures.log"] == before


@pytest.mark.parametrize(("place", "state"), [("nowhere", "absent"), ("empty", "no run.json"), ("file", "a file")])
def test_a_folder_that_is_no_run(tmp_path, capsys, place, state):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    assert state in refused(capsys, "compare", tmp_path / place, "--baseline", "vgg16")


def test_a_broken_run_file_is_named(output, capsys):
    (output / "table2" / "run.json").write_text("{")
    assert "table2/run.json" in refused(capsys, "compare", output, "--baseline", "densenet201")


def test_it_needs_no_tensorflow(output):
    arguments = ["compare", str(output), "--baseline", "densenet201"]
    done = subprocess.run([sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
