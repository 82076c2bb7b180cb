"""The page's pictures: they show the numbers that they are given, and no text is cut."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from test_demo_words import made_card, prediction

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.explain.drawing import pixels
from mmdc_tf.preprocessing import PreprocessedScan
from mmdc_tf.serving.changes_figure import UNKNOWN_AGE, UNKNOWN_DENSITY, age_figure, density_figure
from mmdc_tf.serving.demo_answers import Changes
from mmdc_tf.serving.explanation import GRAD_CAM, Explanation
from mmdc_tf.serving.heat_figure import heat_panels

AGES = (30.0, 60.0, 70.0, 90.0)


@pytest.fixture
def changes() -> Changes:
    shares = np.random.default_rng(0).dirichlet(np.ones(3), len(AGES) + 4)
    return Changes(AGES, shares[:4], shares[4:])


def is_whole(figure: Figure) -> bool:
    """Whether all that is drawn lies inside the figure."""
    pixels(figure, 100)
    box, (width, height) = figure.get_tightbbox(figure.canvas.get_renderer()), figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def lines(figure: Figure) -> dict[str, np.ndarray]:
    """The drawn lines by their label, (points, 2)."""
    return {str(line.get_label()): np.column_stack(line.get_data()) for line in figure.axes[0].lines}


def test_each_class_is_a_line_and_the_given_value_is_marked(changes, tmp_path):
    drawn = lines(age_figure(changes, prediction(), made_card(tmp_path)))
    for index, name in enumerate(("benign", "cancer", "normal")):
        np.testing.assert_array_equal(drawn[name], np.column_stack([AGES, changes.by_age[:, index]]))
    assert set(drawn["as given"][:, 0]) == {70.0}
    assert set(drawn["threshold of cancer"][:, 1]) == {0.4}


def test_the_unknown_stands_at_the_left_with_what_the_model_says_of_it(changes, tmp_path):
    """The age is known, so its absence is another prediction; the density is not, so it is the prediction itself."""
    one, card = prediction(), made_card(tmp_path)
    by_age = [point for point in points(age_figure(changes, one, card)) if point[0] == UNKNOWN_AGE]
    assert by_age == [(UNKNOWN_AGE, share) for share in one.with_unknown["age"].values()]
    by_density = density_figure(changes, one, card)
    hollow = [point for point in points(by_density) if point[0] == UNKNOWN_DENSITY]
    assert hollow == [(UNKNOWN_DENSITY, share) for share in one.probabilities.values()]
    assert set(lines(by_density)["as given"][:, 0]) == {UNKNOWN_DENSITY}


def points(figure: Figure) -> list[tuple[float, float]]:
    """Lines of one point."""
    found = [np.column_stack(line.get_data()) for line in figure.axes[0].lines]
    return [tuple(one[0]) for one in found if len(one) == 1]


def test_no_text_is_cut_and_phantoms_are_called_so(changes, tmp_path):
    card = made_card(tmp_path, notice=NOTICE)
    for draw in (age_figure, density_figure):
        figure = draw(changes, prediction(), card)
        assert is_whole(figure)
        assert "(phantom)" in figure.get_suptitle()


def test_a_figure_a_heatmap_with_or_without_heat(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    scan = PreprocessedScan(image, 64, 64, (0, 0, 64, 64), "L", ())
    heats = {GRAD_CAM: np.zeros((64, 64)), "fusion, by the clinical token": np.random.default_rng(1).random((64, 64))}
    heats["fusion, by the image tokens"] = np.full((64, 64), 0.97) + np.eye(64) * 0.03
    empty, full, flat = heat_panels(Explanation(scan, np.array([0.5, 0.3, 0.2]), 1, heats), made_card(tmp_path))
    assert flat.axes[0].get_title() == "fusion, by the image tokens\nuniform: no heat drawn"
    assert np.isnan(flat.axes[0].images[1].get_array().filled(np.nan)).all()
    assert is_whole(empty) and is_whole(full)
    assert empty.axes[0].get_title() == "Grad-CAM for cancer\nno heat: nothing speaks for this class"
    np.testing.assert_array_equal(full.axes[0].images[1].get_array(), heats["fusion, by the clinical token"])
