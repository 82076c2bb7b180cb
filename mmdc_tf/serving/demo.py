"""The page of ``mmdc-tf demo``: its layout, and the server's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mmdc_tf.datasets.schema import AGE_RANGE
from mmdc_tf.serving import demo_words as words
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.demo_answers import DENSITIES, MOST_SCANS, Answers
from mmdc_tf.serving.demo_events import Events, Inputs, Outputs
from mmdc_tf.serving.demo_memory import Tidying
from mmdc_tf.serving.demo_server import HOST
from mmdc_tf.serving.demo_uploads import UploadLimits, Uploads
from mmdc_tf.serving.heat_figure import MEANING
from mmdc_tf.serving.metadata import GIVEN, HEADER, UNKNOWN

LARGEST = 50
"""Megabytes of an upload."""
ROOM = 2_000
"""Megabytes of all uploads that are kept at once."""
FORGET = (300, 3600)
"""Seconds: how often uploads are looked at, and how old they may be, where no page says that it is closed."""
MOST_WAITING = 20
"""Questions that wait for the model; the page says that it is busy to those beyond."""
MOST_PAGES = 100
"""Open pages whose state the server keeps, 1 MB each; the page that was idle longest must be loaded again."""
AGE_SOURCES = [("DICOM header, else unknown", HEADER), ("given below", GIVEN), ("unknown", UNKNOWN)]
FIRST_AGE = 60
KINDS = f"PNG, JPEG, TIFF, BMP or DICOM, at most {LARGEST} MB each and {MOST_SCANS} at once. Nothing is stored."
NO_METADATA = "This model takes no age and no density."
STEPS = (
    "What the recipe “{recipe}”, stored with the model, makes of a scan. The last picture is what the model sees. "
    "White on black: a mask of what is kept."
)
FONTS = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
"""Fonts of the system: none is fetched."""


def make_app(answers: Answers, file: Path, folder: Path) -> FastAPI:
    """The page as an application for ``demo_server.run_server``.

    Args:
        answers: the model's.
        file: of the model, to be named.
        folder: of ``demo_server.private_folder``.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(UploadLimits, folder=folder, largest=MOST_SCANS * LARGEST, room=ROOM)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])  # no other site's name leads here
    sans, mono = FONTS
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
        theme=gr.themes.Default(primary_hue="blue", font=sans, font_mono=mono),
        css=words.styles(),
    )


def _page(answers: Answers, file: Path, folder: Path) -> gr.Blocks:
    with gr.Blocks(title="mmdc-tf demo", fill_width=True, analytics_enabled=False, delete_cache=FORGET) as page:
        gr.HTML(words.head(answers.card, file), padding=False)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                inputs, example = _inputs(answers.card)
            with gr.Column(scale=5, min_width=300):
                outputs = _outputs(answers.card, example)
        events, tidying = Events(answers, folder, inputs, outputs, Uploads(folder)), Tidying()
        _connect(events, inputs, outputs)

        def forget(request: gr.Request) -> None:
            """Of a page that is closed nothing stays; Gradio would keep its pictures for another hour."""
            events.forget(str(request.session_hash))
            page.state_holder.session_data.pop(str(request.session_hash), None)
            tidying.soon()

        page.unload(forget)
    page.queue(api_open=False, max_size=MOST_WAITING)
    page.state_session_capacity = MOST_PAGES
    return page


def _inputs(card: ModelCard) -> tuple[Inputs, gr.HTML]:
    used = card.takes_metadata
    files = gr.File(label="Scans", file_count="multiple", height=170)
    gr.HTML(words.paragraph(KINDS), padding=False)
    button = gr.Button("Try an example (phantom)", size="sm")
    example = gr.HTML(visible=False, padding=False)
    if not used:
        gr.HTML(words.paragraph(NO_METADATA), padding=False)
    source = gr.Radio(AGE_SOURCES, value=HEADER, label="Age", visible=used, elem_id="age")
    years = gr.Slider(*AGE_RANGE, value=FIRST_AGE, step=1, label="Age in years", visible=used)
    grades = [UNKNOWN, *map(str, DENSITIES)]
    density = gr.Radio(grades, value=UNKNOWN, label="BI-RADS density", visible=used, elem_id="density")
    choice = gr.Dropdown([], label="Scan shown in detail", visible=False, interactive=True)
    return Inputs(files, button, choice, source, years, density, gr.State(0)), example


def _outputs(card: ModelCard, example: gr.HTML) -> Outputs:
    overview = gr.HTML(visible=False, padding=False)
    verdict = gr.HTML(words.paragraph(), elem_id="verdict", padding=False)
    trouble = gr.HTML(visible=False, padding=False)
    with gr.Column(visible=False) as details:
        gr.HTML(words.paragraph(MEANING, "Where the model looks"), padding=False)
        heats = gr.HTML(padding=False)
        changes = gr.HTML(visible=card.takes_metadata, padding=False)
        told = STEPS.format(recipe=card.recipe.name)
        gr.HTML(words.paragraph(told, "Preprocessing, step by step"), padding=False)
        steps = gr.HTML(padding=False)
    return Outputs(example, overview, verdict, trouble, details, heats, changes, steps)


def _connect(events: Events, inputs: Inputs, outputs: Outputs) -> None:
    values = [inputs.source, inputs.years, inputs.density]
    shown = [inputs.choice, *vars(outputs).values()]
    # one model: one at a time; of many changes only the last matters
    rules: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1, "trigger_mode": "always_last"}
    rules |= {"api_visibility": "private", "show_progress": "minimal"}
    reset = [inputs.source, inputs.density, *shown]
    at_once: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    uploaded = inputs.files.change(events.on_uploads, inputs.files, reset, **at_once)
    uploaded.then(events.on_files, [inputs.files, *values], shown, **rules)
    inputs.choice.input(events.on_choice, [inputs.files, inputs.choice, *values], shown, **rules)
    changed = [inputs.source.input, inputs.density.input]
    gr.on(changed, events.on_values, [inputs.files, inputs.choice, *values], shown, **rules)
    inputs.years.input(events.on_years, [inputs.files, inputs.choice, *values[1:]], [inputs.source, *shown], **rules)
    inputs.example.click(events.on_example, inputs.turn, [*vars(inputs).values()], api_visibility="private")
