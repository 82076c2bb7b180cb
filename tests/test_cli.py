"""The command line: what each option does, how a command ends, and one run from end to end."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import PROJECT, refused

from mmdc_tf.cli import main
from mmdc_tf.commands import run as run_command
from mmdc_tf.experiments.plan import Plan
from mmdc_tf.experiments.rows import TABLES, load_table
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.experiments.weight_files import require_weights

pytestmark = pytest.mark.usefixtures("small_phantoms")

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


@pytest.fixture
def plans(monkeypatch) -> list[Plan]:
    """Collects the plans instead of training them."""
    seen: list[Plan] = []

    def run_trainings(plan, cells, after_each, progress=None, fresh=False, where=None):
        seen.append(plan)
        return 0

    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", run_trainings)
    return seen


def test_the_list_gives_every_row_with_its_numbers(capsys):
    assert main(["run", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [row for name in TABLES for row in load_table(name).rows]
    listed = [line for line in lines if line.split()[0] in {row.name for row in rows}]
    assert len(listed) == len(rows) == 15 + 17 + 6 + 5 + 7
    for row, line in zip(rows, listed, strict=True):
        numbers = [f"{value:.2f}" for value in row.paper or ()]
        assert line.split()[: 1 + len(numbers)] == [row.name, *numbers]
        assert row.label in line


def test_extra_rows_are_listed_under_extra(capsys):
    assert main(["run", "--list", "--table", "1"]) == 0
    paper, extra = capsys.readouterr().out.split("\nextra")
    assert "bcdnet_gamma" in paper
    assert "hog_svm" in extra
    assert "hog_svm" not in paper


def test_the_list_of_the_figure(capsys):
    assert main(["run", "--list", "--figure", "3"]) == 0
    out = capsys.readouterr().out
    assert [name for name in ("m1", "m5", "mmdcnet") if f"  {name} " in out] == ["m1", "m5", "mmdcnet"]
    assert "vgg16_atten" not in out


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
    what = "table figure rows without-images dataset-root protocol folds seeds profile"
    how = "image-size epochs batch-size weights output resume fresh list seed debug"
    speed = "cache-dir cache-limit no-cache feature-views precision"
    for name in f"{what} {how} {speed}".split():
        assert f"--{name} " in text or f"--{name}\n" in text


def test_an_interrupt_says_how_to_go_on(capsys, shared_output, monkeypatch):
    def run_trainings(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", run_trainings)
    assert main(["run", "--table", "2", "--output", str(shared_output)]) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_a_failed_row_is_exit_code_1(shared_output, monkeypatch):
    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", lambda *_, **__: 1)
    assert main(["run", "--table", "2", "--output", str(shared_output)]) == 1


def test_without_data_the_quick_profile_runs_on_the_phantom(capsys, tmp_path, monkeypatch, plans):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--table", "1"]) == 0
    (plan,) = plans
    assert (plan.dataset.info.name, plan.preprocessing, plan.weights) == ("phantom-ultrasound", "plain", "none")
    assert (plan.profile.name, plan.protocols, plan.seeds) == ("quick", ("paper", "image-level", "leak-free"), 1)
    assert tuple(row.name for row in plan.rows) == load_table("table1").first_rows
    assert plan.output == Path("runs/phantom-ultrasound-quick")
    out = capsys.readouterr().out
    assert out.splitlines()[0] == f"note: {PHANTOM}"


def test_real_data_run_in_full(capsys, busi, tmp_path, monkeypatch, plans):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--table", "1", "--dataset-root", str(busi)]) == 0
    (plan,) = plans
    assert (plan.dataset.info.name, plan.preprocessing, plan.weights) == ("busi", "plain", "imagenet")
    assert (plan.profile.name, plan.profile.folds, plan.profile.recipe.image_size) == ("full", 5, 224)
    assert plan.output == Path("runs/busi-full")
    out = capsys.readouterr().out
    assert "phantom" not in out
    assert "expected 437 benign" in out


def test_options_override_the_profile(shared_output, plans, tmp_path):
    for name in official_files(["vgg16", "efficientnetb0"]).values():
        (tmp_path / name).touch()
    options = "--profile full --folds 3 --epochs 7 --batch-size 5 --image-size 96 --seeds 2 --protocol leak-free"
    rows = ["--rows", "vgg16, mmdcnet_beta", "--weights", str(tmp_path), "--cut", "none"]
    assert main(["run", "--table", "2", *options.split(), *rows, "--output", str(shared_output)]) == 0
    (plan,) = plans
    recipe = plan.profile.recipe
    assert (plan.profile.folds, recipe.epochs, recipe.batch_size, recipe.image_size) == (3, 7, 5, 96)
    assert (plan.seeds, plan.protocols, plan.weights, plan.cut) == (2, ("leak-free",), str(tmp_path), "none")
    assert [row.name for row in plan.rows] == ["vgg16", "mmdcnet_beta"]


def test_features_are_kept_in_the_users_cache_unless_another_place_or_none_is_asked_for(
    shared_output, plans, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = ["run", "--table", "1", "--output", str(shared_output)]
    elsewhere = ["--cache-dir", str(tmp_path / "mine"), "--cache-limit", "1.5GB"]
    how = ["--feature-views", "3", "--precision", "mixed_bfloat16"]
    for options in ([], elsewhere + how, ["--no-cache"]):
        assert main([*run, *options]) == 0
    usual, other, none = plans
    assert usual.cache == CacheSettings(tmp_path / "mmdc_tf" / "features", 50 * 10**9)
    assert (usual.profile.recipe.feature_views, usual.precision) == (8, "float32")
    assert other.cache == CacheSettings(tmp_path / "mine", 1_500_000_000)
    assert other.profile.recipe.feature_views == 3
    assert other.precision == "mixed_bfloat16"
    assert none.cache is None


@pytest.mark.parametrize(("table", "recipe"), [("1", "plain"), ("2", "lesion-safe")])
def test_a_users_own_folder_is_preprocessed_as_the_tables_images_are(busi, tmp_path, plans, capsys, table, recipe):
    """Otsu and contours are specified for mammograms only."""
    lines = [f"{n}{i},{n}/{n} ({i}).png,{n},p{n}{i}" for n in ("benign", "normal") for i in range(1, 7)]
    (busi / "samples.csv").write_text("\n".join(["sample_id,image_path,label,patient_id", *lines]))
    options = ["--dataset", "folder", "--dataset-root", str(busi), "--output", str(tmp_path / "out")]
    assert main(["run", "--table", table, "--folds", "2", *options]) == 0
    assert plans[0].dataset.info.class_names == ("benign", "normal")
    assert "without it there is no threshold and no decision; name it with --positive-class" in capsys.readouterr().out
    again = ["run", "--table", table, "--folds", "2", *options, "--positive-class"]
    assert main([*again, "Benign"]) == 0
    assert plans[1].dataset.info.positive_class == "benign"
    assert "no decision" not in capsys.readouterr().out
    assert "benign, normal. Received: positive_class='Benin'. Did you mean 'benign'?" in refused(
        capsys, *again, "Benin"
    )
    assert plans[0].preprocessing == recipe


def test_recipe_protocols_and_the_treatment_of_near_twins_can_be_chosen(busi, shared_output, plans, tmp_path):
    assert main(["run", "--table", "2", "--recipe", "paper", "--output", str(shared_output)]) == 0
    assert plans[0].preprocessing == "paper"
    (busi / "benign" / "benign (7).png").write_bytes((busi / "benign" / "benign (1).png").read_bytes())
    options = ["--dataset-root", str(busi), "--output", str(tmp_path / "out"), "--weights", "none", "--folds", "2"]
    assert main(["run", "--table", "1", "--near-twins", "one-per-cluster", "--sensitivity", "0.8", *options]) == 0
    assert main(["run", "--table", "1", "--protocol", "all", *options]) == 0
    assert plans[2].protocols == ("paper", "image-level", "leak-free")
    table = plans[1].dataset.table
    assert table["group_id"].is_unique and len(table) == 18
    assert plans[1].sensitivity == 0.8


@pytest.mark.parametrize(("option", "value"), [("--recipe", "lesion-safe"), ("--recipe", "otsu")])
def test_a_recipe_that_is_not_for_ultrasound_is_refused(busi, tmp_path, capsys, option, value):
    options = ["--dataset-root", str(busi), "--output", str(tmp_path / "out")]
    assert main(["run", "--table", "1", option, value, *options]) == 2
    assert "Expected recipe for ultrasound to be one of 'plain', 'ultrasound'" in capsys.readouterr().err


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
        patch.setattr(run_command, "PHANTOM_PATIENTS", 12)
        options = "--rows vgg16 --image-size 32 --epochs 1 --folds 2 --protocol both"
        assert main(["run", "--table", "2", *options.split(), "--output", str(output)]) == 0
    yield output
    shutil.rmtree(output)


def test_a_run_from_end_to_end_writes_its_tables(finished):
    names = {path.name for path in finished.iterdir()} - {"tensorflow.log", ".table2.lock"}
    details = {"details.md", "classes.csv", "levels.csv", "subgroups.csv"}
    calibration = {"calibration.csv", "reliability.png", "decision.png"}
    written = {f"table2_{name}" for name in details | calibration}  # vgg16 takes no metadata: no table of it
    report = {"report.html", "figures"}
    assert names == {"phantom-mammogram", "table2", "table2.csv", "table2.md", "table2.tex"} | written | report
    with (finished / "table2.csv").open(encoding="utf-8") as file:
        lines = {(line["row"], line["protocol"]): line for line in csv.DictReader(file)}
    assert len(lines) == 34
    assert lines["vgg16", "paper"]["status"] == lines["vgg16", "leak-free"]["status"] == "ok"
    assert (lines["vgg16", "paper"]["n_samples"], lines["vgg16", "paper"]["folds"]) == ("10", "1")
    free = lines["vgg16", "leak-free"]
    assert (free["n_samples"], free["n_groups"], free["folds"]) == ("48", "12", "2")
    assert 0 <= float(free["accuracy_ci_low"]) <= float(free["accuracy_ci_high"]) <= 100
    assert {line["status"] for key, line in lines.items() if key[0] != "vgg16"} == {"not run"}
    assert all(PHANTOM in line["label"] for line in lines.values())
    for name in ("table2.md", "table2.tex", "table2_details.md", "table2_levels.csv", "table2_subgroups.csv"):
        assert PHANTOM in (finished / name).read_text(encoding="utf-8"), name


def test_a_run_ends_with_a_report_that_names_its_command(finished):
    (command,) = json.loads((finished / "table2" / "commands.json").read_text(encoding="utf-8"))["commands"]
    assert command["command"].startswith("mmdc-tf run --table 2 --rows vgg16 ")
    assert command["dataset_root"] == str(finished / "phantom-mammogram")
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert command["command"] in text
    assert "Examples: VGG16, the paper" in text
    assert PHANTOM in text


RERUN = "--table 2 --rows vgg16 --protocol both --image-size 32 --folds 2 --epochs"


def test_the_same_command_trains_nothing_and_ends_for_people(finished, capsys):
    models = {path: path.stat().st_mtime_ns for path in finished.rglob("model.keras")}
    assert len(models) == 3
    assert main(["run", *RERUN.split(), "1", "--output", str(finished), "--resume"]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("model.keras")} == models
    out = capsys.readouterr().out
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
    assert "training.epochs: 1 → 2" in error
    assert "--fresh" in error


def test_the_script_is_the_same_command_from_any_folder(tmp_path, capsys):
    done = subprocess.run(
        [sys.executable, str(PROJECT / "run_experiments.py"), "--list"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    main(["run", "--list"])
    assert done.stdout == capsys.readouterr().out
