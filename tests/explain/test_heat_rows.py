"""Images with their heatmaps below: every panel shows its own, and nothing stands on something else."""

from __future__ import annotations

import numpy as np
import pytest

from mmdc_tf.explain.drawing import pixels
from mmdc_tf.explain.heat_rows import heat_rows


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    images, heats = rng.integers(0, 256, (3, 20, 20)).astype("float32"), rng.uniform(0, 1, (3, 20, 20))
    above, below = ["truth: a", "truth: b", "truth: $c_1"], ["p = 0.10", "p = 0.20", "p = 0.30"]
    return images, heats, heat_rows("After epoch 4", images, above, heats, below, "caption " * 40)


def test_each_panel_shows_its_own_image_heat_and_words(drawn):
    images, heats, figure = drawn
    panels = figure.axes[:6]
    titles = ["truth: a", "truth: b", "truth: $c_1", "p = 0.10", "p = 0.20", "p = 0.30"]
    assert [axes.get_title() for axes in panels] == titles
    for column in range(3):
        upper, lower = panels[column].get_images(), panels[3 + column].get_images()
        np.testing.assert_array_equal(upper[0].get_array(), images[column])
        np.testing.assert_array_equal(lower[0].get_array(), images[column])
        np.testing.assert_array_equal(lower[1].get_array(), heats[column])
        assert len(upper) == 1


def test_nothing_overlaps_and_nothing_is_cut(drawn):
    *_, figure = drawn
    picture = pixels(figure, dpi=80)
    width, height = figure.get_size_inches()
    assert picture.shape == (round(height * 80), round(width * 80), 3)
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    words = [text.get_window_extent(renderer) for part in figure.subfigs for text in part.texts]
    for place, box in enumerate([*boxes, *words]):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width * 80 and box.y1 <= height * 80
        assert not any(box.overlaps(other) for other in [*boxes, *words][:place])
