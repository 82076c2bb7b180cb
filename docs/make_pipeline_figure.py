"""Draws docs/pipeline.png: the way of the data through the package. Run: python docs/make_pipeline_figure.py"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

# Okabe and Ito's palette, lightened for fills: told apart with any colour vision, and by the titles alone.
DATA, PIXELS, MODEL, SCORES = "#56B4E9", "#E69F00", "#009E73", "#CC79A7"
INK = "#222222"


@dataclass(frozen=True)
class Box:
    """A box by its left, bottom, width and height in figure units, with a title and a line or two of detail."""

    left: float
    bottom: float
    width: float
    height: float
    colour: str
    title: str
    detail: str = ""

    def at(self, across: float, up: float) -> tuple[float, float]:
        """A point of the box: (0, 0) is its lower left corner, (1, 1) its upper right."""
        return self.left + across * self.width, self.bottom + up * self.height


TOP, LOW, HEIGHT, WIDTH = 5.1, 0.35, 1.5, 2.9
FILES = Box(0.1, TOP, WIDTH, HEIGHT, DATA, "Files", "BUSI, Mini-DDSM,\nown folder, phantom")
TABLE = Box(3.6, TOP, WIDTH, HEIGHT, DATA, "Sample table", "one row an image;\nlabel, patient, age …")
SPLITS = Box(7.1, TOP, WIDTH, HEIGHT, DATA, "Splits", "paper  |  leak-free\nsaved with a hash")
RECIPE = Box(10.6, TOP, WIDTH, HEIGHT, PIXELS, "Preprocessing", "named recipe,\nOpenCV only")
TF_DATA = Box(10.6, 2.75, WIDTH, HEIGHT, PIXELS, "tf.data", "image [0, 255];\nage, density")
IMAGE = Box(5.35, 3.6, 4.2, 0.95, MODEL, "Backbone + attention")
CLINIC = Box(5.35, 2.45, 4.2, 0.95, MODEL, "Metadata tokens")
FUSION = Box(0.1, 2.75, 4.2, HEIGHT, MODEL, "Fusion", "eight heads over image\nand clinical tokens")
SCORED = Box(0.1, LOW, 4.2, HEIGHT, SCORES, "predictions.csv", "written once; all scores\ncome from it")
TABLES = Box(
    5.35,
    LOW,
    8.15,
    HEIGHT,
    SCORES,
    "Tables I and II",
    "the paper's number beside ours under both protocols:\npaper and leak-free",
)
BOXES = (FILES, TABLE, SPLITS, RECIPE, TF_DATA, IMAGE, CLINIC, FUSION, SCORED, TABLES)

ARROWS = (
    (FILES.at(1, 0.5), TABLE.at(0, 0.5)),
    (TABLE.at(1, 0.5), SPLITS.at(0, 0.5)),
    (SPLITS.at(1, 0.5), RECIPE.at(0, 0.5)),
    (RECIPE.at(0.5, 0), TF_DATA.at(0.5, 1)),
    (TF_DATA.at(0, 0.8), IMAGE.at(1, 0.5)),
    (TF_DATA.at(0, 0.2), CLINIC.at(1, 0.5)),
    (IMAGE.at(0, 0.5), FUSION.at(1, 0.8)),
    (CLINIC.at(0, 0.5), FUSION.at(1, 0.2)),
    (FUSION.at(0.5, 0), SCORED.at(0.5, 1)),
    (SCORED.at(1, 0.5), TABLES.at(0, 0.5)),
)


def draw_box(axes: Axes, box: Box) -> None:
    """Draws the box with its title in bold and its detail below."""
    outline = {"boxstyle": "round,pad=0,rounding_size=0.15", "linewidth": 2, "edgecolor": box.colour}
    face = (*matplotlib.colors.to_rgb(box.colour), 0.22)
    axes.add_patch(FancyBboxPatch(box.at(0, 0), box.width, box.height, facecolor=face, **outline))
    middle = 0.77 if box.detail else 0.5
    text = {"ha": "center", "va": "center", "color": INK}
    axes.text(*box.at(0.5, middle), box.title, fontsize=17, fontweight="bold", **text)
    axes.text(*box.at(0.5, 0.33), box.detail, fontsize=14, linespacing=1.25, **text)


def draw_arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draws an arrow that leaves a little space at both boxes."""
    style = {"arrowstyle": "-|>", "linewidth": 2, "color": INK, "mutation_scale": 18, "shrinkA": 3, "shrinkB": 3}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def main() -> None:
    """Writes pipeline.png beside this script, 1600 pixels wide."""
    figure = plt.figure(figsize=(13.6, 6.8))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 13.6), ylim=(0, 6.8))
    axes.set_axis_off()
    for box in BOXES:
        draw_box(axes, box)
    for start, end in ARROWS:
        draw_arrow(axes, start, end)
    figure.savefig(
        Path(__file__).with_name("pipeline.png"), dpi=1600 / 13.6, facecolor="white", metadata={"Software": ""}
    )
    plt.close(figure)


if __name__ == "__main__":
    main()
