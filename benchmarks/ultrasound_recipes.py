"""What CLAHE is worth on BUSI to features of ImageNet networks: the recipe ``ultrasound`` less ``plain``.

    python benchmarks/ultrasound_recipes.py DATASET_ROOT WEIGHTS_FOLDER

MobileNet and VGG16 of keras.applications, whole and frozen, 224 pixels, the mean of the last feature map over its
places; a logistic regression on standardised features (C = 0.01, balanced classes), trained on the training and
validation parts of five leak-free folds. Prints both accuracies and their difference with a 95 % interval, a bootstrap
over near-twin clusters. Rows with a frozen part are not the whole story: a fine-tuned network may adapt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import LEAK_FREE, make_splits
from mmdc_tf.evaluation.comparison import paired_difference
from mmdc_tf.preprocessing import preprocess_file
from mmdc_tf.preprocessing.recipes import get_recipe

SIZE, FOLDS, SEED = 224, 5, 0
NETWORKS = {
    "mobilenet": (keras.applications.MobileNet, keras.applications.mobilenet, "mobilenet_1_0_224_tf_no_top.h5"),
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
}


def scored(dataset: Dataset, features: np.ndarray) -> pd.DataFrame:
    """Each image once, in its test fold: sample_id, group_id, fold, seed, y_true, y_pred."""
    places = pd.Series(np.arange(len(dataset.table)), index=dataset.table["sample_id"])
    labels, parts = dataset.table["label"].to_numpy(str), []
    for split in make_splits(dataset, LEAK_FREE, FOLDS, SEED):
        train, test = places[[*split.train, *split.validation]], places[list(split.test)]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000))
        answers = model.fit(features[train], labels[train]).predict(features[test])
        part = dataset.table.iloc[test][["sample_id", "group_id"]]
        parts.append(part.assign(fold=split.fold, seed=SEED, y_true=labels[test], y_pred=answers))
    return pd.concat(parts, ignore_index=True)


def main(root: str, weights: str) -> None:
    """Measures both networks under both recipes."""
    dataset = load_busi(root)
    pixels = {
        name: np.stack([preprocess_file(path, get_recipe(name), SIZE) for path in dataset.table["image_path"]])
        for name in ("plain", "ultrasound")
    }
    for network, (build, module, file) in NETWORKS.items():
        model = build(weights=str(Path(weights) / file), include_top=False, pooling="avg", input_shape=(SIZE, SIZE, 3))
        predictions = {}
        for name, images in pixels.items():
            features = model.predict(module.preprocess_input(images.astype(np.float32)), batch_size=32, verbose=0)
            predictions[name] = scored(dataset, features)
            right = (predictions[name]["y_true"] == predictions[name]["y_pred"]).groupby(predictions[name]["fold"])
            print(f"{network} {name}: accuracy {100 * right.mean().mean():.2f} %", flush=True)
        difference, low, high = (
            100 * value for value in paired_difference(predictions["ultrasound"], predictions["plain"])
        )
        print(f"{network} ultrasound - plain: {difference:+.2f} points ({low:+.2f} to {high:+.2f})", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
