"""The tables of the paper, and its Fig. 3, as data: their rows, published numbers, models and arguments."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from mmdc_tf.errors import ConfigurationError, WeightsError, did_you_mean, did_you_mean_path
from mmdc_tf.io import require_json

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
        smallest_image_size: in pixels, where the network needs more than its backbone; smaller settings are raised.
        image_size_step: what its images' size is a multiple of; other settings are raised to the next.
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
    smallest_image_size: int = 1
    image_size_step: int = 1
    largest_image_size: int | None = None
    augmented: bool = True
    extra: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if sum(bool(getattr(self, kind)) for kind in KINDS) != 1:
            raise ConfigurationError(
                f"Expected exactly one of {', '.join(KINDS)}. Received: row={self.name!r} with none or several. "
                "Correct the row."
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
        title: its caption, which ends with the dataset's printed name.
        dataset: the real dataset's name.
        modality: ``"mammography"`` or ``"ultrasound"``; it chooses the preprocessing of a user's own folder.
        phantom: the phantom that stands in where no data are given.
        rows: in the paper's order, the extra ones last.
        notes: footnotes of all rows.
        figure: drawn as grouped bars too.
        first_rows: the names of the few that run on the phantom where no others are asked for; none for all.
    """

    name: str
    title: str
    dataset: str
    modality: str
    phantom: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    figure: bool = False
    first_rows: tuple[str, ...] = ()

    def made_from(self, run: Mapping[str, Any]) -> PaperTable:
        """The same with the dataset in its title that ``run`` names (``run.json``, or a training's ``config.json``)."""
        if run["dataset"] == self.dataset:
            return self
        return replace(self, title=f"{self.title.rpartition(' ')[0]} {run.get('dataset_title', run['dataset'])}")


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


def tables_in(output: Path) -> list[PaperTable]:
    """The tables that a run's folder holds, with the datasets that they were made from.

    Raises:
        ConfigurationError: it holds none.
    """
    names = [name for name in TABLES if (output / name / "run.json").is_file()]
    if not names:
        state = f"none of {', '.join(TABLES)} in it" if output.is_dir() else "a file" if output.exists() else "absent"
        raise ConfigurationError(
            f"Expected the folder of a run. Received: RUN={str(output)!r} ({state}). "
            + did_you_mean_path(output, "Name what mmdc-tf run wrote (--output).")
        )
    return [load_table(name).made_from(require_json(output / name / "run.json")) for name in names]


def choose_rows(table: PaperTable, names: list[str] | None) -> tuple[Row, ...]:
    """The named rows in the order given, each once; without names, or with the name "all", all rows of the paper.

    An ensemble brings its members, which come before it.

    Raises:
        ConfigurationError: a name is unknown, or there is none.
    """
    if names is None or names == ["all"]:
        return tuple(row for row in table.rows if not row.extra)
    known = {row.name: row for row in table.rows}
    if not names:
        raise ConfigurationError(
            f"Expected rows of {table.name}: {', '.join(known)}. Received: rows=''. Name some, or leave --rows out."
        )
    for name in names:
        if name not in known:
            others = [load_table(other) for other in TABLES]
            places = [other for other in others if name in [row.name for row in other.rows]]
            found = " ".join(
                f"It is a row of {place.title.partition(':')[0]}: --{place.name[:-1]} {place.name[-1]}."
                for place in places
            )
            raise ConfigurationError(
                f"Expected rows of {table.name}: {', '.join(known)}. Received: rows={name!r}. "
                f"{found or did_you_mean(name, known, 'See --list.')}"
            )
    with_members = [chosen for name in names for chosen in (*known[name].members, name)]
    return tuple(known[name] for name in dict.fromkeys(with_members))


def _frozen(content: dict[str, Any]) -> dict[str, Any]:
    """TOML's lists as tuples, so that a row cannot be changed."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def require_weights(weights: str, backbones: Iterable[str]) -> None:
    """Refuses a value of ``--weights`` that cannot be used, before TensorFlow is imported.

    Args:
        weights: ``"none"``, ``"imagenet"`` or a folder of the official weight files.
        backbones: names; those that ``backbones.toml`` does not list are passed over.

    Raises:
        WeightsError: it is no folder, or lacks files; names them all.
    """
    folder, known = Path(weights).expanduser(), ("none", "imagenet")
    if weights in known:
        return
    if not folder.is_dir():
        raise WeightsError(
            f"Expected imagenet, none or a folder of weight files. Received: --weights {weights} (no such folder). "
            + did_you_mean(weights, known, "Correct the path, or use --weights none (random weights).")
        )
    text = resources.files("mmdc_tf").joinpath("models/backbones.toml").read_text(encoding="utf-8")
    files = {entry["name"]: entry["weights_file"] for entry in tomllib.loads(text)["backbone"]}
    wanted = {name: files[name] for name in sorted(set(backbones)) if name in files}
    missing = [f"{file} for {name}" for name, file in wanted.items() if not (folder / file).is_file()]
    if missing:
        raise WeightsError(
            f"Expected the file{'s' * (len(missing) > 1)} {', '.join(missing)}. Received: --weights {weights} without. "
            "Put the official keras-applications files there, or use --weights none (random initialisation)."
        )
