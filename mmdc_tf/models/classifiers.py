"""Classifiers without a network: what a split is worth to a model that understands nothing.

They are scikit-learn estimators of a few lines, trained and scored on the same splits as the networks. The nearest
neighbour and the metadata alone gain most where near-twins or patients stand on both sides of a split.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy.special import log_expit, softmax
from skimage.feature import hog
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from mmdc_tf.models.registry import ModelEntry, build_registered, look_up, register
from mmdc_tf.preprocessing.operations import to_grey

CLASSIFIERS: dict[str, ModelEntry] = {}
_register = functools.partial(register, "classifier", CLASSIFIERS)


def get_classifier(name: str) -> ModelEntry:
    """The registered classifier of this name; ``ConfigurationError`` where there is none."""
    return CLASSIFIERS[look_up("classifier", name, CLASSIFIERS)]


def build_classifier(name: str, seed: int, **arguments: Any) -> Pipeline:
    """Builds a registered classifier, not fitted.

    Args:
        name: of ``CLASSIFIERS``.
        seed: of whatever it draws; the same seed and data give the same probabilities.
        arguments: of its builder.

    Returns:
        A pipeline with ``fit(X, y)`` and ``predict_proba(X)``. X is, for the input ``"image"``, uint8 (n, S, S, 3) RGB
        in [0, 255] after preprocessing, for ``"metadata"`` float32 (n, 2) raw age in years and density 1 to 4 with NaN
        for unknown; y is int (n,), the indices of the classes. Probabilities are float64 (n, classes of y), in the
        order of ``classes_``, which is sorted; each row sums to 1.

    Raises:
        ConfigurationError: the name or an argument is unknown.
    """
    return build_registered("classifier", CLASSIFIERS, name, seed, arguments)


@_register("image_nearest_neighbour", inputs=("image",), image_size=64)
def image_nearest_neighbour(seed: int) -> Pipeline:
    """The label of the training image whose 64×64 grey pixels are nearest (Euclidean); probabilities are 0 and 1.

    It has no class weights. Nothing is drawn: ``seed`` is not used.
    """
    return make_pipeline(FunctionTransformer(grey_pixels), KNeighborsClassifier(n_neighbors=1, algorithm="brute"))


@_register("hog_svm", inputs=("image",), image_size=128)
def hog_svm(seed: int, cell: int = 16) -> Pipeline:
    """Histograms of oriented gradients of the grey image → standardised → support vector machine (RBF kernel).

    HOG: N. Dalal, B. Triggs, "Histograms of oriented gradients for human detection", CVPR 2005: 9 orientations, blocks
    of 2×2 cells, L2-Hys; 1,764 numbers for 128×128 pixels in cells of 16. Classes are weighted by the inverse of their
    frequency; gamma is scikit-learn's "scale". Nothing is drawn: ``seed`` is not used.

    Assumed: size, cell and C = 10, all ours. Of 16 combinations on BUSI (64 pixels in cells of 8 or 128 in cells of 16;
    C of 1 or 10; with and without standardisation and class weights) they were best, the class weights making no
    difference: accuracy 0.78 in cross-validation inside the training part of the ``paper`` split and 0.67 on the
    validation parts of three ``leak-free`` folds, against 0.72 and 0.64 for 64 pixels with C = 1. The folds share their
    images, so an image that helped to choose is a test image of another fold.
    """
    features = FunctionTransformer(hog_features, kw_args={"cell": cell})
    machine = SoftmaxSVC(C=10.0, class_weight="balanced", break_ties=True)
    return make_pipeline(features, StandardScaler(), machine)


@_register("metadata_only", inputs=("metadata",))
def metadata_only(seed: int) -> Pipeline:
    """Gradient-boosted trees on age and density alone, scikit-learn's settings as they come; NaN is a value of its own.

    Classes are weighted by the inverse of their frequency. Early stopping is off: it would put aside a part of the
    training samples without regard to patients.
    """
    return make_pipeline(KnownTrees(class_weight="balanced", early_stopping=False, random_state=seed))


class KnownTrees(HistGradientBoostingClassifier):
    """Boosted trees that take a column of which nothing is known: scikit-learn's refuse it. Nothing is split by it."""

    def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> KnownTrees:
        """As there; ``X`` float (n, features), NaN where unknown."""
        return super().fit(np.where(np.isnan(X).all(axis=0), 0.0, X), y, sample_weight)


class SoftmaxSVC(SVC):
    """An ``SVC`` whose probabilities are the softmax of its decision function.

    scikit-learn's own probabilities of an SVC (Platt, fitted by cross-validation) are deprecated, may disagree with
    ``predict``, and would cross-validate without regard to groups. These need no fit and have the arg max of
    ``predict`` where ``break_ties`` is on; they are not calibrated.
    """

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """float (n, features) → float64 (n, classes), in the order of ``classes_``; each row sums to 1."""
        decision = self.decision_function(X)
        if decision.ndim == 1:  # two classes: one number, positive for the second
            return np.exp(np.column_stack([log_expit(-decision), log_expit(decision)]))
        return softmax(decision, axis=1)


def grey_pixels(images: np.ndarray) -> np.ndarray:
    """Grey levels as one row an image: uint8 (n, S, S, 3) RGB → float32 (n, S · S), both in [0, 255]."""
    return np.stack([to_grey(image).ravel() for image in images]).astype("float32")


def hog_features(images: np.ndarray, cell: int) -> np.ndarray:
    """Histograms of oriented gradients (scikit-image), one row an image, for cells of ``cell`` by ``cell`` pixels.

    uint8 (n, S, S, 3) RGB in [0, 255] → float64 (n, (S // cell − 1)² · 2 · 2 · 9), at least 0.
    """
    return np.stack([hog(to_grey(image), pixels_per_cell=(cell, cell), cells_per_block=(2, 2)) for image in images])
