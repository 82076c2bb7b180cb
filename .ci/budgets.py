"""Counts lines and files of the package's folders, tests and benchmarks against their budgets, and fails above one.

python .ci/budgets.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# folder: (files, lines) with docstrings. A folder that is above is a reason to look for what a library does or nobody
# uses, never to cram lines.
TARGETS = {
    "mmdc_tf/*.py": (4, 450),
    "mmdc_tf/datasets": (26, 2900),
    "mmdc_tf/preprocessing": (10, 1500),
    "mmdc_tf/inputs": (4, 500),
    "mmdc_tf/layers": (10, 1000),
    "mmdc_tf/models": (15, 1700),
    "mmdc_tf/training": (6, 800),
    "mmdc_tf/evaluation": (10, 1500),
    "mmdc_tf/explain": (3, 400),
    "mmdc_tf/audit": (6, 1000),
    "mmdc_tf/experiments": (8, 1200),
    "mmdc_tf/serving": (7, 1200),
    "mmdc_tf/report": (7, 1300),
    "mmdc_tf/commands": (12, 1300),
    "mmdc_tf": (125, 15500),
    "tests": (None, 13000),
    "benchmarks": (8, 1500),
}
CEILINGS: dict[str, tuple[int | None, int]] = {
    "mmdc_tf/*.py": (6, 709),
    "mmdc_tf/datasets": (31, 4842),
    "mmdc_tf/preprocessing": (12, 1962),
    "mmdc_tf/inputs": (4, 610),
    "mmdc_tf/layers": (10, 1056),
    "mmdc_tf/models": (15, 1706),
    "mmdc_tf/training": (8, 1271),
    "mmdc_tf/evaluation": (11, 1500),
    "mmdc_tf/explain": (3, 444),
    "mmdc_tf/audit": (7, 1296),
    "mmdc_tf/experiments": (10, 2023),
    "mmdc_tf/serving": (12, 2096),
    "mmdc_tf/report": (13, 2531),
    "mmdc_tf/commands": (14, 1914),
    "mmdc_tf": (155, 23844),
    "tests": (None, 21264),
}


def count(folder: str) -> tuple[int, int]:
    """Files and lines; an ``__init__.py`` of at most three lines is no file to read."""
    paths = ROOT.glob(folder) if "*" in folder else (ROOT / folder).rglob("*.py")
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    return sum(one > 3 for one in lines), sum(lines)


def main() -> int:
    """Prints the table; 1 where a ceiling is exceeded."""
    above = []
    print(f"{'folder':24}{'files':>7}{'target':>8}{'lines':>8}{'target':>8}")
    for folder, (few_files, few_lines) in TARGETS.items():
        files, lines = count(folder)
        most_files, most_lines = CEILINGS.get(folder, (few_files, few_lines))
        if lines > most_lines or (most_files is not None and files > most_files):
            above.append(f"{folder}: at most {most_files or 'any number of'} files and {most_lines} lines")
        print(f"{folder:24}{files:7}{few_files or '–':>8}{lines:8}{few_lines:8}")
    print(*above, sep="\n", end="\n" if above else "")
    return int(bool(above))


if __name__ == "__main__":
    sys.exit(main())
