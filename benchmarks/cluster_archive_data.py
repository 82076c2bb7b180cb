"""The made-up files of ``cluster_archive.py``."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from cluster_work import made_up_samples
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEG2000Lossless

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.io import write_table

FOLDS, ROWS, SEEDS, SCANS = 5, 20, 8, 4
CLASSES = ("benign", "cancer", "normal")
WIDTH, HEIGHT, NOISE = 3328, 4096, 16
SIZE, RECIPE = 224, "lesion-safe"


def full_field_files(folder: Path) -> dict[str, list[Path]]:
    """Enlarged phantoms, by format."""
    dataset = phantom_mammograms(folder / "phantom", patients=3, seed=0)
    (folder / "scans").mkdir()
    rng, files = np.random.default_rng(0), {}
    for number, path in enumerate(dataset.table["image_path"][:SCANS]):
        grey = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noise = rng.integers(0, NOISE, grey.shape, dtype=np.uint16)
        deep = np.where(grey > 8, grey.astype(np.uint16) * NOISE + noise, 0).astype(np.uint16)
        place = folder / "scans" / f"{number}"
        for kind, made in _written(deep, grey, place).items():
            files.setdefault(kind, []).append(made)
    return files


def _written(deep: np.ndarray, grey: np.ndarray, place: Path) -> dict[str, Path]:
    names = {"DICOM, uncompressed": ".dcm", "DICOM, JPEG 2000 lossless": ".j2k.dcm", "PNG, 16 bit": ".png"}
    paths = {kind: place.with_name(place.name + suffix) for kind, suffix in (names | {"JPEG, 8 bit": ".jpg"}).items()}
    plain, compressed, png, jpeg = paths.values()
    scan = _dicom(deep)
    scan.save_as(plain, enforce_file_format=True)
    scan.compress(JPEG2000Lossless)
    scan.save_as(compressed, enforce_file_format=True)
    cv2.imwrite(str(png), deep)
    cv2.imwrite(str(jpeg), grey)
    return paths


def _dicom(pixels: np.ndarray) -> pydicom.Dataset:
    scan = pydicom.Dataset()
    scan.file_meta = FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    scan.SOPClassUID = scan.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    scan.SOPInstanceUID = scan.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    scan.Modality, scan.PhotometricInterpretation = "MG", "MONOCHROME2"
    scan.Rows, scan.Columns = pixels.shape
    scan.SamplesPerPixel, scan.PixelRepresentation = 1, 0
    scan.BitsAllocated, scan.BitsStored, scan.HighBit = 16, 12, 11
    scan.PixelData = pixels.tobytes()
    scan["PixelData"].VR = "OW"
    return scan


def made_up_dataset(images: int, folder: Path) -> Dataset:
    """A sample table without images, of four views a patient."""
    table = made_up_samples(images)
    table["label"] = np.asarray(CLASSES, dtype=object)[np.arange(images) // 4 % len(CLASSES)]
    phantom = phantom_mammograms(folder / "small", patients=3, seed=0)
    return replace(phantom, table=table)


def made_up_predictions(dataset: Dataset, split: Split, draw: int) -> pd.DataFrame:
    """Of the test part, a little better than chance."""
    part = select(dataset.table, split.test)
    return predictions_table(part, _probabilities(part["label"], draw), CLASSES, split.fold, seed=0)


def _probabilities(labels: pd.Series, draw: int) -> np.ndarray:
    logits = np.random.default_rng(draw).normal(size=(len(labels), len(CLASSES)))
    logits[np.arange(len(labels)), labels.map(CLASSES.index)] += 1.0
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


def made_up_run(output: Path, lines: int) -> tuple[PaperTable, Path]:
    """The folder of a run of ``ROWS`` rows, both protocols and ``SEEDS`` seeds, and its table."""
    rows = tuple(Row(f"row{number:02d}", f"Row {number}", "made up", model="any") for number in range(ROWS))
    table = PaperTable("table2", "Table II: made up", "mini-ddsm", "mammography", "phantom-mammogram", rows)
    folder = output / table.name
    folder.mkdir()
    facts = {"dataset": "made up", "dataset_fingerprint": "", "weights": "none", "seed": 0, "group_unit": "patient"}
    run = {"table": table.name, "synthetic": True, "class_names": CLASSES, "folds": FOLDS, "preprocessing": RECIPE}
    run |= facts | {"training": {"image_size": SIZE, "epochs": 1}}
    (folder / "run.json").write_text(json.dumps(run))
    samples = made_up_samples(lines * FOLDS)
    samples["label"] = np.asarray(CLASSES, dtype=object)[np.arange(len(samples)) // 4 % len(CLASSES)]
    for number, row in enumerate(rows):
        for protocol, fold, seed in itertools.product(("paper", "leak-free"), range(FOLDS), range(SEEDS)):
            if protocol == "leak-free" or fold == 0:
                part = samples.iloc[fold * lines : (fold + 1) * lines].reset_index(drop=True)
                probabilities = _probabilities(part["label"], 100 * number + seed)
                predictions = predictions_table(part, probabilities, CLASSES, fold, seed)
                place = folder / row.name / protocol / f"fold{fold}-seed{seed}"
                _write_cell(place, predictions, protocol, fold, seed)
    return table, output


def _write_cell(place: Path, predictions: pd.DataFrame, protocol: str, fold: int, seed: int) -> None:
    place.mkdir(parents=True)
    config = {"protocol": protocol, "folds": FOLDS, "fold": fold, "training_seed": seed}
    config |= {"image_size": SIZE, "row_preprocessing": RECIPE}
    (place / "config.json").write_text(json.dumps(config))
    (place / "status.json").write_text(json.dumps({"status": "ok", "seconds": 1.0}))
    write_table(place / "predictions.csv", predictions)
