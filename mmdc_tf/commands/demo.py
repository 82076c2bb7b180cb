"""``mmdc-tf demo``: a page in the browser to try a trained model on scans."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser

from mmdc_tf.commands import EXIT_OK, import_tensorflow
from mmdc_tf.commands.arguments import add_debug, add_model, number
from mmdc_tf.errors import printable, require_packages

PORT, HIGHEST_PORT = 7860, 65_535


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf demo``."""
    parser.set_defaults(command=_demo)
    add_model(parser)
    port = number(int, lambda value: 0 <= value <= HIGHEST_PORT, f"a port of at most {HIGHEST_PORT}")
    words = f"of 127.0.0.1; 0: any that is free; default: {PORT}"
    parser.add_argument("--port", type=port, default=PORT, help=words)
    parser.add_argument("--no-browser", action="store_true", help="print the page's address, and open no browser")
    add_debug(parser)


def _demo(options: argparse.Namespace) -> int:
    """What is refused is refused before TensorFlow is imported."""
    require_packages(("gradio",), "demo", "the page")
    from mmdc_tf.serving.card import model_file, read_card
    from mmdc_tf.serving.demo_server import HOST, listen, private_folder, run_server

    file = model_file(options.model)
    card = read_card(file)
    with listen(options.port) as listener, private_folder() as folder:
        import_tensorflow()
        from mmdc_tf.serving.demo import make_app
        from mmdc_tf.serving.demo_answers import Answers

        app = make_app(Answers(file, card), file, folder)
        address = f"http://{HOST}:{listener.getsockname()[1]}/"
        print(f"{printable(card.notice)}\npage: {address} (Ctrl-C ends it; nothing is stored)", flush=True)
        # elsewhere a browser for the terminal would take the terminal
        has_screen = sys.platform in ("win32", "darwin") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
        if has_screen and not options.no_browser:
            webbrowser.open(address)
        run_server(app, listener)
    return EXIT_OK
