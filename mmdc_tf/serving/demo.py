"""The page of ``mmdc-tf demo``: its layout, what it shows when something on it changes, and the server's rules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mmdc_tf.datasets.phantom import write_image
from mmdc_tf.datasets.schema import AGE_RANGE
from mmdc_tf.serving import demo_views as views
from mmdc_tf.serving.demo_answers import DENSITIES, MOST_SCANS, Answers, sentence
from mmdc_tf.serving.demo_server import HOST
from mmdc_tf.serving.output import GIVEN, HEADER, UNKNOWN, Prediction
from mmdc_tf.serving.predictor import FAILURES, checked

LARGEST = 50
"""Megabytes of a file."""
FORGET = (300, 3600)
"""Seconds: how often uploads are looked at, and how old they may be."""
MOST_WAITING = 20
"""Questions that wait for the model; the page says that it is busy to those beyond."""
AGE_SOURCES = [("DICOM header, else unknown", HEADER), ("given below", GIVEN), ("unknown", UNKNOWN)]
KINDS = (
    f"PNG, JPEG, TIFF, BMP or DICOM, at most {LARGEST} MB each and {MOST_SCANS} at once. They are deleted after an "
    "hour, or when the command ends."
)
NOTHING_YET, LOOKING = "Upload a scan, or try the example.", "Looking at the scan …"


def make_app(answers: Answers, file: Path, folder: Path) -> FastAPI:
    """The page as an application for ``demo_server.run_server``; ``folder`` is that of ``private_folder``."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])  # no other site's name leads here
    fonts: dict[str, Any] = {"font": ["system-ui", "sans-serif"], "font_mono": ["monospace"]}  # none is fetched
    return gr.mount_gradio_app(
        app,
        _page(answers, file, folder),
        path="/",
        server_name=HOST,
        max_file_size=f"{LARGEST}mb",
        show_error=False,
        ssr_mode=False,
        pwa=False,
        run_history=False,
        footer_links=[],
        theme=gr.themes.Default(primary_hue="blue", **fonts),
        css=views.styles(),
    )


def _page(answers: Answers, file: Path, folder: Path) -> gr.Blocks:
    card, events = answers.card, Events(answers, folder)
    with gr.Blocks(title="mmdc-tf demo", fill_width=True, analytics_enabled=False, delete_cache=FORGET) as page:
        gr.HTML(views.head(card, file), padding=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                files = gr.File(label="Scans", file_count="multiple", height=170)
                gr.HTML(views.paragraph(KINDS), padding=False)
                button = gr.Button("Try an example (phantom)", size="sm")
                example = gr.HTML(visible=False, padding=False)
                without = views.paragraph("This model takes no age and no density.")
                gr.HTML(without, visible=not card.takes_metadata, padding=False)
                used: dict[str, Any] = {"visible": card.takes_metadata}
                source = gr.Radio(AGE_SOURCES, value=HEADER, label="Age", elem_id="age", **used)
                years = gr.Slider(*AGE_RANGE, value=60, step=1, label="Age in years", **used)
                grades = [UNKNOWN, *map(str, DENSITIES)]
                density = gr.Radio(grades, value=UNKNOWN, label="BI-RADS density", elem_id="density", **used)
                choice = gr.Dropdown([], label="Scan shown in detail", visible=False, interactive=True)
            with gr.Column(scale=5, min_width=300):
                verdict = gr.HTML(views.paragraph(NOTHING_YET), elem_id="verdict", padding=False)
                details = gr.HTML(padding=False)
        turn, scans = gr.State(0), gr.State([])  # of each visitor
        asked, shown = [scans, files, choice, source, years, density], [source, verdict, details]
        new = [choice, example, verdict, details]
        # of many changes the last matters, and none that comes while another is answered is lost
        last: dict[str, Any] = {"trigger_mode": "always_last", "api_visibility": "private"}
        at_once: dict[str, Any] = {**last, "queue": False, "show_progress": "hidden"}
        # one model: one at a time
        queued: dict[str, Any] = {**last, "concurrency_id": "model", "concurrency_limit": 1, "show_progress": "minimal"}
        other = [files.upload, files.clear, files.delete]
        uploaded = gr.on(other, events.on_uploads, [scans, files], [source, density, *new], **at_once)
        drawn = button.click(events.on_example, [scans, turn], [files, turn, source, years, density, *new], **at_once)
        for new_scans in (uploaded, drawn):
            new_scans.then(events.answer, asked, shown, **queued)
        choice.input(events.on_choice, asked, shown, **queued)
        gr.on([source.input, density.input], events.answer, asked, shown, **queued)
        years.input(events.on_years, asked, shown, **queued)
    page.queue(api_open=False, max_size=MOST_WAITING)
    return page


class Events:
    """What happens when a user does something; each gives the new values of the components that it is connected to.

    ``scans`` are the visitor's present ones, a list that lives as long as her page: an answer on others ends. In
    ``folder`` example scans are kept.
    """

    def __init__(self, answers: Answers, folder: Path) -> None:
        self._answers, self._folder = answers, folder

    def on_uploads(self, scans: list[str], files: list[str] | None) -> tuple:
        """Other scans: nothing of those before stays, no answer, age or density."""
        scans[:] = files or []
        return HEADER, UNKNOWN, *_cleared(scans, "")

    def on_example(self, scans: list[str], turn: int) -> tuple:
        """A phantom scan in place of the files, with its age and density."""
        example = self._answers.example(turn)
        path = self._folder / "examples" / example.name
        write_image(path, example.image)
        scans[:] = [str(path)]
        values = (HEADER, gr.skip(), UNKNOWN)
        if example.age is not None:
            values = (GIVEN, example.age, str(example.density))
        return scans, turn + 1, *values, *_cleared(scans, example.words)

    def answer(self, scans: list[str], files: list[str] | None, *asked: Any) -> Iterator[tuple]:
        """What the model says of the files: age's source, verdict and details, the quickest part first."""
        for update in self._answered(files, *asked) if files else ():
            if scans != files:
                return
            yield update

    def _answered(
        self, files: list[str], chosen: int | None, source: str, years: float | None, density: str | None
    ) -> Iterator[tuple]:
        card, place = self._answers.card, min(chosen or 0, len(files) - 1)
        age = {GIVEN: years, UNKNOWN: math.nan}.get(source)
        grade, path = checked("density", density), files[place]
        found = self._answers.predict(files, age, grade)
        several, one = views.overview(found, card) if len(files) > 1 else "", found[place]
        verdict = views.verdict(one, card, note=views.waiting(len(self._answers.others)))
        yield gr.skip(), several + verdict, gr.skip() if one.prediction else ""
        if one.prediction is None:
            return
        yield gr.skip(), gr.skip(), self._details(path, one.prediction, age, grade)
        try:
            verdict = views.verdict(one, card, self._answers.spread(path, one.prediction))
        except FAILURES as error:
            verdict = views.verdict(one, card, note=f"No interval: {sentence(error, path)}")
        yield gr.skip(), several + verdict, gr.skip()

    def on_choice(self, *asked: Any) -> Iterator[tuple]:
        """Another of several scans; arguments as for ``answer``."""
        yield gr.skip(), views.paragraph(LOOKING), ""
        yield from self.answer(*asked)

    def on_years(self, scans: list[str], files: Any, chosen: Any, _source: str, *values: Any) -> Iterator[tuple]:
        """Whoever moves the age gives it."""
        yield GIVEN, gr.skip(), gr.skip()
        yield from self.answer(scans, files, chosen, GIVEN, *values)

    def _details(self, path: str, prediction: Prediction, age: float | None, grade: float | None) -> str:
        """Heatmaps, what age and density change, and the steps; above them, what cannot be shown."""
        answers, card = self._answers, self._answers.card
        problems, shown = "", ""
        for part in (
            lambda: views.heats(answers.explain(path, None, age, grade), card),
            lambda: views.changes(answers.changes(path, prediction), prediction, card),
            lambda: views.steps(answers.steps(path), card),
        ):
            try:
                shown += part()
            except FAILURES as error:
                problems += views.paragraph(sentence(error, path), problem=True)
        return problems + shown


def _cleared(files: list[str], words: str) -> tuple:
    """The choice among the scans, what was drawn, and neither a verdict nor details of the scans before."""
    names = [(f"{place}. {Path(path).name}", place - 1) for place, path in enumerate(files, start=1)]
    choice = gr.update(choices=names, value=0 if names else None, visible=len(names) > 1)
    example = gr.update(value=views.paragraph(words), visible=bool(words))
    return choice, example, views.paragraph(LOOKING if files else NOTHING_YET), ""
