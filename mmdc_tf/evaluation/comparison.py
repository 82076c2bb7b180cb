"""Which rows of a table differ: their predictions of the same samples, compared in pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metrics import metrics_by_fold
from mmdc_tf.evaluation.predictions import KEYS, class_names
from mmdc_tf.evaluation.statistics import RESAMPLES, group_draws

COLUMNS = (
    *("row", "baseline", "n_samples", "n_groups"),
    *("accuracy", "baseline_accuracy", "difference", "ci_low", "ci_high"),
    *("only_row_right", "only_baseline_right", "mcnemar_p", "holm_p", "distinguishable"),
)
ALPHA = 0.05
SHOWN = 3  # differing names in a message


def compare_rows(
    predictions: Mapping[str, pd.DataFrame],
    baseline: str,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compares each row with the baseline: McNemar's exact test, and a bootstrap of the difference of accuracy.

    McNemar's test (Psychometrika 12, 1947) looks at the samples that only one of the two gets right. Of several seeds
    the vote counts (``voted_right``). It takes images as independent, which several views of a patient and near-twins
    are not: its p is then too small.

    The bootstrap draws whole groups within each fold (``group_draws``), the same draw for all rows and all seeds of a
    group together. A fold of one group adds no width.

    A difference is called distinguishable where both say so: the p that Holm's method (Scandinavian Journal of
    Statistics 6, 1979) corrects for the number of rows is below ``alpha``, and the interval leaves out 0. The interval
    is not corrected, and too narrow with few groups: of 400 simulated pairs of equally good rows 8 % were told apart
    with four patients of four views a fold. Nothing here says what another training of the same row would give.

    Args:
        predictions: a predictions table a row, the baseline among them; columns sample_id, patient_id, group_id, fold,
            seed, y_true, y_pred and p_<class>; each sample in one fold, once for each seed.
        baseline: the row that the others are compared with.
        alpha: level of the test; the interval covers 1 − ``alpha``. In (0, 1).
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        One line a row in the order given, without the baseline; the columns ``COLUMNS``. ``accuracy`` and
        ``baseline_accuracy`` (fractions) are means over folds and seeds, as in the tables; ``difference``, ``ci_low``
        and ``ci_high`` are row minus baseline. ``only_row_right`` and ``only_baseline_right`` count samples.

    Raises:
        InputError: the baseline is absent or alone, or a row was not scored on the samples, folds and seeds of the
            baseline (the message names what differs).
    """
    if baseline not in predictions or len(predictions) < 2:
        raise InputError(
            f"Expected predictions of {baseline!r} and of at least one other row. "
            f"Received: rows={sorted(predictions)}. Train more rows, or choose another baseline."
        )
    for name in (baseline, *predictions):
        reason = what_differs(predictions[name], predictions[baseline])
        if reason:
            raise InputError(
                f"Expected rows scored on the same samples, folds and seeds as {baseline!r}. "
                f"Received: row={name!r} with {reason}. Compare rows of one run and protocol, with as many seeds."
            )
    order = ["fold", "seed", "sample_id"]
    tables = {name: table.sort_values(order, ignore_index=True) for name, table in predictions.items()}
    reference = tables.pop(baseline)
    gains = np.column_stack([_right(table) - _right(reference) for table in tables.values()])
    result = pd.DataFrame([{"row": name, "baseline": baseline, **_pair(tables[name], reference)} for name in tables])
    result[["ci_low", "ci_high"]] = _limits(gains, reference, alpha, resamples, seed)
    result["holm_p"] = multipletests(result["mcnemar_p"], method="holm")[1]
    outside = (result["ci_low"] > 0) | (result["ci_high"] < 0)
    result["distinguishable"] = (result["holm_p"] < alpha) & outside
    return result[list(COLUMNS)]


def compare_alike(predictions: Mapping[str, pd.DataFrame], baseline: str) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """``compare_rows`` of the rows that were scored as the baseline was, and what differs in the rows left out.

    The first is None where the baseline is left alone or is itself unfit.
    """
    reasons = {row: what_differs(table, predictions[baseline]) for row, table in predictions.items()}
    left_out = {row: reason for row, reason in reasons.items() if reason}
    alike = {row: table for row, table in predictions.items() if row not in left_out}
    if baseline in left_out or len(alike) < 2:
        return None, left_out
    return compare_rows(alike, baseline), left_out


def paired_difference(
    predictions: pd.DataFrame,
    control: pd.DataFrame,
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float]:
    """The difference of a row's accuracies under two ways of making folds of the same samples, and its interval.

    Whole groups are drawn (``group_draws``), for both tables together and over all folds, since in one of the two a
    group stands in several. Each prediction weighs as much as it does in the mean over folds and seeds.

    Args:
        predictions, control: predictions tables of the same samples and seeds, each sample once a seed.
        alpha, resamples, seed: as for ``compare_rows``.

    Returns:
        The accuracy of ``predictions`` less that of ``control`` (fractions), and the limits that cover 1 − ``alpha``.

    Raises:
        InputError: the two were not scored on the same samples and seeds.
    """
    keys = ["seed", "sample_id", "y_true", "group_id"]
    scored = [set(table[keys].itertuples(index=False, name=None)) for table in (predictions, control)]
    if scored[0] != scored[1] or not (len(scored[0]) == len(predictions) == len(control)):
        raise InputError(
            "Expected predictions of the same samples and seeds, each once. Received: "
            f"{len(predictions):,} and {len(control):,} lines, {len(scored[0] ^ scored[1]):,} in one only. "
            "Train the row again under both protocols, with as many seeds."
        )
    groups = np.unique(predictions["group_id"].to_numpy(dtype=str))
    sums = np.zeros((len(groups), 4))
    for column, table in ((0, predictions), (2, control)):
        cells = table.groupby(["fold", "seed"])["sample_id"]
        weights = 1.0 / (cells.transform("size") * cells.ngroups).to_numpy(dtype=float)
        index = np.searchsorted(groups, table["group_id"].to_numpy(dtype=str))
        sums[:, column] = np.bincount(index, _right(table) * weights)
        sums[:, column + 1] = np.bincount(index, weights)
    rng = np.random.default_rng(seed)
    totals = np.concatenate([[sums.sum(axis=0)], *(draws @ sums for draws in group_draws(len(groups), resamples, rng))])
    gains = np.round(totals[:, 0] / totals[:, 1] - totals[:, 2] / totals[:, 3], 12)
    low, high = np.quantile(gains[1:], [alpha / 2.0, 1.0 - alpha / 2.0], method="weibull")
    return float(gains[0]), float(low), float(high)


def voted_right(predictions: pd.DataFrame) -> pd.Series:
    """Whether a row gets each sample right, by the vote over its seeds.

    The class that most seeds predict is the row's answer; among classes with as many votes the one with the largest
    mean probability. With one seed this is ``y_pred``.

    Args:
        predictions: columns sample_id, seed, y_true, y_pred and p_<class>; each sample once for each seed.

    Returns:
        Booleans, indexed by sample_id in ascending order.
    """
    classes = np.asarray(class_names(predictions), dtype=object)
    votes = predictions["y_pred"].to_numpy(dtype=object)[:, None] == classes
    probabilities = predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=float)
    # the probabilities of all seeds together weigh half a vote: they decide between equal numbers of votes only
    scores = pd.DataFrame(votes + probabilities / (2.0 * predictions["seed"].nunique()))
    samples = predictions["sample_id"].to_numpy()
    answer = classes[scores.groupby(samples).sum().to_numpy().argmax(axis=1)]
    return predictions.groupby("sample_id")["y_true"].first() == answer


def what_differs(predictions: pd.DataFrame, reference: pd.DataFrame) -> str:
    """What keeps a row from being compared in pairs with the baseline (``reference``), in words; else empty."""
    missing = [name for name in KEYS if name not in predictions.columns]
    if missing or predictions.empty or not class_names(predictions):
        return f"no {', '.join(missing) or 'predictions'}"
    if set(class_names(predictions)) != set(class_names(reference)):
        return "other classes"
    for column in ("seed", "fold", "sample_id"):
        ours, theirs = set(predictions[column]), set(reference[column])
        if ours != theirs:
            return f"{column} {_some(ours - theirs)} in the row only, {_some(theirs - ours)} in the baseline only"
    if not _once_a_seed(predictions):
        return "samples that stand in two folds, or not once for each seed"
    pair = predictions.merge(reference, on=["seed", "sample_id"], suffixes=("", "_baseline"))
    for column in ("fold", "y_true", "group_id"):
        other = pair.loc[pair[column] != pair[f"{column}_baseline"], "sample_id"]
        if len(other):
            return f"another {column} of sample_id {_some(set(other))}"
    return ""


def _pair(table: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """Everything on two rows that needs no drawing."""
    means = [float(metrics_by_fold(part, ("accuracy",))["accuracy"].mean()) for part in (table, reference)]
    row, other = voted_right(table), voted_right(reference)
    only_row, only_baseline = int((row & ~other).sum()), int((other & ~row).sum())
    return {
        "n_samples": len(row),
        "n_groups": reference["group_id"].nunique(),
        "accuracy": means[0],
        "baseline_accuracy": means[1],
        "difference": means[0] - means[1],
        "only_row_right": only_row,
        "only_baseline_right": only_baseline,
        "mcnemar_p": float(mcnemar([[0, only_row], [only_baseline, 0]], exact=True).pvalue),
    }


def _limits(gains: np.ndarray, reference: pd.DataFrame, alpha: float, resamples: int, seed: int) -> np.ndarray:
    """(lines, rows) of −1, 0 and 1 → (rows, 2) limits of the mean over folds of the mean gain."""
    rng = np.random.default_rng(seed)
    groups = reference["group_id"].to_numpy(dtype=str)
    folds = list(reference.groupby("fold").indices.values())
    drawn = sum(_drawn_means(gains[lines], groups[lines], resamples, rng) for lines in folds) / len(folds)
    # 0.1 + 0.2 − 0.3 is not 0 on a computer; an interval must not leave out 0 for that
    drawn = np.round(drawn, 12)
    return np.quantile(drawn, [alpha / 2.0, 1.0 - alpha / 2.0], axis=0, method="weibull").T


def _drawn_means(gains: np.ndarray, groups: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """One fold's mean gains (resamples, rows); the groups are drawn once for all rows."""
    names, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), gains.shape[1] + 1))
    np.add.at(sums, index, np.column_stack([gains, np.ones(len(gains))]))
    drawn = np.concatenate([draws @ sums for draws in group_draws(len(names), resamples, rng)])
    return drawn[:, :-1] / drawn[:, -1:]


def _right(table: pd.DataFrame) -> np.ndarray:
    return (table["y_pred"] == table["y_true"]).to_numpy(dtype=float)


def _once_a_seed(predictions: pd.DataFrame) -> bool:
    samples = predictions.groupby("sample_id")
    seeds = predictions["seed"].nunique()
    once = (samples.size() == seeds) & (samples["seed"].nunique() == seeds) & (samples["fold"].nunique() == 1)
    return bool(once.all())


def _some(values: set) -> str:
    """The first few of them; ``none`` of an empty set."""
    shown = [str(value) for value in sorted(values)[:SHOWN]]
    return ", ".join([*shown, *(["…"] if len(values) > SHOWN else [])]) or "none"
