"""Footnotes: each assumption once, with the letter that its rows carry."""

from __future__ import annotations

import pandas as pd

from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.report.footnotes import Footnotes

RUN = {"training": {"image_size": 64}, "preprocessing": "paper"}


def table_of(*rows: Row) -> PaperTable:
    return PaperTable("table2", "Title", "mini-ddsm", "mammography", "phantom-mammogram", rows)


def row(name: str, *notes: str) -> Row:
    return Row(name, name, "here", model="any", notes=notes)


def results_of(cut: str = "", **made: tuple[object, object]) -> pd.DataFrame:
    """Image size and preprocessing of each row; None where it did not run. The last one is frozen up to ``cut``."""
    lines = [{"row": name, "image_size": size, "preprocessing": recipe} for name, (size, recipe) in made.items()]
    lines = [{**line, "layer_cut": ""} for line in lines]
    lines[-1]["layer_cut"] = cut
    return pd.DataFrame(lines).astype({"image_size": "Int64"})


def test_a_note_of_two_rows_has_one_letter():
    table = table_of(row("one", "first"), row("two", "second", "first"), row("three"))
    notes = Footnotes(table, results_of(one=(64, "paper"), two=(64, "paper"), three=(64, "paper")), RUN)
    assert [notes.marks(name) for name in ("one", "two", "three")] == [" [a]", " [b, a]", ""]
    assert notes.lines() == ["[a] first", "[b] second"]


def test_rows_that_do_not_stand_in_the_table_bring_no_note():
    notes = Footnotes(table_of(row("one", "first"), row("two", "second")), results_of(two=(64, "paper")), RUN)
    assert notes.lines() == ["[a] second"]


def test_another_size_or_preprocessing_than_the_runs_is_said():
    table = table_of(row("one"), row("two"), row("three"))
    results = results_of(one=(75, "paper"), two=(64, "brint"), three=(None, None))
    notes = Footnotes(table, results, RUN)
    assert notes.lines() == ["[a] Images of 75 pixels.", "[b] Preprocessing 'brint'."]
    assert [notes.marks(name) for name in ("one", "two", "three")] == [" [a]", " [b]", ""]


def test_letters_go_on_after_z():
    table = table_of(row("one", *(f"note {number}" for number in range(28))))
    lines = Footnotes(table, results_of(one=(64, "paper")), RUN).lines()
    assert [line.split("]")[0] for line in lines][24:] == ["[y", "[z", "[aa", "[ab"]


def test_before_any_run_the_assumptions_stand_already():
    notes = Footnotes(table_of(row("one", "first")), results_of(one=(None, None)), {})
    assert notes.lines() == ["[a] first"]


def test_rows_that_vary_their_images_otherwise_say_so_where_a_table_has_both():
    table = table_of(row("one"), row("two"))
    training = {"image_size": 64, "feature_views": 8, "feature_mixing": 0.2}
    run = {**RUN, "training": training, "frozen_features": True}
    both = results_of("pool4", one=(64, "paper"), two=(64, "paper"))
    notes = Footnotes(table, both, run)
    assert [notes.marks(name) for name in ("one", "two")] == [" [a]", " [b]"]
    moved, fixed = notes.lines()
    assert "moved anew in each step (mirror, shift, zoom) and not mixed" in moved
    assert "8 fixed view(s) an image (mirror, shift, zoom, rotation, brightness), mixed with α = 0.2" in fixed
    assert Footnotes(table, results_of(one=(64, "paper"), two=(64, "paper")), run).lines() == []
    assert Footnotes(table, both, {**run, "frozen_features": False}).lines() == []
