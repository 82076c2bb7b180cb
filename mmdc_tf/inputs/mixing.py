"""Mixing the samples of a batch in feature space, and what a sample of mixed classes weighs."""

from __future__ import annotations

import tensorflow as tf

from mmdc_tf.inputs.pipeline import Tensors, batch_seeds

MIXING = 2  # the stream of these draws, beside that of the views


def with_mixing(dataset: tf.data.Dataset, alpha: float, seed: int) -> tf.data.Dataset:
    """Mixes each sample with another of its batch: manifold mixup (Verma et al., ICML 2019) after a fixed layer.

    One share λ ~ Beta(α, α) a batch, as in their algorithm; the partners are the batch in a random order; features,
    labels and metadata become λ · own + (1 - λ) · partner's. An age or a density that one of the two lacks cannot be
    mixed: it is that of the one with the larger share, unknown where this one lacks it. Drawn anew every epoch.

    Args:
        dataset: batches of ({name: float32 (batch, …)}, one-hot float32 (batch, classes)).
        alpha: α, above 0: the smaller, the nearer λ is to 0 or 1.
        seed: of the shares and the partners.
    """

    def mix(batch: tuple[Tensors, tf.Tensor], pair: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        tensors, label = batch
        share, partner = _drawn(alpha, tf.shape(label)[0], pair)
        others = {name: tf.gather(value, partner) for name, value in tensors.items()}
        mixed = {name: _mixed(value, others[name], share) for name, value in tensors.items()}
        if "metadata" in tensors:
            mixed["metadata"] = _known_mixed(tensors["metadata"], others["metadata"], share)
        return mixed, _mixed(label, tf.gather(label, partner), share)

    batches = tf.data.Dataset.zip(dataset, batch_seeds(seed))
    return batches.map(mix, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def with_sample_weights(dataset: tf.data.Dataset, class_weights: dict[int, float]) -> tf.data.Dataset:
    """Adds Σ_c y_c · w_c, float32 (batch,): Keras' ``class_weight`` would weigh a mixed label by its largest class.

    Args:
        dataset: batches of (tensors, labels), one-hot or mixed.
        class_weights: the weight of each class index; a class without one weighs 1, as in Keras.
    """

    def weigh(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor, tf.Tensor]:
        weights = [float(class_weights.get(index, 1.0)) for index in range(label.shape[-1])]
        return tensors, label, tf.linalg.matvec(label, tf.constant(weights, tf.float32))

    return dataset.map(weigh, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _drawn(alpha: float, size: tf.Tensor, pair: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """λ, float32, and the place of each sample's partner in the batch, int32 (size,)."""
    seeds = tf.random.experimental.stateless_split(tf.random.experimental.stateless_fold_in(pair, MIXING), 2)
    # A Beta is a Gamma's share of two; float64, as for a small α a Gamma is often below the least float32.
    gammas = tf.random.stateless_gamma((2,), seeds[0], alpha, dtype=tf.float64)
    share = tf.cast(gammas[0] / tf.reduce_sum(gammas), tf.float32)
    return share, tf.random.experimental.stateless_shuffle(tf.range(size), seeds[1])


def _mixed(own: tf.Tensor, other: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    return other + share * (own - other)  # exactly their value where both are equal


def _known_mixed(own: tf.Tensor, other: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Mixed where both are known (not NaN), else the one with the larger share."""
    mixed = _mixed(own, other, share)
    return tf.where(tf.math.is_nan(mixed), tf.where(share >= 0.5, own, other), mixed)
