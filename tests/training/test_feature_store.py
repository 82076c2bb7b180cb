"""The store of frozen features: what is computed once and read back, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up_features import (
    ALL,
    COUNT,
    PART,
    SHAPES,
    VIEW_BYTES,
    Computer,
    assert_right,
    facts,
    features,
    filled,
    open_views,
)

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.training.feature_folder import clear, list_entries
from mmdc_tf.training.feature_store import CacheSettings, default_folder, fill, open_entries


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "features"


def number(folder: Path, dtype: str, value: float) -> np.ndarray:
    """One number, stored and read."""
    entries = open_entries(CacheSettings(folder), [{}], 1, [()], dtype, 1)
    fill(entries, lambda start, stop, which: [[np.full(1, value)]])
    return entries[0].arrays()[0]


def test_what_was_computed_is_stored_once_and_read_back(folder):
    computer, told = Computer(), []
    entries = open_views(folder)
    assert fill(entries, computer, lambda *numbers: told.append(numbers)) == 3
    assert computer.calls == ALL
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert_right(entries)
    assert fill(open_views(folder), computer) == 0
    for array, shape in zip(entries[0].arrays(), SHAPES, strict=True):
        assert (array.shape, array.dtype, array.flags.writeable) == ((COUNT, *shape), np.float16, False)


def test_a_view_that_is_stored_already_is_not_computed_again(folder):
    one = open_entries(CacheSettings(folder), [facts(False)], COUNT, SHAPES, "float16", PART)
    fill(one, Computer())
    computer = Computer()
    both = open_views(folder)
    fill(both, computer)
    assert computer.calls == [(0, 4, (1,)), (4, 8, (1,)), (8, 10, (1,))]
    assert_right(both)


@pytest.mark.parametrize(
    "changes", [{"fingerprint": "ff"}, {"cut": "pool3_pool"}, {"dtype": "float32"}, {"added": [1, {"a": None}]}]
)
def test_other_facts_or_another_dtype_make_another_entry(folder, changes):
    filled(folder)
    assert fill(open_views(folder, **changes), Computer()) == 3
    assert len(list_entries(folder)) == 4


# 0.1 with 10, 7 and 23 bits after the leading one: 1638, 205 and 13421773 in units of 2⁻¹⁴, 2⁻¹¹ and 2⁻²⁷.
@pytest.mark.parametrize(
    ("dtype", "expected"), [("float16", 1638 / 2**14), ("bfloat16", 205 / 2**11), ("float32", 13421773 / 2**27)]
)
def test_each_dtype_rounds_as_it_should(folder, dtype, expected):
    stored = number(folder, dtype, 0.1)
    assert stored.dtype.name == dtype
    assert float(stored[0]) == expected
    assert float(number(folder / "negative", dtype, -0.1)[0]) == -expected


def test_bfloat16_holds_what_float16_does_not(folder):
    assert float(number(folder, "bfloat16", 2.0**100)[0]) == 2.0**100


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float16", 123456.0, "Received: 123456 among those of images 0 to 0. Use --feature-dtype bfloat16 or float32"),
        ("float16", -123456.0, "Received: 123456 "),
        ("bfloat16", 3.4e38, "largest value of bfloat16"),
        ("float32", np.nan, "Received: nan"),
        ("float16", np.inf, "Received: inf"),
    ],
)
def test_what_a_dtype_does_not_hold_is_refused(folder, dtype, value, message):
    with pytest.raises(ConfigurationError, match=message):
        number(folder, dtype, value)
    assert list_entries(folder)[0].images_done == 0
    assert float(number(folder, dtype, 0.5)[0]) == 0.5


@pytest.mark.parametrize(
    ("count", "shapes", "dtype", "part"),
    [(0, SHAPES, "float16", 4), (10, SHAPES, "float8", 4), (10, (), "float16", 4), (10, SHAPES, "float16", 0)],
)
def test_layouts_that_cannot_be(folder, count, shapes, dtype, part):
    with pytest.raises(ConfigurationError, match="Received: dtype="):
        open_entries(CacheSettings(folder), [{}], count, shapes, dtype, part)


def test_features_of_another_shape(folder):
    with pytest.raises(ConfigurationError, match=r"Received: \[\(4, 4\), \(4, 2, 3\)\]"):
        fill(open_views(folder), lambda *call: [outputs[::-1] for outputs in features(*call)])


def test_entries_of_unlike_parts_are_not_filled_together(folder):
    other = open_entries(CacheSettings(folder), [{}], COUNT, SHAPES, "float16", PART + 1)
    with pytest.raises(ConfigurationError, match=r"\[\(10, 4\), \(10, 5\)\]"):
        fill([*open_views(folder), *other], Computer())


def test_nothing_but_the_features_stays_behind(folder):
    filled(folder)
    filled(folder)
    names = {path.name for info in list_entries(folder) for path in info.path.iterdir()}
    assert names == {"facts.json", "parts.bin", "output0.bin", "output1.bin", "users"}
    assert clear(folder).bytes == 2 * VIEW_BYTES
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("variable", "expected"), [("/var/cache", "/var/cache"), ("", "/home/me/.cache"), ("relative", "/home/me/.cache")]
)
def test_the_default_folder(monkeypatch, variable, expected):
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/me")
    assert default_folder() == Path(expected) / "mmdc_tf" / "features"


def test_it_needs_no_tensorflow():
    code = "import sys, mmdc_tf.training.feature_store; print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
