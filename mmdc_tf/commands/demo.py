"""``mmdc-tf demo``: a page in the browser to try a trained model on scans."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import webbrowser
from pathlib import Path

from mmdc_tf.commands import EXIT_OK
from mmdc_tf.commands.arguments import add_debug, whole
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.native_log import native_messages_nowhere

PORT, HIGHEST_PORT = 7860, 65_535


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf demo``."""
    parser.set_defaults(command=_demo)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="M", help="a model.keras file, or the training's folder")
    add("--port", type=_port, default=PORT, help=f"of 127.0.0.1; 0: any that is free; default: {PORT}")
    add("--no-browser", action="store_true", help="print the page's address, and open no browser")
    add_debug(parser)


def _port(text: str) -> int:
    number = whole(text)
    if number <= HIGHEST_PORT:
        return number
    raise argparse.ArgumentTypeError(f"expected a port of at most {HIGHEST_PORT}, received {text!r}")


def _demo(options: argparse.Namespace) -> int:
    """What is refused is refused before TensorFlow is imported."""
    from mmdc_tf.serving.card import model_file

    _require_gradio()
    file = model_file(options.model)
    from mmdc_tf.serving.card import read_card
    from mmdc_tf.serving.demo_server import listen, private_folder

    card = read_card(file)
    quiet = native_messages_nowhere(options.debug)
    with listen(options.port) as listener, private_folder() as folder, quiet:
        from mmdc_tf.serving.demo import make_app
        from mmdc_tf.serving.demo_answers import Answers
        from mmdc_tf.serving.demo_server import run_server

        app = make_app(Answers(file, card), file, folder)
        _announce(f"http://127.0.0.1:{listener.getsockname()[1]}/", card.notice, not options.no_browser)
        run_server(app, listener)
    return EXIT_OK


def _require_gradio() -> None:
    if importlib.util.find_spec("gradio") is None:
        raise ConfigurationError(
            "Expected gradio, which draws the page. Received: no such package. Install it: pip install 'mmdc_tf[demo]'."
        )


def _announce(address: str, notice: str, browser: bool) -> None:
    from mmdc_tf.serving.output import printable

    print(f"{printable(notice)}\npage: {address} (Ctrl-C ends it; nothing is stored)", flush=True)
    if browser and _has_screen():
        webbrowser.open(address)


def _has_screen() -> bool:
    """Elsewhere a browser for the terminal would take the terminal."""
    return sys.platform in ("win32", "darwin") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
