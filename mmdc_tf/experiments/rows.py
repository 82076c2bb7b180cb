"""The tables of the paper as data: their rows, published numbers, models and arguments."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from mmdc_tf.errors import ConfigurationError, did_you_mean

TABLES = (1, 2)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        name: unique within the table; used on the command line and as a folder's name.
        label: as printed in the paper.
        citation: who published the numbers.
        paper: accuracy, precision, recall and F1 in per cent, as published.
        model: the registered model, or None where the row is not built yet.
        arguments: of the model's builder.
        cut: the layer up to which a pretrained backbone is frozen.
    """

    name: str
    label: str
    citation: str
    paper: tuple[float, float, float, float]
    model: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    cut: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Args:
        number: 1 or 2.
        title: its caption.
        dataset: the real dataset's name.
        modality: ``"mammography"`` or ``"ultrasound"``; it chooses the preprocessing of a user's own folder.
        phantom: the phantom that stands in where no data are given.
        rows: in the paper's order.
    """

    number: int
    title: str
    dataset: str
    modality: str
    phantom: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return f"table{self.number}"


def load_table(number: int) -> PaperTable:
    """Reads a table's file.

    Raises:
        ConfigurationError: the paper has no such table.
    """
    if number not in TABLES:
        raise ConfigurationError(
            f"Expected a table of {', '.join(map(str, TABLES))}. Received: table={number!r}. Choose one of them."
        )
    content = tomllib.loads(resources.files(__package__).joinpath(f"table{number}.toml").read_text(encoding="utf-8"))
    rows = tuple(Row(**{**row, "paper": tuple(row["paper"])}) for row in content.pop("row"))
    return PaperTable(number=number, rows=rows, **content)


def choose_rows(table: PaperTable, names: list[str] | None) -> tuple[Row, ...]:
    """The named rows in the order given, each once, or all that are built where ``names`` is None.

    Raises:
        ConfigurationError: a name is unknown or not built yet, or there is none.
    """
    if names is None:
        return tuple(row for row in table.rows if row.model is not None)
    known = {row.name: row for row in table.rows}
    if not names:
        raise ConfigurationError(
            f"Expected rows of {table.name}: {', '.join(known)}. Received: rows=''. Name some, or leave --rows out."
        )
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, "See --list.")
            raise ConfigurationError(
                f"Expected rows of {table.name}: {', '.join(known)}. Received: rows={name!r}. {hint}"
            )
        if known[name].model is None:
            built = ", ".join(row.name for row in table.rows if row.model is not None)
            raise ConfigurationError(
                f"Expected a row that is built. Received: rows={name!r}, not built yet. Built: {built}."
            )
    return tuple(known[name] for name in dict.fromkeys(names))
