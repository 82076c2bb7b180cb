"""The tables of the paper, and its Fig. 3, as data: their rows, published numbers, models and arguments."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from mmdc_tf.errors import ConfigurationError, did_you_mean

TABLES = ("table1", "table2", "figure3")
KINDS = ("model", "classifier", "members")


@dataclass(frozen=True)
class Row:
    """One row of a table: exactly one of ``model``, ``classifier`` and ``members`` says what it is.

    Args:
        name: unique within the table; used on the command line and as a folder's name.
        label: as printed in the paper.
        citation: who published the numbers, or where the method comes from.
        paper: accuracy, precision, recall and F1 in per cent, as published; None where nothing was.
        model: a registered network.
        classifier: a registered classifier without a network.
        members: rows of the same table whose probabilities are averaged.
        arguments: of the builder.
        cut: the layer up to which a pretrained backbone is frozen.
        preprocessing: a recipe in place of the one for the table's images.
        largest_image_size: in pixels, for a network made for small images; larger settings are lowered to it.
        augmented: whether training images are moved by the recipe's augmentation.
        extra: in no table of the paper; trained only where it is named.
        notes: what was assumed where nothing is published, a footnote each.

    Raises:
        ConfigurationError: not exactly one of the three is given.
    """

    name: str
    label: str
    citation: str
    paper: tuple[float, float, float, float] | None = None
    model: str | None = None
    classifier: str | None = None
    members: tuple[str, ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    cut: str | None = None
    preprocessing: str | None = None
    largest_image_size: int | None = None
    augmented: bool = True
    extra: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind)]
        if len(given) != 1:
            raise ConfigurationError(
                f"Expected one of {', '.join(KINDS)} for the row {self.name!r}. "
                f"Received: {', '.join(given) or 'none'}. Correct the row."
            )

    @property
    def kind(self) -> str:
        """Which of ``KINDS`` the row is."""
        return next(kind for kind in KINDS if getattr(self, kind))


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper, or the data of a figure.

    Args:
        name: ``"table1"``, ``"table2"`` or ``"figure3"``; also the name of its folder and files.
        title: its caption.
        dataset: the real dataset's name.
        modality: ``"mammography"`` or ``"ultrasound"``; it chooses the preprocessing of a user's own folder.
        phantom: the phantom that stands in where no data are given.
        rows: in the paper's order, the extra ones last.
        notes: footnotes of all rows.
        figure: drawn as grouped bars too.
    """

    name: str
    title: str
    dataset: str
    modality: str
    phantom: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    figure: bool = False


def load_table(name: str) -> PaperTable:
    """Reads a table's file.

    Raises:
        ConfigurationError: there is no such table, or a row of it is not well formed.
    """
    if name not in TABLES:
        raise ConfigurationError(
            f"Expected a table of {', '.join(TABLES)}. Received: table={name!r}. Choose one of them."
        )
    content = tomllib.loads(resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    rows = tuple(Row(**_frozen(row)) for row in content.pop("row"))
    return PaperTable(name=name, rows=rows, **_frozen(content))


def choose_rows(table: PaperTable, names: list[str] | None) -> tuple[Row, ...]:
    """The named rows in the order given, each once; without names all rows of the paper.

    An ensemble brings its members, which come before it.

    Raises:
        ConfigurationError: a name is unknown, or there is none.
    """
    if names is None:
        return tuple(row for row in table.rows if not row.extra)
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
    with_members = [chosen for name in names for chosen in (*known[name].members, name)]
    return tuple(known[name] for name in dict.fromkeys(with_members))


def _frozen(content: dict[str, Any]) -> dict[str, Any]:
    """TOML's lists as tuples, so that a row cannot be changed."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
