"""``mmdc-tf cache list`` and ``clear``: the stored features of frozen parts, and what they take of the disk."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_OK
from mmdc_tf.commands.arguments import add_debug, positive
from mmdc_tf.errors import counted

if TYPE_CHECKING:
    from mmdc_tf.training.feature_store import Entry

NAMED = {"Dataset": "dataset", "Backbone": "backbone", "Cut": "cut", "Image size": "image_size", "Recipe": "recipe"}


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of ``mmdc-tf cache``."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="say what is stored, and what it takes")
    listing.add_argument("--json", action="store_true", help="for programs; an item for each view")
    clearing = actions.add_parser("clear", help="delete stored features; later runs compute them again")
    clearing.add_argument("--older-than", type=positive, metavar="DAYS", help="only what was not used for so many days")
    for action, command in ((listing, _list), (clearing, _clear)):
        action.set_defaults(command=command)
        action.add_argument("--cache-dir", type=Path, help="default: ~/.cache/mmdc_tf/features")
        add_debug(action)


def _entries(options: argparse.Namespace) -> tuple[Path, list[Entry]]:
    from mmdc_tf.training.feature_store import default_folder, list_entries

    folder = (options.cache_dir or default_folder()).expanduser().resolve()
    return folder, list_entries(folder)


def _list(options: argparse.Namespace) -> int:
    from mmdc_tf.training.feature_store import readable

    folder, entries = _entries(options)
    total = sum(entry.bytes for entry in entries)
    if options.json:
        content = {"folder": str(folder), "bytes": total, "entries": [_for_programs(entry) for entry in entries]}
        print(json.dumps(content, indent=1, ensure_ascii=False))
    elif entries:
        print(f"{_table(entries)}\n{readable(total)} in {folder}")
    else:
        print(f"no features are stored in {folder}")
    return EXIT_OK


def _clear(options: argparse.Namespace) -> int:
    from mmdc_tf.training.feature_store import clear, readable

    folder, entries = _entries(options)
    if not entries:
        print(f"no features are stored in {folder}")
        return EXIT_OK
    cleared = clear(folder, options.older_than)
    print(f"freed {readable(sum(cleared))} in {folder}: {counted(len(cleared), 'view')} of datasets")
    return EXIT_OK


def _for_programs(entry: Entry) -> dict[str, object]:
    return {
        "path": str(entry.path),
        "facts": entry.facts,
        "dtype": entry.dtype,
        "images_done": entry.images_done,
        "images_total": entry.count,
        "bytes": entry.bytes,
        "last_used": entry.used.isoformat(timespec="seconds"),
    }


def _table(entries: list[Entry]) -> str:
    """A line for the entries that differ in the view only, in order of the last use."""
    import pandas as pd

    from mmdc_tf.training.feature_store import readable

    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        shared = {name: value for name, value in entry.facts.items() if name != "view"}
        groups.setdefault(json.dumps(entry.content | {"facts": shared}, sort_keys=True), []).append(entry)
    lines = [
        {
            **{title: some[0].facts.get(name, "-") for title, name in NAMED.items()},
            "Type": some[0].dtype,
            "Views": len(some),
            "Images x views": f"{sum(one.images_done for one in some):,}/{sum(one.count for one in some):,}",
            "Disk": readable(sum(one.bytes for one in some)),
            "Last used": f"{max(one.used for one in some).astimezone():%Y-%m-%d %H:%M}",
        }
        for some in groups.values()
    ]
    return pd.DataFrame(lines).to_string(index=False)
