"""``mmdc-tf explain``: where a saved model looks in scans, as pictures, scored where lesion masks are known."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import astuple
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK, import_tensorflow, say
from mmdc_tf.commands.arguments import add_debug, add_model, add_patient, require_one
from mmdc_tf.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from mmdc_tf.explain.heat_scores import HeatScore
    from mmdc_tf.serving.explanation import Explainer

SUFFIX = ".heatmap.png"


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf explain``."""
    parser.set_defaults(command=_explain)
    add_model(parser)
    add = parser.add_argument
    add("images", type=Path, nargs="+", metavar="IMAGE", help="PNG, JPEG, TIFF, BMP and DICOM files")
    add("--output", type=Path, required=True, help=f"folder for a picture an image, NAME{SUFFIX}; may exist")
    add("--class", dest="class_name", metavar="NAME", help="what Grad-CAM asks about; default: the most probable class")
    add_patient(add)
    add("--mask", type=Path, metavar="FILE", help="the image's lesion mask; default: NAME_Mask and the like beside it")
    add_debug(parser)


def _explain(options: argparse.Namespace) -> int:
    from mmdc_tf.io import require_writable
    from mmdc_tf.serving.card import model_file, read_card

    file = model_file(options.model)
    require_one(options.images)
    pictures = _pictures(options)
    card = read_card(file)  # what is refused before anything is written or TensorFlow imported
    require_writable(options.output)
    import_tensorflow()
    from mmdc_tf.serving.explanation import load_explainer

    explainer = load_explainer(options.model, card)
    if options.class_name is not None:
        explainer.class_index(options.class_name)  # an unknown one ends the command before any image is read
    say(card.notice)
    problems: list[str] = []
    found = [_explain_one(explainer, scan, place, options, problems) for scan, place in pictures.items()]
    _print_summary([scores for scores in found if scores], card.mark)
    return EXIT_FAILED if problems else EXIT_OK


def _pictures(options: argparse.Namespace) -> dict[Path, Path]:
    """The scans, without the lesion masks among them, each with its picture; no picture takes a given file's place."""
    from mmdc_tf.preprocessing.scan_folder import masks_by_scan, masks_in, png_names

    masks_in.cache_clear()  # of an earlier command in this process
    given = list(dict.fromkeys(Path(os.path.normpath(path.absolute())) for path in options.images))
    masks = {mask for some in masks_by_scan(path.as_posix() for path in given).values() for mask in some}
    scans = [path for path in given if path.as_posix() not in masks]
    if options.mask is not None and len(scans) != 1:
        raise ConfigurationError(
            f"Expected one image with --mask. Received: images={len(scans)}. Give one, or leave --mask out: masks "
            "beside the images are found by their names."
        )
    above = Path(os.path.commonpath([path.parent for path in scans]))
    names = png_names(path.relative_to(above).as_posix() for path in scans)
    places = [options.output / f"{name.removesuffix('.png')}{SUFFIX}" for name in names.values()]
    taken = {path.resolve() for path in (*given, *([options.mask] if options.mask else []))}
    if overwritten := [place for place in places if place.resolve() in taken]:
        raise ConfigurationError(
            f"Expected an output folder whose pictures replace no image given. Received: {overwritten[0]} is one. "
            "Choose another --output."
        )
    return dict(zip(scans, places, strict=True))


def _explain_one(
    explainer: Explainer, path: Path, picture: Path, options: argparse.Namespace, problems: list[str]
) -> dict[str, HeatScore | None]:
    """Writes a picture and prints a line; what goes wrong is a line on the error stream, kept in ``problems``."""
    from mmdc_tf.explain.heat_scores import heat_score, read_lesion
    from mmdc_tf.preprocessing.scan_folder import masks_in
    from mmdc_tf.report.figures import write_png
    from mmdc_tf.serving.explanation import heat_figure, score_text
    from mmdc_tf.serving.predictor import FAILURES

    def complain(text: str) -> None:
        problems.append(" ".join(text.split()))
        say(problems[-1], sys.stderr)

    card, lesion = explainer.card, None
    try:
        explanation = explainer.explain(path, options.class_name, options.age, options.density)
    except FAILURES as error:
        complain(f"{path.name}: {error}")
        return {}
    try:
        if masks := [options.mask] if options.mask else masks_in(path.parent).get(path.name, []):
            lesion = read_lesion(masks, explanation.scan, card.recipe)
    except (InputError, OSError) as error:
        complain(f"{path.name}: drawn without its lesion: {error}")
    scores = {} if lesion is None else {name: heat_score(heat, lesion) for name, heat in explanation.heats.items()}
    try:
        write_png(heat_figure(explanation, card, path.name, lesion, scores), picture)
    except OSError as error:
        complain(f"{path.name}: picture not written: {picture} ({error.strerror or error})")
        return scores
    index = explanation.class_index
    parts = [f"{card.class_names[index]} {explanation.probabilities[index]:.3f}"]
    parts += [f"{name}: {score_text(score)}" for name, score in scores.items()]
    say(f"{path.name}: {'; '.join(parts)}{card.mark} -> {picture}")
    return scores


def _print_summary(found: list[dict[str, HeatScore | None]], mark: str) -> None:
    """How often each kind of heatmap hits, over the scans with a lesion, beside what chance would give."""
    for name in found[0] if len(found) > 1 else ():
        scored = [score for scores in found if (score := scores[name]) is not None]
        text = "n/a"
        if scored:
            hits, inside, area = (100 * fmean(one) for one in zip(*(astuple(score) for score in scored), strict=True))
            text = f"pointing game {sum(score.hit for score in scored)} of {len(scored)} lesions ({hits:.1f} %), "
            text += f"{inside:.1f} % of the heat inside; chance {area:.1f} %"
        uniform = f"; uniform maps, without a score: {len(found) - len(scored)}" if len(scored) < len(found) else ""
        say(f"{name}: {text}{uniform}{mark}")
