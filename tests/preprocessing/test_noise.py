"""Noise by its definition, against other libraries, and that more of it is worse."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.preprocessing.noise import NOISES, add_noise

SIZE = 224
STEPS = (1, 4)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A grey picture of smooth structures, in [40, 215], as three channels."""
    rng = np.random.default_rng(1)
    field = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 6)
    grey = 40 + 175 * (field - field.min()) / np.ptp(field)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def colour(picture) -> np.ndarray:
    return np.stack([picture[..., 0], np.flipud(picture[..., 0]), 255 - picture[..., 0]], axis=2)


def flat(value: int) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), value, np.uint8)


@pytest.mark.parametrize("step", STEPS)
def test_gaussian_noise_has_its_standard_deviation_and_mean_zero(step):
    level = NOISES["gaussian"].levels[step - 1]
    difference = (add_noise(flat(128), "gaussian", step).astype(float) - 128)[..., 0]
    # rounding adds 1/12 to the variance; at 40 grey levels 0.1 % of the values meet 0 or 255
    assert difference.std() == pytest.approx(np.hypot(level, 12**-0.5), rel=0.02)
    assert abs(difference.mean()) < 4 * level / SIZE


@pytest.mark.parametrize("step", STEPS)
def test_speckle_is_in_proportion_to_the_grey_level(step):
    level = NOISES["speckle"].levels[step - 1]
    for value in (40, 80):
        deviation = add_noise(flat(value), "speckle", step)[..., 0].std()
        assert deviation == pytest.approx(np.hypot(level * value, 12**-0.5), rel=0.03)
    np.testing.assert_array_equal(add_noise(flat(0), "speckle", step), flat(0))


@pytest.mark.parametrize(("size", "step"), [(SIZE, 1), (SIZE, 4), (112, 4)])
def test_blur_is_scipys_with_sigma_in_proportion_to_the_size(picture, size, step):
    image = picture[:size, :size]
    sigma = NOISES["blur"].levels[step - 1] * size / 224
    expected = gaussian_filter(image[..., 0].astype(float), sigma, mode="mirror", truncate=4.0)
    assert np.abs(add_noise(image, "blur", step)[..., 0] - expected).max() <= 1.0


@pytest.mark.parametrize("step", STEPS)
def test_jpeg_is_that_of_another_encoder(picture, colour, step):
    quality = int(NOISES["jpeg"].levels[step - 1])
    for pixels, ours in (
        (picture[..., 0], add_noise(picture, "jpeg", step)[..., 0]),
        (colour, add_noise(colour, "jpeg", step)),
    ):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        theirs = np.asarray(Image.open(buffer), dtype=float)
        error = np.sqrt(np.mean((theirs - pixels) ** 2))
        assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.25 * error


@pytest.mark.parametrize("noise", NOISES)
def test_a_grey_image_stays_grey_and_a_coloured_one_has_noise_in_each_channel(picture, colour, noise):
    noisy = add_noise(picture, noise, 3)
    assert (noisy == noisy[..., :1]).all()
    difference = add_noise(colour, noise, 3).astype(float) - colour
    correlation = np.corrcoef(difference.reshape(-1, 3).T)
    if noise in ("gaussian", "speckle"):
        assert np.abs(correlation[~np.eye(3, dtype=bool)]).max() < 0.05


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("step", [0, *STEPS])
def test_the_same_image_gets_the_same_noise_and_is_left_as_it_was(colour, noise, step):
    image = colour.copy()
    first = add_noise(image, noise, step)
    np.testing.assert_array_equal(image, colour)
    np.testing.assert_array_equal(first, add_noise(np.asfortranarray(colour), noise, step))
    assert first.dtype == np.uint8
    assert first.shape == colour.shape
    assert np.array_equal(first, colour) == (step == 0)


def test_an_unknown_noise_or_step_and_other_arrays_are_refused(picture):
    for noise, step in (("fog", 1), ("fog", 0), ("clean", 1), ("blur", 5), ("blur", -1)):
        with pytest.raises(ConfigurationError, match=f"Received: noise='{noise}', step={step}"):
            add_noise(picture, noise, step)
    for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(InputError, match=r"uint8 \(S, S, 3\)"):
            add_noise(image, "blur", 1)
