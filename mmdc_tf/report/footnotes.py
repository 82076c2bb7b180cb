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
        made: dict[Any, dict[Any, Any]] = finished[["image_size", "preprocessing", "layer_cut"]].to_dict("index")
        networks = [row.name for row in table.rows if row.model is not None and row.name in made]
        differ = bool(run.get("frozen_features")) and len({bool(made[name]["layer_cut"]) for name in networks}) > 1
        self._notes = {
            row.name: (
                *row.notes,
                *_otherwise(row, made.get(row.name), run),
                *([_variation(made[row.name], run)] if differ and row.name in networks and row.augmented else []),
            )
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


def _variation(made: dict[Any, Any], run: dict[str, Any]) -> str:
    """How training images were varied, which a frozen part changes: it sees each image in a few views only."""
    training = run["training"]
    if not made["layer_cut"]:
        return "Trained on images, moved anew in each step (mirror, shift, zoom) and not mixed: no part is frozen."
    mixed = f"mixed with α = {training['feature_mixing']:g}" if training["feature_views"] > 1 else "not mixed"
    return (
        f"Trained on features of a frozen part: {training['feature_views']} fixed view(s) an image (mirror, shift, "
        f"zoom, rotation, brightness), {mixed}. Rows without a frozen part are varied otherwise."
    )


def _letter(index: int) -> str:
    """a … z, aa … zz."""
    first, second = divmod(index, len(string.ascii_lowercase))
    return (string.ascii_lowercase[first - 1] if first else "") + string.ascii_lowercase[second]
