"""The commands that made a run."""

from __future__ import annotations

import json

import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.command_log import commands_of, remember_command


def test_commands_are_kept_in_order_and_the_same_one_once(tmp_path):
    assert commands_of(tmp_path) == []
    for command in ("first", "second", "first"):
        remember_command(tmp_path, command, tmp_path / "data" / ".." / "data")
    found = commands_of(tmp_path)
    assert [one["command"] for one in found] == ["second", "first"]
    assert {one["dataset_root"] for one in found} == {str(tmp_path / "data")}
    assert [path.name for path in tmp_path.iterdir()] == ["commands.json"]


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "commands.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"commands\.json"):
        commands_of(tmp_path)
    (tmp_path / "commands.json").write_text(json.dumps({"commands": []}))
    assert commands_of(tmp_path) == []
