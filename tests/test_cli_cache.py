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
from made_up_features import COUNT, entries, features, filled

from mmdc_tf.cli import main
from mmdc_tf.commands.arguments import size
from mmdc_tf.training.feature_store import CacheSettings, list_entries, open_filled, readable

IMPORTS = """
import sys
from mmdc_tf.cli import main
main(sys.argv[1:])
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """DenseNet-121 in two full views; of VGG16 eight of twenty images in the first of two, last used 9 days ago."""
    folder = tmp_path / "features"
    filled(folder)
    with pytest.raises(KeyboardInterrupt):
        open_filled(CacheSettings(folder), entries(folder, backbone="vgg16", extra=1), interrupted)
    for entry in list_entries(folder):
        if entry.facts["backbone"] == "vgg16":
            when = entry.used.timestamp() - 9.5 * 86400
            os.utime(entry.path / "facts.json", (when, when))
    return folder


def interrupted(view: int, start: int):
    yield features(view, start, 8)
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
        "40/40",
        "800",
        "B",
    ]
    assert second.split()[1:10] == ["vgg16", "pool4_pool", "224", "ultrasound", "float16", "2", "8/40", "160", "B"]
    assert total == f"960 B in {folder}"


def test_the_list_for_programs_has_an_item_for_each_view(folder, capsys):
    assert cache("list", folder, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["folder"], content["bytes"]) == (str(folder), 960)
    assert [entry["images_done"] for entry in content["entries"][:2]] == [COUNT, COUNT]
    nothing, last = sorted(content["entries"][2:], key=lambda entry: entry["images_done"])
    assert (nothing["images_done"], last["images_done"]) == (0, 8)
    assert (last["facts"]["backbone"], last["dtype"], last["images_total"], last["bytes"]) == (
        "vgg16",
        "float16",
        COUNT,
        160,
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
    assert capsys.readouterr().out == f"freed 960 B in {folder}: 4 views of datasets\n"
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    kept = {"copy-of-an-entry/facts.json", "thesis.txt", f"{foreign.name}/facts.json", f"{entry.name}/notes.txt"}
    assert {path for path in left if not path.endswith(".lock")} == kept


@pytest.mark.parametrize(("days", "left"), [("9", ["densenet121"] * 2), ("10", ["densenet121"] * 2 + ["vgg16"] * 2)])
def test_clear_older_than(folder, days, left):
    assert cache("clear", folder, "--older-than", days) == 0
    assert [info.facts["backbone"] for info in list_entries(folder)] == left


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
