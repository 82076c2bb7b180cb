"""Footnotes of a table: what was assumed where nothing is published, and where a row was fed otherwise."""

from __future__ import annotations

import string
from typing import Any

import pandas as pd

from mmdc_tf.experiments.rows import PaperTable, Row


class Footnotes:
    """The footnotes of the rows that stand in a table, each once, with a letter.

    Args:
        table: rows with their notes.
        results: as from ``table_results``.
        run: the content of ``run.json``; empty where nothing was run yet.
    """

    def __init__(self, table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> None:
        present = set(results["row"])
        finished = results.dropna(subset="image_size").drop_duplicates("row").set_index("row")
        made: dict[Any, dict[Any, Any]] = finished[["image_size", "preprocessing"]].to_dict("index")
        self._notes = {
            row.name: (*row.notes, *_otherwise(row, made.get(row.name), run))
            for row in table.rows
            if row.name in present
        }
        texts = list(dict.fromkeys(text for notes in self._notes.values() for text in notes))
        self._letters = {text: _letter(index) for index, text in enumerate(texts)}

    def marks(self, row: str) -> str:
        """What stands behind a row's label: `` [a, b]``, or nothing."""
        letters = [self._letters[text] for text in self._notes[row]]
        return f" [{', '.join(letters)}]" if letters else ""

    def lines(self) -> list[str]:
        """One line a footnote: ``[a] …``."""
        return [f"[{letter}] {text}" for text, letter in self._letters.items()]


def _otherwise(row: Row, made: dict[Any, Any] | None, run: dict[str, Any]) -> list[str]:
    """Where a row's images were not those that the head of the table names."""
    if made is None or not run:
        return []
    notes = []
    if made["image_size"] != run["training"]["image_size"]:
        notes.append(f"Images of {made['image_size']} pixels.")
    if made["preprocessing"] != run["preprocessing"]:
        notes.append(f"Preprocessing {made['preprocessing']!r}.")
    return notes


def _letter(index: int) -> str:
    """a … z, aa … zz."""
    first, second = divmod(index, len(string.ascii_lowercase))
    return (string.ascii_lowercase[first - 1] if first else "") + string.ascii_lowercase[second]
