"""``mmdc-tf predict``: what a trained model says of new images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED_ROW, EXIT_OK
from mmdc_tf.commands.arguments import require_one
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.native_log import native_messages_nowhere

if TYPE_CHECKING:
    from mmdc_tf.serving.listing import Listing
    from mmdc_tf.serving.output import Prediction
    from mmdc_tf.serving.predictor import Predictor


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf predict``."""
    parser.set_defaults(command=_predict)
    add = parser.add_argument
    add("paths", type=Path, nargs="*", metavar="PATH", help="images (PNG, JPEG, TIFF, BMP, DICOM) and folders of them")
    add("--model", type=Path, required=True, metavar="M", help="a model.keras file, or the training's folder")
    add("--age", default="", help="in years, or unknown; default: what a DICOM header says, else unknown")
    add("--density", default="", help="BI-RADS density 1 to 4, or unknown; default: unknown")
    add(
        "--table",
        type=Path,
        metavar="CSV",
        help="age and density by image: columns image_path (absolute, or relative to the table), age, density; its "
        "values come before --age and --density, and its images are taken where no PATH is named",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--output", type=Path, metavar="FILE.csv", help="also write the predictions into this file")
    add("--debug", action="store_true", help="show the trace of an error, and the messages of TensorFlow")


def _predict(options: argparse.Namespace) -> int:
    from mmdc_tf.serving.card import model_file

    file = model_file(options.model)
    require_one(options.paths)
    listing = _listing(options)
    from mmdc_tf.serving.output import printable

    with native_messages_nowhere(options.debug):
        from mmdc_tf.serving.predictor import load_predictor

        predictor = load_predictor(file)
        predictions, failed = _predictions(predictor, listing)
    for note in listing.notes:
        print(printable(f"note: {note}"), file=sys.stderr)
    _print(options, predictor, file, predictions, failed)
    _write(options.output, predictions, failed, predictor.card.notice)
    return EXIT_FAILED_ROW if failed else EXIT_OK


def _listing(options: argparse.Namespace) -> Listing:
    """What is asked for; everything that can be refused before TensorFlow is imported is refused here."""
    from mmdc_tf.serving.listing import list_images
    from mmdc_tf.serving.predictor import number

    if not options.paths and options.table is None:
        raise ConfigurationError("Expected images or folders. Received: no PATH and no --table. Name at least one.")
    if options.output is not None:
        _require_new_csv(options.output, [*options.paths, *([options.table] if options.table else [])])
    age, density = number("age", options.age), number("density", options.density)
    return list_images(options.paths, options.table, age, density)


def _require_new_csv(output: Path, given: list[Path]) -> None:
    if output.suffix.lower() != ".csv":
        raise ConfigurationError(f"Expected a file that ends in .csv. Received: output={output}. Give such a name.")
    if output.resolve() in {path.resolve() for path in given}:
        raise ConfigurationError(
            f"Expected an output that replaces no file given. Received: output={output}, which is one. "
            "Choose another --output."
        )


def _predictions(predictor: Predictor, listing: Listing) -> tuple[list[Prediction], dict[str, str]]:
    """The predictions, and the images that failed, with the reason; these are named on the error stream at once."""
    from mmdc_tf.serving.output import printable

    failed: dict[str, str] = {}

    def note(path: Path, error: Exception) -> None:
        reason = " ".join((str(error) or type(error).__name__).split())
        failed[str(path)] = reason
        print(printable(f"failed: {path}: {reason}"), file=sys.stderr)

    predictions = predictor.predict(listing.paths, listing.ages, listing.densities, on_error=note)
    return predictions, failed


def _print(
    options: argparse.Namespace,
    predictor: Predictor,
    file: Path,
    predictions: list[Prediction],
    failed: dict[str, str],
) -> None:
    from mmdc_tf.serving.output import introduction, json_text, text_table

    _print_disagreements(predictions)
    if options.json:
        print(json_text(predictor.card, file, predictions, failed))
        return
    print(introduction(predictor.card, file))
    if predictions:
        print(f"\n{text_table(predictions)}")


def _print_disagreements(predictions: list[Prediction]) -> None:
    from mmdc_tf.serving.output import printable

    for one in predictions:
        if "age_differs_from_header" in one.flags:
            used = "none (the model takes no age)" if one.age.value is None else f"the given {one.age.value:g}"
            print(
                printable(f"note: {one.path}: age {one.age.in_header:g} in the DICOM header; used: {used}"),
                file=sys.stderr,
            )


def _write(output: Path | None, predictions: list[Prediction], failed: dict[str, str], notice: str) -> None:
    """Writes the CSV file, where one is asked for."""
    from mmdc_tf.serving.output import printable, write_csv

    if output is None:
        return
    try:
        write_csv(output, predictions, failed, notice)
    except OSError as error:
        raise ConfigurationError(
            f"Expected a file that can be written. Received: output={output} ({error.strerror}). Choose another name."
        ) from error
    print(printable(f"written: {output}"), file=sys.stderr)
