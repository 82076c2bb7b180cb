"""Whether an exported model says what the Keras model says, on the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from mmdc_tf.serving.runtimes import Predict

BATCH = 16  # of 50 images the last batch has 2: a batch of another size is tried too
LARGEST_DIFFERENCE = 1e-4
"""Of the probabilities of a float model."""
LEAST_AGREEMENT = 0.9
"""Share of the images on which a quantised model must name the same class."""


@dataclass(frozen=True)
class Parity:
    """How near an exported model is to the Keras model.

    Args:
        images: how many were compared.
        largest: difference of a probability between the two, over all images and classes; NaN where one is NaN.
        agreeing: images whose most probable class is the same.
        quantised: whether the exported model is.
    """

    images: int
    largest: float
    agreeing: int
    quantised: bool

    @property
    def passed(self) -> bool:
        """A float model: within ``LARGEST_DIFFERENCE``; a quantised one: ``LEAST_AGREEMENT`` of the images agree."""
        if self.quantised:
            return self.agreeing >= LEAST_AGREEMENT * self.images and not np.isnan(self.largest)
        return self.largest <= LARGEST_DIFFERENCE  # NaN is not

    @property
    def text(self) -> str:
        """The numbers and what is allowed, in one line."""
        allowed = "" if self.quantised else f" (allowed: {LARGEST_DIFFERENCE:g})"
        least = f" (at least {100 * LEAST_AGREEMENT:g} % needed)" if self.quantised else ""
        return (
            f"largest difference of a probability {self.largest:.2g}{allowed}, same most probable class in "
            f"{self.agreeing} of {self.images}{least}"
        )


def compare(model: keras.Model, exported: Predict, inputs: Mapping[str, np.ndarray], quantised: bool) -> Parity:
    """Predicts the same inputs with both, ``BATCH`` images at a time.

    Args:
        model: the Keras model.
        exported: what was made of it, as from ``runtimes``.
        inputs: as from ``parity_inputs``.
        quantised: whether the exported model is.
    """
    expected = np.asarray(model.predict(dict(inputs), batch_size=BATCH, verbose=0), np.float64)
    found = np.concatenate([exported(part) for part in _batches(inputs)]).astype(np.float64)
    agreeing = int((expected.argmax(axis=1) == found.argmax(axis=1)).sum())
    return Parity(len(expected), float(np.abs(expected - found).max()), agreeing, quantised)


def _batches(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(inputs["image"]), BATCH):
        yield {name: values[start : start + BATCH] for name, values in inputs.items()}
