"""Near-twins, against brute force, properties, and the figures known of BUSI."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from mmdc_tf.datasets.busi import list_busi
from mmdc_tf.datasets.integrity import join_near_twins, perceptual_hashes
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, UnreadableImageError


def texture(seed, size=96):
    """Smooth random texture, so that resizing keeps what there is to see."""
    noise = np.random.default_rng(seed).normal(size=(size, size))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip(128 + smooth / smooth.std() * 40, 0, 255).astype(np.uint8)


def write_all(folder, images):
    paths = [folder / f"{index}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        assert cv2.imwrite(str(path), image)
    return paths


def clusters_of(paths, max_bits=40):
    return join_near_twins(paths, perceptual_hashes(paths), max_bits)


def distances(hashes):
    return (hashes[:, None, :] != hashes[None, :, :]).sum(axis=-1)


def test_hashes_have_256_bits_and_set_half_of_them(tmp_path):
    hashes = perceptual_hashes(write_all(tmp_path, [texture(1), texture(2)]))
    assert hashes.shape == (2, 256)
    assert hashes.dtype == bool
    np.testing.assert_array_equal(hashes.sum(axis=1), [128, 128])


def test_copies_are_near_and_other_images_far(tmp_path):
    image = texture(1)
    copies = [
        image,
        cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA),
        cv2.cvtColor(image, cv2.COLOR_GRAY2BGR),
        (image // 2 + 20).astype(np.uint8),
    ]
    apart = distances(perceptual_hashes(write_all(tmp_path, [*copies, texture(2)])))
    assert apart[0, 2] == 0
    assert apart[0, :4].max() <= 40
    assert apart[:4, 4].min() > 80


def test_clusters_agree_with_brute_force(tmp_path):
    images = [texture(seed) for seed in range(6)]
    noisy = [
        cv2.addWeighted(images[i % 6], 1 - w, texture(100 + i), w, 0) for i, w in enumerate(np.linspace(0, 0.6, 12))
    ]
    paths = write_all(tmp_path, [*images, *noisy])
    near = distances(perceptual_hashes(paths))
    for bits in (0, 20, 40, 90):
        clusters = clusters_of(paths, max_bits=bits)
        expected = connected_components(near <= bits)[1]
        np.testing.assert_array_equal(clusters[:, None] == clusters, expected[:, None] == expected)


def test_the_limit_itself_still_joins(tmp_path):
    paths = write_all(tmp_path, [texture(1), cv2.addWeighted(texture(1), 0.8, texture(2), 0.2, 0)])
    bits = int(distances(perceptual_hashes(paths))[0, 1])
    assert bits > 0
    assert list(clusters_of(paths, max_bits=bits)) == [0, 0]
    assert list(clusters_of(paths, max_bits=bits - 1)) == [0, 1]


def test_twins_of_twins_join(tmp_path):
    steps = [cv2.addWeighted(texture(1), 1 - w, texture(2), w, 0) for w in np.linspace(0, 1, 21)]
    paths = write_all(tmp_path, steps)
    assert distances(perceptual_hashes(paths))[0, -1] > 80
    assert set(clusters_of(paths)) == {0}


def test_clusters_are_numbered_by_first_appearance(tmp_path):
    a, b, c = texture(1), texture(2), texture(3)
    paths = write_all(tmp_path, [b, a, b, c, a])
    assert list(clusters_of(paths)) == [0, 1, 0, 2, 1]


def test_flat_images_are_twins_only_when_equal(tmp_path):
    flat = [np.full((32, 32), value, np.uint8) for value in (0, 128, 255, 128)]
    paths = write_all(tmp_path, [*flat, texture(1), texture(2)])
    assert list(clusters_of(paths)) == [0, 1, 2, 1, 3, 4]


def test_no_image_gives_no_cluster():
    assert clusters_of([]).shape == (0,)
    assert perceptual_hashes([]).shape == (0, 256)


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "bad.png").write_text("text")
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        clusters_of([tmp_path / "bad.png"])


@pytest.mark.parametrize("bits", [-1, 256])
def test_impossible_limits_are_refused(bits):
    with pytest.raises(ConfigurationError, match=f"max_bits={bits}"):
        clusters_of([], max_bits=bits)


def test_busi_has_the_known_number_of_near_twins(real_data):
    hashes = perceptual_hashes(list_busi(real_data / "busi").table["image_path"])
    apart = distances(hashes) + 256 * np.eye(len(hashes), dtype=int)
    nearest = apart.min(axis=1)
    assert len(hashes) == 780
    assert (nearest <= 20).sum() == 216
    assert (nearest <= 40).sum() == 316
