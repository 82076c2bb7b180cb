"""Sample table → the second view of each breast."""

from __future__ import annotations

import numpy as np
import pandas as pd

BREAST = ["patient_id", "side"]


def other_views(table: pd.DataFrame) -> np.ndarray:
    """The image of the same breast in the other standard view (CC for MLO, MLO for CC).

    Only the given table is searched: a part of a split never sees an image of another part.

    Args:
        table: a sample table, or one part of it.

    Returns:
        Paths in the table's order, str (n,); "" where the patient, side or view is unknown or the other view is absent.
        Where a breast has several images of a view, its first by ``sample_id``.
    """
    known = (table[[*BREAST, "view"]] != "").all(axis=1)
    firsts = table[known].sort_values("sample_id", kind="stable").drop_duplicates([*BREAST, "view"])
    wanted = table[BREAST].assign(view=table["view"].map({"CC": "MLO", "MLO": "CC"}))
    paths = wanted.merge(firsts[[*BREAST, "view", "image_path"]], how="left", on=[*BREAST, "view"])["image_path"]
    return paths.where(known.to_numpy(), "").fillna("").to_numpy(dtype=str)
