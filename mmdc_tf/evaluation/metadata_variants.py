"""Sample tables with age and density taken away or given to others, to see what each is worth to a model."""

from __future__ import annotations

import numpy as np
import pandas as pd

VALUES = ["age", "density"]
AS_RECORDED = "as recorded"
UNKNOWN = {"age unknown": ["age"], "density unknown": ["density"], "both unknown": VALUES}
SHUFFLED = "shuffled"
VARIANTS = (*UNKNOWN, SHUFFLED)


def metadata_variants(table: pd.DataFrame, seed: int) -> dict[str, pd.DataFrame]:
    """The same samples with other metadata: images, labels, groups and order stay.

    ``"shuffled"`` breaks the tie between a patient and her values and keeps their distribution, as permutation
    importance does (Breiman, Random Forests, Machine Learning 45, 2001): whole patients exchange their pairs of age and
    density in one random cycle, so that none keeps its own where there are at least two. All images of a patient
    get the same donor's values; where the donor's images differ, those of the first in the table's order.

    Args:
        table: a sample table, or one part of it: columns ``patient_id``, ``group_id``, ``age`` (years) and ``density``
            (1 to 4), NaN where unknown. Where the patient is not known ("") the group stands for her.
        seed: of the exchange; the same seed gives the same.

    Returns:
        ``VARIANTS`` in order: "age unknown", "density unknown" and "both unknown" (NaN), and "shuffled".
    """
    unknown = {name: table.assign(**dict.fromkeys(columns, np.nan)) for name, columns in UNKNOWN.items()}
    return {**unknown, SHUFFLED: _shuffled(table, seed)}


def _shuffled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    patients = table["patient_id"].where(table["patient_id"] != "", "group " + table["group_id"])
    codes, names = pd.factorize(patients)
    firsts = table[VALUES].to_numpy()[np.unique(codes, return_index=True)[1]]
    cycle = np.random.default_rng(seed).permutation(len(names))
    donors = np.empty_like(cycle)
    donors[cycle] = np.roll(cycle, -1)
    given = firsts[donors[codes]]
    return table.assign(**{name: given[:, column] for column, name in enumerate(VALUES)})
