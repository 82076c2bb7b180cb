"""``mmdc-tf cache list`` and ``clear`` on made-up features."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused
from made_up_features import VIEW_BYTES, Computer, open_views

from mmdc_tf.cli import main
from mmdc_tf.commands.arguments import size
from mmdc_tf.training.feature_folder import list_entries, readable
from mmdc_tf.training.feature_store import fill

IMPORTS = """
import sys
from mmdc_tf.cli import main
main(sys.argv[1:])
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """DenseNet-121 in two full views; of VGG16 the first four of ten images in two views, last used 9 days ago."""
    folder = tmp_path / "features"
    fill(open_views(folder), Computer())
    with pytest.raises(KeyboardInterrupt):
        fill(open_views(folder, backbone="vgg16", extra=1), Computer(), interrupt)
    for info in list_entries(folder):
        if info.layout.facts["backbone"] == "vgg16":
            when = info.used.timestamp() - 9.5 * 86400
            os.utime(info.path / "facts.json", (when, when))
    return folder


def interrupt(done: int, total: int) -> None:
    if done == 1:
        raise KeyboardInterrupt


def cache(action: str, folder: Path, *more: str) -> int:
    return main(["cache", action, "--cache-dir", str(folder), *more])


def test_the_table_has_a_line_for_what_differs_in_the_view_only(folder, capsys):
    assert cache("list", folder) == 0
    header, first, second, total = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "Dataset"
    assert first.split()[1:10] == [
        "densenet121",
        "pool4_pool",
        "224",
        "ultrasound",
        "float16",
        "2",
        "20/20",
        "400",
        "B",
    ]
    assert second.split()[1:10] == ["vgg16", "pool4_pool", "224", "ultrasound", "float16", "2", "8/20", "160", "B"]
    assert total == f"560 B in {folder}"


def test_the_list_for_programs_has_an_item_for_each_view(folder, capsys):
    assert cache("list", folder, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["folder"], content["bytes"]) == (str(folder), 560)
    assert [entry["images_done"] for entry in content["entries"]] == [10, 10, 4, 4]
    last = content["entries"][-1]
    assert (last["facts"]["backbone"], last["dtype"], last["images_total"], last["bytes"]) == (
        "vgg16",
        "float16",
        10,
        80,
    )
    assert Path(last["path"]).parent == folder


@pytest.mark.parametrize("action", ["list", "clear"])
@pytest.mark.parametrize("made", [True, False])
def test_an_empty_or_absent_cache_is_one_sentence(tmp_path, capsys, action, made):
    folder = tmp_path / "nothing"
    if made:
        folder.mkdir()
    assert cache(action, folder) == 0
    assert capsys.readouterr().out == f"no features are stored in {folder}\n"
    assert list(tmp_path.rglob("*")) == ([folder] if made else [])


def test_clear_deletes_all_features_and_nothing_else(folder, capsys):
    copy = folder / "copy-of-an-entry"
    entry = list_entries(folder)[0].path
    copy.mkdir()
    (copy / "facts.json").write_text((entry / "facts.json").read_text())
    (folder / "thesis.txt").write_text("x")
    foreign = folder / ("f" * 32)
    foreign.mkdir()
    (foreign / "facts.json").write_text('{"layout": "another program"}')
    (entry / "notes.txt").write_text("x")
    assert cache("clear", folder) == 0
    assert capsys.readouterr().out == f"freed 560 B in {folder}: 4 views of datasets\n"
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    kept = {"copy-of-an-entry/facts.json", "thesis.txt", f"{foreign.name}/facts.json", f"{entry.name}/notes.txt"}
    assert left - {".mmdc-tf.lock"} == kept


@pytest.mark.parametrize(("days", "left"), [("9", ["densenet121"] * 2), ("10", ["densenet121"] * 2 + ["vgg16"] * 2)])
def test_clear_older_than(folder, days, left):
    assert cache("clear", folder, "--older-than", days) == 0
    assert [info.layout.facts["backbone"] for info in list_entries(folder)] == left


def test_clear_leaves_what_is_in_use(folder, capsys):
    entries = open_views(folder)
    assert cache("clear", folder) == 0
    assert capsys.readouterr().out == (
        f"freed 160 B in {folder}: 2 views of datasets\nnote: 2 views are in use by a running process, and were left\n"
    )
    assert [info.bytes for info in list_entries(folder)] == [VIEW_BYTES] * len(entries)


@pytest.mark.parametrize("arguments", [("list",), ("clear",)])
def test_a_file_is_no_cache(tmp_path, capsys, arguments):
    (tmp_path / "file").write_text("x")
    assert "Received: --cache-dir" in refused(capsys, "cache", *arguments, "--cache-dir", tmp_path / "file")


def test_days_are_a_number(tmp_path, capsys):
    error = refused(capsys, "cache", "clear", "--cache-dir", tmp_path, "--older-than", "soon")
    assert "--older-than: expected a whole number, received 'soon'" in error


def test_it_needs_no_tensorflow(folder):
    arguments = ["cache", "list", "--cache-dir", str(folder)]
    done = subprocess.run([sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20GB", 20_000_000_000),
        ("1.5 GiB", 1_610_612_736),
        ("2kb", 2000),
        ("3 MiB", 3_145_728),
        ("1TB", 10**12),
        ("700", 700),
        ("8B", 8),
        ("None", None),
    ],
)
def test_sizes(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "20 bananas", "-1GB", "0", "0.5B", "inf", "nan", "1.2.3GB"])
def test_what_is_no_size(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a size such as 20GB, 500MiB or none, received"):
        size(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (313_400_000, "313 MB"), (12_345_000_000, "12.35 GB")],
)
def test_sizes_for_people(number, text):
    assert readable(number) == text
