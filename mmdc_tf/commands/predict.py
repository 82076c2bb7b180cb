"""``mmdc-tf predict``: what a trained model says of new images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK, import_tensorflow, say
from mmdc_tf.commands.arguments import add_debug, add_model, add_patient, require_one
from mmdc_tf.errors import ConfigurationError, one_line

if TYPE_CHECKING:
    from mmdc_tf.serving.listing import Listing


def add_predict(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf predict``."""
    parser.set_defaults(command=_predict)
    add_model(parser)
    add = parser.add_argument
    add("paths", type=Path, nargs="*", metavar="PATH", help="images (PNG, JPEG, TIFF, BMP, DICOM) and folders of them")
    add_patient(add)
    words = (
        "age and density by image: columns image_path (absolute, or relative to the table), age, density; its values "
        "come before --age and --density, and its images are taken where no PATH is named"
    )
    add("--table", type=Path, metavar="CSV", help=words)
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--output", type=Path, metavar="FILE.csv", help="also write the predictions into this file")
    add_debug(parser)


def _predict(options: argparse.Namespace) -> int:
    from mmdc_tf.serving.card import model_file
    from mmdc_tf.serving.output import introduction, json_text, text_table, write_csv

    def note(path: Path, error: Exception) -> None:
        failed[str(path)] = one_line(error) or type(error).__name__
        say(f"failed: {path}: {failed[str(path)]}", sys.stderr)

    file = model_file(options.model)
    require_one(options.paths)
    listing, failed = _listing(options), dict[str, str]()
    import_tensorflow()
    from mmdc_tf.serving.predictor import load_predictor

    predictor = load_predictor(file)
    predictions = predictor.predict(listing.paths, listing.ages, listing.densities, on_error=note)
    for text in listing.notes:
        say(f"note: {text}", sys.stderr)
    for one in predictions:
        if "age_differs_from_header" in one.flags:
            used = "none (the model takes no age)" if one.age.value is None else f"the given {one.age.value:g}"
            say(f"note: {one.path}: age {one.age.in_header:g} in the DICOM header; used: {used}", sys.stderr)
    if options.json:
        print(json_text(predictor.card, file, predictions, failed))
    else:
        print(introduction(predictor.card, file), *([f"\n{text_table(predictions)}"] if predictions else []), sep="\n")
    if options.output is not None:
        write_csv(options.output, predictions, failed, predictor.card.notice)
        say(f"written: {options.output}", sys.stderr)
    return EXIT_FAILED if failed else EXIT_OK


def _listing(options: argparse.Namespace) -> Listing:
    """What is asked for; everything that can be refused before TensorFlow is imported is refused here."""
    from mmdc_tf.serving.listing import list_images

    output = options.output
    if not options.paths and options.table is None:
        raise ConfigurationError("Expected images or folders. Received: no PATH and no --table. Name at least one.")
    if output is not None and output.suffix.lower() != ".csv":
        raise ConfigurationError(f"Expected a file that ends in .csv. Received: output={output}. Give such a name.")
    given = [*options.paths, *([options.table] if options.table else [])]
    if output is not None and output.resolve() in {path.resolve() for path in given}:
        raise ConfigurationError(
            f"Expected an output that replaces no file given. Received: output={output}, which is one. "
            "Choose another --output."
        )
    return list_images(options.paths, options.table, options.age, options.density)
