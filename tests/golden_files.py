"""Golden files: what version 0.1.0 saved, scored and split. ``python tests/golden_files.py`` writes missing ones.

A model saved by 0.1.0 must load and predict the same ever after, so what is there is never written again. Runs are
deleted and written again where the phantom is drawn anew or the training recipe changes, and only there.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from made_up_backbone import registered

from mmdc_tf.layers import MetadataEmbedding
from mmdc_tf.models import ModelSettings, build_model

FOLDER = Path(__file__).parent / "golden"
TINY = {"backbone": "tiny"}
MODELS: dict[str, dict[str, Any]] = {
    "ablation": TINY | {"attention": True, "clinical_width": 8, "head_width": 8},
    "ablation_image_only": TINY,
    "backbone_classifier": TINY,
    "bcdnet": TINY,
    "brint_classifier": TINY | {"head": [8, 0.3]},
    "brint_custom_cnn": {"width": 2, "dense_width": 4},
    "convmixer": {"width": 8, "depth": 1},
    "densenet40": {"growth": 2, "layers_per_block": 1},
    "densenet161": {"growth": 2, "blocks": [1, 1]},
    "medfuse": TINY | {"width": 8, "clinical_width": 8},
    "mmdcnet": TINY | {"conv_filters": 8, "grid": 2},
    "swin": {"embed": 8, "depths": [2, 1], "heads": [2, 2], "window": 2},
    "two_view_classifier": TINY,
    "vgg_like": {"width": 2, "dense_width": 4},
    "vit": {"width": 16, "depth": 1, "heads": 2, "mlp": 16},
}
"""Each registered model, small; ``sw_forknet`` has the layers of ``swin`` and no small form."""
RUNS = {
    "probes": ["--table", "2", "--rows", "metadata_only,image_nearest_neighbour,hog_svm"],
    "networks": ["--table", "2", "--rows", "brint_custom_cnn,mmdcnet_mobilenet", "--protocol", "paper"],
    "frozen": ["--table", "1", "--rows", "bcdnet_mobilenet", "--protocol", "paper", "--cut", "conv_pw_5_relu"],
}
TINY_RUN = ["--image-size", "64", "--epochs", "1", "--folds", "2", "--seed", "1", "--weights", "none"]
KEPT = ("predictions.csv", "split.json")


def all_inputs() -> dict[str, np.ndarray]:
    """Four samples: noise images, and ages and densities of which some are unknown."""
    rng = np.random.default_rng(7)
    images = rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    other = np.full((4, 32, 32, 3), np.nan, "float32")
    other[:3] = rng.uniform(0, 255, (3, 32, 32, 3))
    metadata = np.array([[52, 2], [np.nan, 3], [71, np.nan], [np.nan, np.nan]], "float32")
    return {"image": images, "metadata": metadata, "other_view": other}


def inputs_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Those of ``all_inputs`` that it takes."""
    return {name: value for name, value in all_inputs().items() if name in model.input}


def kept_of(run: Path) -> list[Path]:
    """The files of a run that are golden, relative to it."""
    tables = [path.relative_to(run) for path in run.glob("table?.csv")]
    return sorted(tables + [path.relative_to(run) for name in KEPT for path in run.glob(f"table*/**/{name}")])


def execute(name: str, output: Path) -> None:
    """Runs one of ``RUNS`` on the phantom of 12 patients or 40 images."""
    from mmdc_tf import cli
    from mmdc_tf.commands import run

    run.PHANTOM_PATIENTS, run.PHANTOM_IMAGES = 12, 40
    cache = ["--cache-dir", str(output / "cache")]
    if cli.main(["run", *RUNS[name], *TINY_RUN, *cache, "--output", str(output)]):
        raise RuntimeError(f"the run {name} failed")


def _write_models() -> None:
    FOLDER.joinpath("models").mkdir(parents=True, exist_ok=True)
    for name, arguments in MODELS.items():
        place = FOLDER / "models" / f"{name}.keras"
        if not place.exists():
            keras.utils.set_random_seed(3)
            model = build_model(name, ModelSettings(image_size=32, class_count=3), **arguments)
            rng = np.random.default_rng(5)
            for weight in model.weights:  # zeros and ones, of γ and of the statistics, would hide what they do
                if weight.dtype == "float32":
                    changed = weight.numpy() + rng.normal(0, 0.03, weight.shape)
                    weight.assign((np.abs(changed) if "variance" in weight.name else changed).astype("float16"))
            for layer in model.layers:
                if isinstance(layer, MetadataEmbedding):
                    layer.adapt(inputs_of(model)["metadata"])
            model.save(place)
            _compress(place)
            np.save(place.with_suffix(".npy"), model.predict(inputs_of(model), verbose=0))


def _compress(archive: Path) -> None:
    """Keras packs without compression."""
    with zipfile.ZipFile(archive) as stored:
        content = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in content.items():
            packed.writestr(name, data)


def _write_runs() -> None:
    for name in RUNS:
        if not (FOLDER / name).exists():
            with tempfile.TemporaryDirectory() as folder:
                execute(name, Path(folder))
                for path in kept_of(Path(folder)):
                    (FOLDER / name / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(Path(folder) / path, FOLDER / name / path)


if __name__ == "__main__":
    with registered():
        _write_models()
    _write_runs()
