"""mini-MIAS: 322 films of 161 women, one MLO view a breast."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.listed import find_tables, listed_dataset, match_by_name
from mmdc_tf.datasets.schema import Dataset, DatasetInfo
from mmdc_tf.errors import DatasetError

MINI_MIAS = DatasetInfo(
    name="mini-mias",
    title="mini-MIAS",
    modality="mammography",
    class_names=("benign", "malignant", "normal"),
    expected_counts={"benign": 63, "malignant": 52, "normal": 207},
    patients=161,
    offers=("tissue as a stand-in for density",),
    citation=(
        'J. Suckling et al., "The Mammographic Image Analysis Society digital mammogram database", '
        "Exerpta Medica, International Congress Series 1069 (1994) 375"
    ),
    licence="research only, cite",
    homepage="https://www.repository.cam.ac.uk/handle/1810/250394",
)
TISSUE = {"F": 1, "G": 2, "D": 4}
"""Fatty, fatty-glandular and dense-glandular, as a stand-in for BI-RADS density."""
SEVERITY = {"": "normal", "B": "benign", "M": "malignant"}
LINE = re.compile(r"(mdb\d{3})\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)(?:\s+([BM]))?")


def load_mini_mias(root: str | Path) -> Dataset:
    """Reads mini-MIAS: ``Info.txt`` and ``mdb001`` … as PGM or PNG.

    A film may have several lines: malignant wins. Films 1 and 2 are one woman's; odd numbers are right breasts.

    Raises:
        DatasetError: ``Info.txt`` is absent or lists no film, or no film is there.
    """
    folder, (table,) = find_tables(root, ("Info.txt",))
    lines = [found.groups(default="") for found in LINE.finditer(table.read_text("utf-8", errors="replace"))]
    if not lines:
        raise DatasetError(
            f"Expected lines such as 'mdb001 G CIRC B 535 425 197'. Received: {table} without one. Fetch it again."
        )
    raw = pd.DataFrame(lines, columns=["film", "tissue", "kind", "severity"])
    worst = raw.sort_values("severity").groupby("film").last().reset_index()  # "" before B before M
    number = worst["film"].str[3:].astype(int)
    rows = worst.assign(
        sample_id=worst["film"],
        image_path=match_by_name(folder, worst["film"], lambda path: path.stem),
        label=worst["severity"].map(SEVERITY),
        patient_id=((number + 1) // 2).astype(str),
        density=worst["tissue"].map(TISSUE),
        view="MLO",
        side=(number % 2).map({0: "LEFT", 1: "RIGHT"}),
    )
    note = "density is a stand-in: fatty 1, fatty-glandular 2, dense-glandular 4"
    return listed_dataset(MINI_MIAS, folder, table, rows, (note,))
