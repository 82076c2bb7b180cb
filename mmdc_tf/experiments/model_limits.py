"""What a model must not be trusted in, from the facts of its training: the last section of its card."""

from __future__ import annotations

from mmdc_tf.datasets.schema import TWIN_UNIT
from mmdc_tf.datasets.splits import folds_of
from mmdc_tf.errors import counted
from mmdc_tf.experiments.finished_training import FinishedTraining

NO_EXTERNAL = "Tested on images of the dataset that it was trained on: there is no external validation."
PHANTOM = "Trained on drawn images: it knows nothing of real ones."
PAPER = (
    "The test images chose the epoch, the temperature and the threshold: all numbers above flatter the model, and new "
    "patients will show less."
)
RANDOM = "All weights started at random: the images of the training part are all that it has ever seen."
NO_PATIENTS = (
    "The dataset names no patients. Near-twins stay together under the leak-free protocol, but two images of one "
    "patient that do not look alike may stand on both sides of the split."
)
DIGITIZER = (
    "The scans come from several sites and digitizers, among which the classes are not equally frequent. The model may "
    "recognise the digitizer: mmdc-tf audit shows how far that leads."
)


def limits(training: FinishedTraining) -> list[str]:
    """One sentence or two a limit, the general ones first."""
    declared = training.declared
    conditional = {
        PHANTOM: training.synthetic,
        PAPER: training.validates_on_test,
        RANDOM: not training.is_pretrained,
        NO_PATIENTS: training.unit == TWIN_UNIT,
        DIGITIZER: declared is not None and declared.digitizer_from_name,
    }
    found = [text for text, holds in conditional.items() if holds]
    return [NO_EXTERNAL, *found, *_few(training), *_fitted(training), _one_training(training)]


def _few(training: FinishedTraining) -> list[str]:
    part = training.parts()[0]
    if part["groups"] is None:
        return [f"Trained on {part['images']:,} images."]
    rarest = min(part["counts"], key=part["counts"].get)
    groups = counted(part["groups"], training.unit)
    return [
        f"Trained on {counted(part['images'], 'image')} of {groups}; of the rarest class, {rarest}, "
        f"{part['counts'][rarest]:,}."
    ]


def _fitted(training: FinishedTraining) -> list[str]:
    """On how few images the threshold rests."""
    calibration = training.calibration
    if calibration is None or calibration["threshold"] is None:
        return []
    validation = calibration["validation"]
    positives = sum(validation["at_threshold"][name] for name in ("true_positives", "false_negatives"))
    return [
        f"Temperature and threshold were fitted on {validation['n']:,} images, {positives:,} of them "
        f"{calibration['positive_class']}: the sensitivity reached on new images may be far from the one asked for."
    ]


def _one_training(training: FinishedTraining) -> str:
    config = training.config
    which = f"seed {config['training_seed']}"
    if folds_of(config["protocol"], config["folds"]) > 1:
        which = f"fold {config['fold'] + 1} of {config['folds']}, {which}"
    return f"This is one training ({which}); another one gives other numbers. {config['table']}.md of the run has all."
