"""What a run says at its end: the rows that ran, and only what the numbers hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_run import made_up_table, write_row, write_run_file

from mmdc_tf.experiments.results import rows_that_ran, table_results
from mmdc_tf.experiments.rows import Row
from mmdc_tf.report.conclusion import conclusion, terminal_table

BACKBONE = {"backbone": "vgg16"}
PROBE = Row("probe", "Age and density alone", "probe of the split", classifier="any", extra=True)
PLAIN = Row("plain", "VGG16", "here", (91.0, 90.0, 89.0, 88.0), model="backbone_classifier", arguments=BACKBONE)
OTHER = Row("other", "VGG16", "elsewhere", model="backbone_classifier", arguments=BACKBONE)
FUSED = Row("fused", "Fused", "here", model="any", arguments=BACKBONE)
TABLE = replace(made_up_table("gamma"), rows=(OTHER, PLAIN, FUSED, *made_up_table("gamma").rows, PROBE))
INPUTS = {"probe": ["metadata"], "plain": ["image"], "other": ["image"], "fused": ["image", "metadata"]}
GOOD, HALF, BAD = "1" * 32, "10" * 16, "0" * 32


def said(folder: Path, **rows: tuple[str, ...]) -> list[str]:
    """The conclusion of a run, of whose rows this is right under ``paper`` and in both folds of ``leak-free``.

    A third one is right in both folds of ``image-level``.
    """
    write_run_file(folder)
    for row, (paper, free, *control) in rows.items():
        write_row(folder, row, [paper], protocol="paper")
        if control:
            write_row(folder, row, control * 2, protocol="image-level")
        write_row(folder, row, [free, free])
        for place in folder.glob(f"{row}/*/fold*"):
            (place / "model.json").write_text(json.dumps({"inputs": INPUTS[row]}))
    return conclusion(TABLE, table_results(TABLE, folder), folder)


ALONE = "Age and density alone"
FALL = "When patients stay together, accuracy falls by {} points for " + ALONE + " ({} → 50.0)."
ABOVE = (
    f"The paper protocol stands 50.0 points higher for {ALONE}: it trains on more images too, and chooses the epoch by "
    "the images that it scores."
)


@pytest.mark.parametrize(
    ("rights", "sentences", "highest"),
    [
        # each group has one right of two leak-free, so that the bootstrap gives no width
        ((GOOD, HALF), [FALL.format("50.0", "100.0")], "50.0 % (50.0 to 50.0)."),
        # half of the groups right, then a quarter: the intervals of 16 groups are wide and overlap
        (
            ("1100" * 8, "11000000" * 4),
            [f"No fall can be claimed for {ALONE}: the intervals leave room for none."],
            "25.0 % (",
        ),
        # folds of images score the same images: three quarters of each group in place of a half is a sure fall
        ((HALF, HALF, "1011" * 8), [FALL.format("25.0", "75.0")], "50.0 % (50.0 to 50.0)."),
        ((GOOD, HALF, "1011" * 8), [FALL.format("25.0", "75.0"), ABOVE], "50.0 % (50.0 to 50.0)."),
    ],
)
def test_a_fall_is_claimed_with_its_numbers_where_the_intervals_allow_it(tmp_path, rights, sentences, highest):
    *found, best = said(tmp_path / "table2", probe=rights)
    assert found == sentences
    assert best.startswith(f"Best leak-free accuracy: {ALONE}, {highest}")


def test_a_network_is_compared_with_its_backbone_of_the_same_source_and_with_the_metadata_alone(tmp_path):
    """All right, against half of each group and against none."""
    *_, worth = said(tmp_path / "table2", probe=(BAD, BAD), plain=(HALF, HALF), other=(GOOD, GOOD), fused=(GOOD, GOOD))
    assert worth == (
        "Leak-free, Fused is 50.0 points (50.0 to 50.0) above VGG16, the same backbone without age and density and "
        "100.0 points (100.0 to 100.0) above Age and density alone."
    )


def test_what_is_worse_is_below_and_what_is_as_good_is_not_told_apart(tmp_path):
    *_, worth = said(tmp_path / "table2", probe=(GOOD, GOOD), plain=(HALF, HALF), fused=(HALF, HALF))
    assert "Fused is not told apart from VGG16, the same backbone without age and density (+0.0 points, " in worth
    assert worth.endswith("50.0 points (50.0 to 50.0) below Age and density alone.")


def test_without_a_result_nothing_is_claimed(tmp_path):
    assert said(tmp_path / "table2") == ["No row has a finished leak-free result."]


@pytest.mark.parametrize("unit", ["patient", "near-twin cluster"])
def test_many_rows_are_counted(tmp_path, unit):
    folder = tmp_path / "table2"
    said(folder, **dict.fromkeys(INPUTS, (GOOD, HALF)))
    write_run_file(folder, group_unit=unit)
    first = conclusion(TABLE, table_results(TABLE, folder), folder)[0]
    assert first.startswith(f"When {unit}s stay together, accuracy falls by 50.0 points for VGG16 (100.0 → 50.0), by ")
    assert first.endswith(" and less for 1 other row.")


def test_the_terminals_table_has_the_rows_that_ran_in_columns(tmp_path):
    folder = tmp_path / "table2"
    said(folder, plain=(GOOD, HALF), other=(HALF, HALF))
    failed = {"status": "failed", "error": f"ValueError: {'long ' * 40}", "seconds": 1.0}
    write_row(folder, "fused", ["10"], status=failed)
    results = table_results(TABLE, folder)
    assert list(dict.fromkeys(rows_that_ran(results)["row"])) == ["other", "plain", "fused"]
    head, *lines = terminal_table(results).splitlines()
    assert [name for name in ("published", "paper protocol", "leak-free", "95 % interval", "change") if name in head]
    assert {len(line) for line in (head, *lines)} == {len(head)}
    assert len(head) <= 120
    other, plain, fused = lines
    assert other.split() == ["VGG16,", "elsewhere", "50.0", "50.0", "50.0–50.0", "+0.0"]
    assert plain.split() == ["VGG16,", "here", "91.0", "100.0", "50.0", "50.0–50.0", "-50.0"]
    assert "failed: ValueError: …" in fused and "not run" in fused
