"""``mmdc-tf evaluate``: trained models on another hospital's data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_OK, import_tensorflow
from mmdc_tf.commands.arguments import DATASETS, add_debug, add_model, positive, require_root
from mmdc_tf.errors import counted

if TYPE_CHECKING:
    import pandas as pd

    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.serving.external import ExternalResult

PERCENT = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "f1": "Macro F1"}
PLAIN = {"auc": "AUC", "ece": "Calibration error"}
NO_EXTERNAL = "- Tested on images of the dataset that it was trained on: there is no external validation."
SHARES = {"sensitivity": "Sensitivity", "specificity": "Specificity"}


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf evaluate``."""
    parser.set_defaults(command=_evaluate)
    add_model(parser)
    add = parser.add_argument
    add("--dataset", required=True, choices=DATASETS, help="the external data set")
    add("--root", type=Path, required=True, help="its folder")
    words = "where the model's own data lie: images that look like one of them are left out; default: where they lay"
    add("--training-root", type=Path, metavar="DIR", help=words)
    words = "fit temperature and threshold once more on about K local images, and score the others"
    add("--recalibrate", type=positive, default=0, metavar="K", help=words)
    add("--seed", type=int, default=0, help="of the choice of the local images; default: 0")
    add("--output", type=Path, help="default: the folder of the model")
    add_debug(parser)


def _evaluate(options: argparse.Namespace) -> int:
    from mmdc_tf.datasets.catalogue import load_dataset, require_readable
    from mmdc_tf.io import require_writable

    require_root(options.root)
    import_tensorflow()
    from mmdc_tf.serving.external import evaluate_externally, trained_models, without_copies

    files = trained_models(options.model)
    output = options.output or (options.model if options.model.is_dir() else options.model.parent)
    require_writable(output)
    dataset = load_dataset(options.dataset, options.root)
    require_readable(dataset)
    training = _training_data(files[0], options.training_root)
    copies = "not searched for copies of the model's own data: their folder is not known (--training-root)"
    if training is not None:
        dataset, copies = without_copies(dataset, training)
    print(f"{dataset.info.title}: {counted(len(dataset.table), 'image')}; {copies}")
    result = evaluate_externally(files, dataset, options.recalibrate, options.seed)
    for path in _write(result, dataset, output, (copies, *result.notes), files):
        print(f"written: {path}")
    return EXIT_OK


def _training_data(file: Path, root: Path | None) -> Dataset | None:
    """What the model was made from, where its run says so and the folder is there."""
    from mmdc_tf.datasets.catalogue import list_dataset
    from mmdc_tf.experiments.run_folder import commands_of
    from mmdc_tf.io import read_json

    for folder in file.resolve().parents:
        if (run := read_json(folder / "run.json")) is not None:
            if run["synthetic"]:
                return None
            known = [Path(one["dataset_root"]) for one in commands_of(folder) if one.get("dataset_root")]
            place = root or (known[-1] if known else None)
            return list_dataset(run["dataset"], place) if place is not None and place.is_dir() else None
    return None


def _write(
    result: ExternalResult, dataset: Dataset, output: Path, notes: tuple[str, ...], files: list[Path]
) -> list[Path]:
    """The scores as CSV and Markdown, which is printed; predictions and subgroups as CSV."""
    from mmdc_tf.io import write_table, write_text

    name = f"external-{dataset.info.name}"
    text = "\n\n".join(
        [
            f"# External validation on {dataset.info.title}",
            _table(result.scores),
            "Intervals: 95 % bootstrap over groups. Sensitivity and specificity at the threshold that each model was "
            "stored with; refitted: fitted once more on local images that are not scored.",
            "\n".join(f"- {note}" for note in notes),
        ]
    )
    print(text)
    _add_to_cards(files, dataset.info.title, text + "\n")
    places = [output / f"{name}{end}" for end in (".csv", ".md", "-predictions.csv", "-subgroups.csv")]
    write_table(places[0], result.scores, float_format="%.6g")
    write_text(places[1], text + "\n")
    write_table(places[2], result.predictions, float_format="%.6g")
    write_table(places[3], result.subgroups, float_format="%.6g")
    return places


def _add_to_cards(files: list[Path], name: str, text: str) -> None:
    """Puts the result into the model card beside each model, in place of the line that says that there is none."""
    from mmdc_tf.io import write_text

    for card in (file.with_name("model_card.md") for file in files):
        if card.is_file():
            before = card.read_text(encoding="utf-8").partition(f"\n# External validation on {name}")[0].rstrip("\n")
            before = before.replace(NO_EXTERNAL, "- External validation: see the end of this card.")
            write_text(card, f"{before}\n\n{text}")


def _table(scores: pd.DataFrame) -> str:
    from mmdc_tf.report.formatting import grid

    found = [name for name in (*PERCENT, *PLAIN, *SHARES) if name in scores]
    again = [f"{name}_refitted" for name in ("ece", *SHARES) if f"{name}_refitted" in scores]
    titles = {**PERCENT, **PLAIN, **SHARES}
    header = ["Model", "Images", *(titles[name] for name in found)]
    header += [f"{titles[name.removesuffix('_refitted')]}, refitted" for name in again]
    lines = [
        [line["model"], f"{line['n_images']:.0f}", *(_cell(line, name) for name in (*found, *again))]
        for line in scores.to_dict("records")
    ]
    return grid(header, lines, texts=1)


def _cell(line: dict[Any, Any], name: str) -> str:
    """A number, with its interval where it has one; shares in per cent."""
    plain = name.removesuffix("_refitted") in PLAIN
    texts = [
        "n/a" if value != value or value is None else f"{value:.3f}" if plain else f"{100 * value:.1f}"
        for value in (line.get(key) for key in (name, f"{name}_ci_low", f"{name}_ci_high") if key in line)
    ]
    return texts[0] if len(texts) == 1 else f"{texts[0]} ({texts[1]}–{texts[2]})"
