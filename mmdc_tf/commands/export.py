"""``mmdc-tf export``: a saved model for other runtimes, compared with the Keras model on images."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK, import_tensorflow, say
from mmdc_tf.commands.arguments import add_debug, add_model, require_one

if TYPE_CHECKING:
    from mmdc_tf.serving.card import ModelCard

NAMES = ("saved_model", "onnx", "tflite")


def add_export(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf export``."""
    parser.set_defaults(command=_export)
    add_model(parser)
    add = parser.add_argument
    add("--format", choices=NAMES, required=True, help="onnx and tflite run without TensorFlow")
    add("--quantize", action="store_true", help="onnx, tflite: weights of 8 bits, a quarter of the size")
    add("--output", type=Path, metavar="PATH", help="default: beside the model: model.onnx, model.tflite, saved_model")
    words = "images and folders to compare on, at most 50 of them; default: drawn phantoms"
    add("--images", type=Path, nargs="+", default=[], metavar="PATH", help=words)
    add_debug(parser)


def _export(options: argparse.Namespace) -> int:
    from mmdc_tf.io import require_writable
    from mmdc_tf.serving import export, parity
    from mmdc_tf.serving.card import CARD, load_model, model_file, read_card
    from mmdc_tf.training.feature_store import readable

    file, form = model_file(options.model), export.FORMATS[options.format]
    require_one(options.images)
    export.require_possible(form, options.quantize)
    card, place = read_card(file), options.output or export.default_place(file, form, options.quantize)
    export.require_place(place, form, file.with_name(CARD))
    inputs = parity.parity_inputs(card, options.images)  # what cannot be read is refused before anything is written
    require_writable(place.absolute().parent)
    import_tensorflow()
    trained, _ = load_model(file, card)
    model = export.in_float32(trained) if form.suffix else trained
    if model is not trained:
        print("note: trained in mixed precision; rebuilt in float32, which is also what it is compared with")
    export.export_model(model, file.with_name(CARD), form, place, options.quantize)
    found = parity.compare(model, parity.RUNTIMES[form.name](place), inputs, options.quantize)
    kind = "images" if options.images else "phantom images; --images PATH compares on real ones"
    lines = [
        f"model: {file} ({card.name}, recipe {card.recipe.name}, {card.image_size} pixels, {readable(_size(file))})",
        f"written: {place} ({readable(_size(place))}), its card: {export.card_place(place, form)}",
        *_tensors(card),
        f"compared with Keras on {found.images} {kind}: {found.text}",
        card.notice,
    ]
    for line in lines:
        say(line)
    if found.passed:
        return EXIT_OK
    failure = f"failed: {place} does not say what the Keras model says ({found.text})"
    print(f"{failure}. The file is kept; do not use it, or export another format.", file=sys.stderr)
    return EXIT_FAILED


def _size(place: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = place.rglob("*") if place.is_dir() else [place]
    return sum(path.stat().st_size for path in files if path.is_file())


def _tensors(card: ModelCard) -> list[str]:
    """What goes in and comes out, for someone who has the exported file alone."""
    side = card.image_size
    known = {
        "image": f"image (batch, {side}, {side}, 3), RGB in [0, 255], preprocessed by {card.recipe.name}",
        "other_view": "other_view, as image, NaN everywhere where it is missing",
        "metadata": "metadata (batch, 2), age in years and density 1 to 4, NaN where unknown",
    }
    later = "" if card.temperature is None else f", before the card's temperature of {card.temperature:.3g}"
    return [
        f"inputs, float32: {'; '.join(known[name] for name in card.inputs)}",
        f"output: probabilities (batch, {len(card.class_names)}) of {', '.join(card.class_names)}{later}",
    ]
