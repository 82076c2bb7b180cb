"""docs/fidelity.md: what it cites exists, its values are the code's, and its arithmetic on the paper holds."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mmdc_tf.evaluation.metrics import METRICS, all_metrics
from mmdc_tf.experiments.rows import TABLES, load_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "fidelity.md"
PAPER = ROOT.parent / "shared" / "paper.txt"

# `path`, `path::name` and `path::name=value`; `::name` goes on with the path before it in the line or list item.
CITATION = re.compile(r"(?P<path>[\w./-]+)?(?:::(?P<name>\w+(?:\.\w+)*))?(?:=(?P<value>.+))?")
FILE = re.compile(r"^(mmdc_tf|tests|docs|data)/|\.(py|toml)\b|::")


def python_names(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.expr | None]]:
    """Functions, classes, methods, constants and fields with dots, and parameters as ``function.parameter``."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield prefix + node.name, None
            yield from python_names(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            yield prefix + node.name, None
            # A class is called with the parameters of its __init__.
            yield from parameters(node, prefix if node.name == "__init__" else f"{prefix}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id, node.value
        elif isinstance(node, ast.Assign):
            yield from ((prefix + target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def parameters(function: ast.FunctionDef, prefix: str) -> Iterator[tuple[str, ast.expr | None]]:
    listed = function.args.posonlyargs + function.args.args
    missing: list[ast.expr | None] = [None] * (len(listed) - len(function.args.defaults))
    for argument, default in zip(listed, missing + function.args.defaults, strict=True):
        yield prefix + argument.arg, default


def toml_names(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots; an entry of a list by its own ``name``: ``mmdcnet_alpha.cut``."""
    for key, value in content.items():
        entries = value if isinstance(value, list) and value and isinstance(value[0], dict) else []
        for entry in entries:
            yield entry["name"], entry
            yield from toml_names(entry, f"{entry['name']}.")
        if isinstance(value, dict):
            yield from toml_names(value, f"{prefix}{key}.")
        yield prefix + key, value


@cache
def names_in(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    return dict(toml_names(tomllib.loads(text)) if path.suffix == ".toml" else python_names(ast.parse(text).body))


def problems(text: str) -> Iterator[str]:
    """What is wrong with the citations of a page, one line each."""
    path = None
    for number, line in enumerate(text.splitlines(), 1):
        path = path if line.startswith(" ") else None
        for span in filter(FILE.search, re.findall(r"`([^`]+)`", line)):
            match = CITATION.fullmatch(span)
            path = (match and match["path"]) or path
            wrong = problem(path, match["name"], match["value"]) if match else "not a citation"
            if wrong:
                yield f"line {number}: {span} ({wrong})"


def problem(path: str | None, name: str | None, value: str | None) -> str | None:
    if path is None or not (ROOT / path).exists():
        return f"no file {path}"
    if name is None:
        return None
    known = names_in(ROOT / path)
    if name not in known:
        return f"no such name in {path}"
    if path.startswith("tests/") and not name.rpartition(".")[2].startswith("test_"):
        return "not a test"
    return None if value is None else other_value(known[name], ast.literal_eval(value))


def other_value(found: Any, expected: Any) -> str | None:
    try:
        found = ast.literal_eval(found) if isinstance(found, ast.AST) else found
    except ValueError:
        return "its value is computed"
    return None if (found, type(found)) == (expected, type(expected)) else f"it is {found!r}"


def test_every_file_name_test_and_value_cited_exists() -> None:
    assert list(problems(PAGE.read_text(encoding="utf-8"))) == []


def test_the_page_goes_through_every_part_and_cites_code_and_tests() -> None:
    text = PAGE.read_text(encoding="utf-8")
    parts = ("II.", "II-A", "II-B", "II-B.1", "II-B.1.a", "II-B.1.b", "III-1", "III-2", "III-A", "Ablation")
    for part in (*parts, "Assumptions", "Comparators", "Where the paper contradicts"):
        assert re.search(rf"^##+ {re.escape(part)}", text, re.MULTILINE), part
    assert len(re.findall("`mmdc_tf/", text)) > 50
    assert len(re.findall("`::test_", text)) > 50


def test_every_note_of_the_tables_stands_on_the_page_word_for_word() -> None:
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    tables = [load_table(name) for name in TABLES]
    notes = [note for table in tables for source in (table, *table.rows) for note in source.notes]
    assert len(notes) > 30
    assert [note for note in dict.fromkeys(notes) if " ".join(note.split()) not in page] == []


def test_every_line_of_a_table_has_the_cells_of_its_header() -> None:
    for block in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        assert {line.count("|") for line in block.splitlines()} == {block.splitlines()[0].count("|")}, block[:200]


def plain(text: str) -> str:
    """Lower case without LaTeX, so that a quote and its sentence are the same letters."""
    text = re.sub(r"\\text\{(\w+)\}", r"\1", text)
    for command, letter in {r"\alpha": "α", r"\gamma": "γ", r"\times": "×", "$": ""}.items():
        text = text.replace(command, letter)
    return " ".join(text.split()).replace(" ,", ",").lower()


def quotes(text: str) -> Iterator[str]:
    """The parts between dots of omission of what stands in quotation marks in the second cell of a table's line."""
    for line in text.splitlines():
        if line.startswith("|"):
            for quote in re.findall(r'"([^"]+)"', line.split("|")[2]):
                yield from (part.strip(" ,") for part in quote.split("…"))


@pytest.mark.skipif(not PAPER.is_file(), reason=f"the paper's text is not at {PAPER}")
def test_every_quote_stands_in_the_paper() -> None:
    paper = plain(PAPER.read_text(encoding="utf-8"))
    found = [quote for quote in quotes(PAGE.read_text(encoding="utf-8")) if quote]
    assert len(found) > 100
    assert [quote for quote in found if plain(quote) not in paper] == []


@pytest.mark.parametrize(
    ("citation", "reason"),
    [
        ("`mmdc_tf/models/nowhere.py`", "no file"),
        ("`mmdc_tf/models/mmdcnet.py::nothing`", "no such name"),
        ("`mmdc_tf/models/mmdcnet.py` and `::mmdcnet.nothing`", "no such name"),
        ("`::mmdcnet`", "no file None"),
        ("`mmdc_tf/models/mmdcnet.py`\n2. `::mmdcnet`", "no file None"),
        ("`mmdc_tf/models/mmdcnet.py::HEADS=9`", "it is 8"),
        ("`mmdc_tf/models/mmdcnet.py::mmdcnet.backbone='vgg16'`", "it is 'densenet201'"),
        ("`mmdc_tf/experiments/table2.toml::mmdcnet_delta`", "no such name"),
        ("`mmdc_tf/experiments/table2.toml::mmdcnet_gamma.cut='none'`", "it is 'block3_pool'"),
        ("`tests/test_fidelity.py::problems`", "not a test"),
        ("`tests/test_fidelity.py::test_nothing`", "no such name"),
        ("`mmdcnet.py::a b`", "not a citation"),
    ],
)
def test_a_wrong_citation_is_found(citation: str, reason: str) -> None:
    (found,) = problems(f"| {citation} |")
    assert reason in found


def test_right_citations_pass() -> None:
    assert not list(problems("`quick` `mmdc_tf/models/mmdcnet.py` `::mmdcnet.grid` `::HEADS=8` `--list`"))
    assert not list(problems("`mmdc_tf/experiments/table2.toml::mmdcnet_gamma.cut='block3_pool'` `tests/`"))
    assert not list(problems("1. `mmdc_tf/models/mmdcnet.py`\n   `::HEADS=8`"))
    assert not list(problems("`mmdc_tf/layers/self_attention.py::SpatialSelfAttention.key_ratio=8`"))


# What the page says about the paper's own numbers.

BUSI_COUNTS = {"benign": 437, "malignant": 210, "normal": 133}

# Wrong predictions (true class, predicted class): how many. All other images are predicted rightly.
CONFUSIONS = {
    "bcdnet_alpha": {"bm": 1, "bn": 4, "mb": 12, "mn": 3, "nb": 2, "nm": 1},
    "bcdnet_beta": {"bm": 14, "bn": 5, "mb": 4, "mn": 1, "nb": 1, "nm": 1},
    "bcdnet_gamma": {"bm": 1, "bn": 3, "mb": 38, "mn": 3, "nb": 11, "nm": 2},
}


def published(table: int, row: str) -> tuple[float, ...]:
    return next(entry.paper for entry in load_table(f"table{table}").rows if entry.name == row)


def as_predictions(errors: dict[str, int]) -> pd.DataFrame:
    classes = {name[0]: name for name in BUSI_COUNTS}
    pairs = [(classes[true], classes[guess]) for (true, guess), count in errors.items() for _ in range(count)]
    for name, count in BUSI_COUNTS.items():
        pairs += [(name, name)] * (count - sum(true == name for true, _ in pairs))
    return pd.DataFrame(pairs, columns=["y_true", "y_pred"])


def rounds_to(fraction: float, percentage: float) -> bool:
    return abs(100.0 * fraction - percentage) <= 0.005 + 1e-9


def fits(percentage: float, images: int) -> bool:
    return rounds_to(round(percentage * images / 100.0) / images, percentage)


@pytest.mark.parametrize("row", CONFUSIONS)
def test_one_confusion_matrix_over_all_780_images_gives_the_four_numbers_of_a_bcdnet_row(row: str) -> None:
    scores = all_metrics(as_predictions(CONFUSIONS[row]), METRICS)
    assert all(rounds_to(scores[name], value) for name, value in zip(METRICS, published(1, row), strict=True))


def test_no_other_number_of_images_below_1290_gives_the_three_bcdnet_accuracies() -> None:
    accuracies = [published(1, row)[0] for row in CONFUSIONS]
    sizes = [size for size in range(20, 1290) if all(fits(accuracy, size) for accuracy in accuracies)]
    assert sizes == [780]
    cut_off = [[10_000 * right // size for right in range(size + 1)] for size in range(20, 1290)]
    wanted = {round(100 * accuracy) for accuracy in accuracies}
    assert not [found for found in cut_off if wanted <= set(found)]  # so the argument is one about rounding


@pytest.mark.parametrize("row", ["densenet201", "mmdcnet_alpha", "mmdcnet_beta", "mmdcnet_gamma"])
def test_no_accuracy_of_table_2_comes_from_a_fifth_of_mini_ddsm(row: str) -> None:
    accuracy, *_ = published(2, row)
    assert not fits(accuracy, 1561)
    assert not fits(accuracy, 1562)


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ("moon_densenet121", (31, 9, 6, 84)),
        ("moon_densenet40", (32, 8, 4, 86)),
        ("moon_vgg_like", (30, 10, 9, 81)),
        ("moon_densenet161", (36, 4, 3, 87)),
    ],
)
def test_the_rows_of_moon_fit_130_images_of_which_always_40_are_predicted_positive(
    row: str, counts: tuple[int, int, int, int]
) -> None:
    hits, false_alarms, misses, rest = counts
    assert (sum(counts), hits + false_alarms) == (130, 40)
    shares = ((hits + rest) / 130, hits / 40, hits / (hits + misses), 2 * hits / (40 + hits + misses))
    assert all(rounds_to(share, value) for share, value in zip(shares, published(1, row), strict=True))
