"""What the page of ``mmdc-tf demo`` shows when something on it changes, part by part as it is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from mmdc_tf.datasets.phantom import write_image
from mmdc_tf.explain.drawing import pixels
from mmdc_tf.serving import demo_words as words
from mmdc_tf.serving.changes_figure import age_figure, density_figure
from mmdc_tf.serving.demo_answers import FAILURES, Answer, Answers, sentence
from mmdc_tf.serving.demo_example import draw_example
from mmdc_tf.serving.demo_uploads import Uploads
from mmdc_tf.serving.heat_figure import heat_panels
from mmdc_tf.serving.metadata import GIVEN, HEADER, UNKNOWN, number
from mmdc_tf.serving.prediction import Prediction

DPI = 170
MOST_EXAMPLES = 30
"""After which they come again: each is a file."""

Update = dict[Any, Any]
"""A component of the page to its new value, or to its new properties; what is not named stays."""


@dataclass(frozen=True)
class Inputs:
    """What a user sets.

    Args:
        files: the scans.
        example: asks for a phantom.
        choice: which of several scans is shown in detail.
        source: where the age comes from: "header", "given" or "unknown".
        years: the age, used where it is given.
        density: "unknown", "1", "2", "3" or "4".
        turn: how many examples were drawn.
    """

    files: gr.File
    example: gr.Button
    choice: gr.Dropdown
    source: gr.Radio
    years: gr.Slider
    density: gr.Radio
    turn: gr.State


@dataclass(frozen=True)
class Outputs:
    """What the page shows.

    Args:
        example: what was drawn, where it is a phantom.
        overview: a line a scan, of several.
        verdict: the answer on one scan.
        trouble: what could not be shown, and why.
        details: holds all that follows, hidden without an answer.
        heats: heatmaps over the scan.
        changes: what other ages and densities would change.
        steps: of the preprocessing.
    """

    example: gr.HTML
    overview: gr.HTML
    verdict: gr.HTML
    trouble: gr.HTML
    details: gr.Column
    heats: gr.HTML
    changes: gr.HTML
    steps: gr.HTML


class Events:
    """What happens when a user does something.

    Args:
        answers: the model's.
        folder: for example scans.
        inputs, outputs: the components of the page.
        uploads: that the pages hold.
    """

    def __init__(self, answers: Answers, folder: Path, inputs: Inputs, outputs: Outputs, uploads: Uploads) -> None:
        self._answers, self._folder, self._uploads = answers, folder, uploads
        self._in, self._out = inputs, outputs
        self._drawn: dict[str, str] = {}
        self._shown: dict[str, list[str]] = {}
        """The scans of each open page."""

    def on_uploads(self, files: list[str] | None, request: gr.Request) -> Update:
        """Other scans, at once: nothing of those before stays, no answer, and no age or density but an example's own.

        The files are this page's from now on, before it is their turn or where that never comes.
        """
        files = files or []
        self._uploads.add(str(request.session_hash), files)
        self._shown[str(request.session_hash)] = files
        names = [(f"{place}. {Path(path).name}", place - 1) for place, path in enumerate(files, start=1)]
        drawn = self._drawn.get(Path(files[0]).name, "") if files else ""
        return {
            **({} if drawn else {self._in.source: HEADER, self._in.density: UNKNOWN}),
            self._in.choice: gr.update(choices=names, value=0 if names else None, visible=len(names) > 1),
            self._out.example: gr.update(value=words.paragraph(drawn), visible=bool(drawn)),
            **self._cleared(words.paragraph("Looking at the scan …") if names else words.paragraph()),
        }

    def on_files(
        self, files: list[str] | None, source: str, years: float | None, density: str | None, request: gr.Request
    ) -> Iterator[Update]:
        """What the model says of them, after ``on_uploads``: the first is shown."""
        self._uploads.replace(str(request.session_hash), files or [])
        yield from self.on_values(files, 0, source, years, density, request)

    def on_values(
        self,
        files: list[str] | None,
        chosen: int | None,
        source: str,
        years: float | None,
        density: str | None,
        request: gr.Request,
    ) -> Iterator[Update]:
        """Another age, density or choice among the scans; ends where other scans have taken their place meanwhile."""
        for update in self._answered(files or [], chosen, age_of(source, years), number("density", density or "")):
            if self._shown.get(str(request.session_hash)) != files:
                return
            yield update

    def _answered(
        self, files: list[str], chosen: int | None, age: float | None, grade: float | None
    ) -> Iterator[Update]:
        if not files:
            return
        answers, place = self._answers.predict(files, age, grade), min(chosen or 0, len(files) - 1)
        several = words.overview(answers, self._answers.card) if len(files) > 1 else ""
        yield {self._out.overview: gr.update(value=several, visible=bool(several))}
        yield from self._one(answers[place], files[place], age, grade)

    def on_years(
        self,
        files: list[str] | None,
        chosen: int | None,
        years: float | None,
        density: str | None,
        request: gr.Request,
    ) -> Iterator[Update]:
        """Whoever moves the age gives it."""
        yield {self._in.source: GIVEN}
        yield from self.on_values(files, chosen, GIVEN, years, density, request)

    def on_choice(
        self,
        files: list[str] | None,
        chosen: int | None,
        source: str,
        years: float | None,
        density: str | None,
        request: gr.Request,
    ) -> Iterator[Update]:
        """Another of several scans."""
        yield self._cleared(words.paragraph("Looking at the scan …"))
        yield from self.on_values(files, chosen, source, years, density, request)

    def forget(self, page: str) -> None:
        """A page is closed."""
        self._uploads.release(page)
        self._shown.pop(page, None)

    def on_example(self, turn: int) -> Update:
        """A phantom scan in place of the files, with its age and density."""
        example = draw_example(self._answers.card, turn)
        path = self._folder / "examples" / f"{example.name}.png"
        write_image(path, example.image)
        self._drawn[path.name] = example.words
        update: Update = {self._in.files: [str(path)], self._in.turn: (turn + 1) % MOST_EXAMPLES}
        if example.age is not None and example.density is not None:
            update |= {self._in.source: GIVEN, self._in.years: example.age, self._in.density: str(example.density)}
        return update

    def _cleared(self, verdict: str) -> Update:
        out = self._out
        empty = dict.fromkeys((out.heats, out.steps, out.changes), "")
        hidden = {one: gr.update(value="", visible=False) for one in (out.overview, out.trouble)}
        return {out.verdict: verdict, out.details: gr.update(visible=False), **empty, **hidden}

    def _one(self, answer: Answer, path: str, age: float | None, density: float | None) -> Iterator[Update]:
        """All of one scan, the quickest part first."""
        out, card, prediction = self._out, self._answers.card, answer.prediction
        note = words.waiting(len(self._answers.siblings))
        yield {
            out.verdict: words.verdict(answer, card, note=note),
            out.details: gr.update(visible=prediction is not None),
        }
        if prediction is None:
            return
        troubles: list[str] = []
        for make in (
            lambda: {out.steps: self._steps(path)},
            lambda: {out.heats: self._heats(path, age, density)},
            lambda: {out.changes: self._changes(path, prediction)},
        ):
            yield _or_trouble(make, path, troubles)
        yield {out.verdict: self._with_interval(answer, path, prediction)}
        yield {out.trouble: gr.update(value=words.problem(" ".join(troubles)), visible=bool(troubles))}

    def _with_interval(self, answer: Answer, path: str, prediction: Prediction) -> str:
        try:
            return words.verdict(answer, self._answers.card, self._answers.spread(path, prediction))
        except FAILURES as error:
            return words.verdict(answer, self._answers.card, note=f"No interval: {sentence(error, path)}")

    def _steps(self, path: str) -> str:
        steps = self._answers.steps(path)
        shown = [words.Picture(image, name, f"{place}. {name}") for place, (name, image) in enumerate(steps, start=1)]
        return words.pictures(shown, "narrow")

    def _heats(self, path: str, age: float | None, density: float | None) -> str:
        explanation = self._answers.explain(path, age, density)
        figures = heat_panels(explanation, self._answers.card)
        pairs = zip(explanation.heats, figures, strict=True)
        return words.pictures([words.Picture(pixels(figure, DPI), f"{name}, over the scan") for name, figure in pairs])

    def _changes(self, path: str, prediction: Prediction) -> str:
        changes = self._answers.changes(path, prediction)
        if changes is None:
            return ""
        drawn = {"age": age_figure, "density": density_figure}
        figures = {name: draw(changes, prediction, self._answers.card) for name, draw in drawn.items()}
        shown = [words.Picture(pixels(one, DPI), f"probability by {name}") for name, one in figures.items()]
        return words.changes(prediction) + words.pictures(shown, "wide")


def _or_trouble(make: Callable[[], Update], path: str, troubles: list[str]) -> Update:
    try:
        return make()
    except FAILURES as error:
        troubles.append(sentence(error, path))
        return {}


def age_of(source: str, years: float | None) -> float | None:
    """The age as ``Predictor.predict`` takes it: a number, NaN for unknown, None for what the file says."""
    if source == GIVEN:
        return years
    return math.nan if source == UNKNOWN else None
