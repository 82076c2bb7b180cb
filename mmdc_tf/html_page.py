"""What all HTML pages of this package share: templates that escape, one stylesheet, pictures inside the page."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import jinja2


def page_templates(package: str, **filters: Callable[..., Any]) -> jinja2.Environment:
    """The templates of a package, with this package's own (``page.css``) for them to include.

    Args:
        package: whose folder ``templates`` is read.
        **filters: by name.

    Returns:
        An environment that escapes what goes into ``*.html.j2`` and raises on what is not defined.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("mmdc_tf")]),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment


def picture_address(content: bytes, kind: str = "png") -> str:
    """A picture as a ``data:`` address, which needs no file beside the page.

    Args:
        content: of the file.
        kind: ``"png"`` or ``"jpeg"``.
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
