"""``checklist.md`` and ``.csv``: items of CLAIM 2024, TRIPOD+AI and METRICS, filled in by the run or left open."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.catalogue import DECLARED
from mmdc_tf.datasets.splits import LEAK_FREE
from mmdc_tf.errors import counted
from mmdc_tf.evaluation.metrics import WORST, worst_cases
from mmdc_tf.experiments.results import rows_that_ran
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import OK, read_samples, row_predictions, run_of
from mmdc_tf.io import write_table, write_text
from mmdc_tf.report.formatting import PROTOCOL_TITLES, grid, markdown_text

AUTHOR = "the author must state"


def write_checklist(sections: list[tuple[PaperTable, pd.DataFrame]], output: Path, place: Path) -> None:
    """Writes the checklist of a run beside its report.

    Args:
        sections: each table of the run with its numbers, as from ``table_results``.
        output: the run's folder.
        place: the folder to write to.
    """
    norms = tomllib.loads(resources.files(__package__).joinpath("checklist.toml").read_text("utf-8"))
    found = pd.concat([_filled(table, _facts(table, results, output), norms) for table, results in sections])
    write_table(place / "checklist.csv", found)
    parts = ["# Reporting checklist", "Items in our own words; the guidelines' own texts count."]
    titles: dict[Any, str] = {table.name: markdown_text(table.title) for table, _ in sections}
    for (name, norm), part in found.groupby(["table", "norm"], sort=False):
        cells = part[["item", "asks_for", "filled_from"]].map(markdown_text).to_numpy().tolist()
        filled = int((part["filled_from"] != AUTHOR).sum())
        parts += [
            f"## {titles[name]}. {norm}: {filled} of {len(part)} filled in",
            grid(["Item", "Asks for", "Filled in"], cells, texts=3),
        ]
    write_text(place / "checklist.md", "\n\n".join(parts) + "\n")


def _filled(table: PaperTable, facts: dict[str, str], norms: dict[str, list[list[str]]]) -> pd.DataFrame:
    """A line for each item: the last word of an item names the fact that fills it in."""
    lines = [
        {"table": table.name, "norm": norm, "item": item, "asks_for": words}
        | {"filled_from": facts.get(next(iter(fact), ""), AUTHOR)}
        for norm, items in norms.items()
        for item, words, *fact in items
    ]
    return pd.DataFrame(lines)


def _facts(table: PaperTable, results: pd.DataFrame, output: Path) -> dict[str, str]:
    """Name of a fact → the file that it is from, and what it says."""
    folder = output / table.name
    run, samples, ran = run_of(folder), read_samples(folder), rows_that_ran(results)
    recipe, name = run["training"], table.name
    rows = ", ".join(dict.fromkeys(ran["label"]))
    protocols = ", ".join(
        PROTOCOL_TITLES[one].lower() for one in dict.fromkeys(ran.loc[ran["status"] == OK, "protocol"])
    )
    declared = DECLARED.get(run["dataset"])
    said = f"{declared.title}; {declared.citation}; licence: {declared.licence}" if declared else "your own folder"
    facts = {
        "data": f"run.json: {said}",
        "preprocessing": f"run.json: recipe {run['preprocessing']}, {recipe['image_size']} pixels",
        "subsets": f"run.json: near-twins {run.get('near_twins', 'keep')}, labels by {run.get('labels', 'patient')}",
        "partitions": f"split.json of each training: {protocols}; {counted(run['folds'], 'fold')}, seed {run['seed']}",
        "disjoint": f"run.json: {run['group_unit']}, under leak-free alone",
        "model": f"config.json, model_card.md of each training: {rows}",
        "inputs": "model.json of each training; age and density standardised in the model, a learned value for unknown",
        "software": "environment.json of each training: all packages, processor, memory",
        "initial": f"run.json: weights {run['weights']}, frozen: {run.get('cut', 'none')}",
        "training": f"run.json: at most {counted(recipe['epochs'], 'epoch')}, batches of {recipe['batch_size']}, Adam, "
        f"rate {recipe['learning_rate']:g} (pretrained) or {recipe['learning_rate_random']:g}",
        "selection": f"run.json: the best {recipe['monitor']} of the second half of the epochs, on the validation part",
        "imbalance": f"run.json: class weights {'on' if recipe['class_weights'] else 'off'}",
        "measures": f"{name}.csv, {name}_details.md: accuracy, macro precision, recall and F1, AUC, calibration",
        "uncertainty": f"{name}.csv: 95 % bootstrap over groups",
        "thresholds": f"{name}_calibration.csv: sensitivity {run.get('sensitivity', 0.9):g} on the validation part",
        "explained": "report.html, examples: Grad-CAM and the model's own attention",
        "availability": "this package, Apache-2.0; the data from their publisher",
        "code": "this package, Apache-2.0",
        "checklist": "this file",
        "calibration": f"{name}_calibration.csv: before and after temperature scaling",
    }
    if samples is not None:
        counts = ", ".join(f"{count:,} {label}" for label, count in samples["label"].value_counts().items())
        facts["counts"] = f"samples.csv: {len(samples):,} images ({counts}), {samples['group_id'].nunique():,} groups"
        unknown = {column: samples[column].isna().mean() for column in ("age", "density")}
        facts["missing"] = (
            f"samples.csv: {', '.join(f'{key} unknown for {share:.1%}' for key, share in unknown.items())}"
        )
        facts["demographics"] = f"{name}_subgroups.csv: results by age, density, view, side and site, where known"
        if (sites := samples["digitizer"].replace("", pd.NA).nunique()) > 0:
            facts["sites"] = f"samples.csv: {sites} sites or devices"
    if (output / f"{name}_noise.csv").is_file():
        facts["robustness"] = f"{name}_noise.csv: noise, blur and compression, four steps each"
    if external := sorted(path.name for path in output.rglob("external-*.md")):
        facts["external"] = f"{', '.join(external)}: scores, thresholds as stored and refitted"
    if any(row.members and row.name in set(ran["row"]) for row in table.rows):
        facts["ensembles"] = f"{name}.csv: the mean of the members' probabilities"
    networks = {row.name: row.model is not None for row in table.rows}
    simple = ran.loc[~ran["row"].map(networks) & (ran["status"] == OK), "label"]
    if len(simple):
        facts["simple"] = f"{name}.csv: {', '.join(dict.fromkeys(simple))}"
    free = ran[(ran["protocol"] == LEAK_FREE) & (ran["status"] == OK)]
    if len(free):
        best = free.sort_values("accuracy", ascending=False).iloc[0].to_dict()
        limits = f"{best['accuracy_ci_low']:.1f}–{best['accuracy_ci_high']:.1f}"
        facts["performance"] = f"{name}.csv: {best['label']}, leak-free, accuracy {best['accuracy']:.1f} % ({limits})"
        facts["failures"] = f"predictions.csv: {_failures(row_predictions(folder, best['row'], LEAK_FREE))}"
    return facts


def _failures(predictions: pd.DataFrame) -> str:
    """Which classes the worst images are of, and what they are taken for."""
    worst = worst_cases(predictions)
    kinds: dict[Any, int] = worst.groupby(["y_true", "y_pred"]).size().to_dict()
    shown = ", ".join(f"{count} {truth} taken for {guess}" for (truth, guess), count in kinds.items())
    return f"of the worst {WORST:.0%}, {counted(len(worst), 'image')}: {shown}"
