"""``mmdc-tf cache list`` and ``clear``: the stored features of frozen parts, and what they take of the disk."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_OK
from mmdc_tf.commands.arguments import add_debug, positive
from mmdc_tf.errors import counted

if TYPE_CHECKING:
    from mmdc_tf.training.feature_store import Entry

HEADER = ("Dataset", "Backbone", "Cut", "Image size", "Recipe", "Type", "Views", "Images x views", "Disk", "Last used")
NOTHING = "no features are stored in {}"
NAMED = ("dataset", "backbone", "cut", "image_size", "recipe")  # the facts in the first columns
WORDS = (0, 1, 2, 4, 5)  # columns of words, on the left; the others are numbers


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of ``mmdc-tf cache``."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="say what is stored, and what it takes")
    listing.set_defaults(command=_list)
    listing.add_argument("--json", action="store_true", help="for programs; an item for each view")
    clearing = actions.add_parser("clear", help="delete stored features; later runs compute them again")
    clearing.set_defaults(command=_clear)
    clearing.add_argument("--older-than", type=positive, metavar="DAYS", help="only what was not used for so many days")
    for action in (listing, clearing):
        action.add_argument("--cache-dir", type=Path, help="default: ~/.cache/mmdc_tf/features")
        add_debug(action)


def _folder(options: argparse.Namespace) -> Path:
    from mmdc_tf.training.feature_store import default_folder

    return (options.cache_dir or default_folder()).expanduser().resolve()


def _list(options: argparse.Namespace) -> int:
    from mmdc_tf.training.feature_store import list_entries, readable

    folder = _folder(options)
    entries = list_entries(folder)
    total = sum(entry.bytes for entry in entries)
    if options.json:
        content = {"folder": str(folder), "bytes": total, "entries": [_for_programs(entry) for entry in entries]}
        print(json.dumps(content, indent=1, ensure_ascii=False))
    elif entries:
        print(_aligned([HEADER, *map(_line, _groups(entries))]))
        print(f"{readable(total)} in {folder}")
    else:
        print(NOTHING.format(folder))
    return EXIT_OK


def _clear(options: argparse.Namespace) -> int:
    from mmdc_tf.training.feature_store import clear, list_entries, readable

    folder = _folder(options)
    if not list_entries(folder):
        print(NOTHING.format(folder))
        return EXIT_OK
    cleared = clear(folder, options.older_than)
    print(f"freed {readable(sum(cleared))} in {folder}: {counted(len(cleared), 'view')} of datasets")
    return EXIT_OK


def _for_programs(entry: Entry) -> dict[str, Any]:
    return {
        "path": str(entry.path),
        "facts": entry.facts,
        "dtype": entry.dtype,
        "images_done": entry.images_done,
        "images_total": entry.count,
        "bytes": entry.bytes,
        "last_used": entry.used.isoformat(timespec="seconds"),
    }


def _groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries that differ in the view only, in order of the last use."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        content = entry.content
        shared = {name: value for name, value in content["facts"].items() if name != "view"}
        groups.setdefault(json.dumps(content | {"facts": shared}, sort_keys=True), []).append(entry)
    return list(groups.values())


def _line(group: Sequence[Entry]) -> tuple[str, ...]:
    from mmdc_tf.training.feature_store import readable

    first = group[0]
    done, total = sum(entry.images_done for entry in group), sum(entry.count for entry in group)
    return (
        *(str(first.facts.get(name, "-")) for name in NAMED),
        first.dtype,
        str(len(group)),
        f"{done:,}/{total:,}",
        readable(sum(entry.bytes for entry in group)),
        f"{max(entry.used for entry in group).astimezone():%Y-%m-%d %H:%M}",
    )


def _aligned(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(_padded, range(len(line)), line, widths)).rstrip() for line in lines)


def _padded(column: int, text: str, width: int) -> str:
    return text.ljust(width) if column in WORDS else text.rjust(width)
