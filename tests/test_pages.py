"""Pages of HTML: what goes in is text, and pictures stand inside."""

from __future__ import annotations

import base64

import jinja2
import pytest

from mmdc_tf.io import page_templates, picture_address


def test_values_are_escaped_and_what_is_not_defined_raises():
    environment = page_templates("mmdc_tf.report", twice=lambda text: 2 * text)
    environment.loader = jinja2.DictLoader({"a.html.j2": "<b>{{ text | twice }}</b>", "a.md.j2": "{{ text }}"})
    assert environment.get_template("a.html.j2").render(text="<i>") == "<b>&lt;i&gt;&lt;i&gt;</b>"
    assert environment.get_template("a.md.j2").render(text="<i>") == "<i>"
    with pytest.raises(jinja2.UndefinedError):
        environment.get_template("a.html.j2").render()


def test_the_stylesheet_is_one_for_all():
    for package in ("mmdc_tf.audit", "mmdc_tf.report"):
        assert "@media print" in page_templates(package).get_template("page.css").render()


def test_an_address_holds_the_file():
    kind, content = picture_address(b"\x89PNG", "jpeg").split(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(content) == b"\x89PNG"
