"""The tables that ``table1.py`` prints."""

from __future__ import annotations

from dataclasses import dataclass

from stopwatch import PARTS
from table1_rows import Measured, Rates, Seconds, extrapolated

from mmdc_tf.experiments.plan import Plan, Training

GOAL_MINUTES = 120
Frozen = tuple[str, str, int]
"""Backbone, cut and image size: rows of one frozen part share its features."""


@dataclass(frozen=True)
class Check:
    """A row that was really run.

    Args:
        name: of the row.
        run: what of it was run, in words.
        whole: all of its trainings as the table has them.
        measured: what it took.
        extrapolated: what was extrapolated for the same trainings.
    """

    name: str
    run: str
    whole: bool
    measured: Measured
    extrapolated: Seconds


def print_tables(
    plan: Plan,
    cells: dict[str, list[Training]],
    rates: dict[str, Rates],
    checks: list[Check],
    scale: float,
    loading: float,
) -> None:
    """Prints all tables: the rows, the frozen parts, the sums, where the time goes, and the check."""
    whole = {check.name: check.measured.seconds for check in checks if check.whole and scale == 1}
    seconds = {name: whole.get(name) or extrapolated(rates[name], plan, row, scale) for name, row in cells.items()}
    fills = _fills(cells, seconds, set(whole))
    rows = {name: {**parts, "fill": 0.0} for name, parts in seconds.items()}
    _print_rows(cells, rates, rows, set(whole))
    _print_fills(cells, rates, fills, set(whole))
    _print_sums(plan, cells, rows, fills, loading)
    _print_checks(checks)


def frozen_part(cell: Training) -> Frozen | None:
    """What the row's features are features of; None where it has none."""
    return None if cell.cut is None else (str(cell.row.arguments.get("backbone")), cell.cut, cell.image_size)


def _fills(
    cells: dict[str, list[Training]], seconds: dict[str, Seconds], whole: set[str]
) -> dict[Frozen, tuple[float, str]]:
    """For each frozen part the seconds of filling its features once, and the row that says so: run, if one was."""
    sharing: dict[Frozen, list[str]] = {}
    for name, row in cells.items():
        if part := frozen_part(row[0]):
            sharing.setdefault(part, []).append(name)
    found = {}
    for part, names in sharing.items():
        ran = [name for name in names if name in whole]  # of these the first one filled
        found[part] = max((seconds[name]["fill"], name) for name in ran or names[:1])
    return found


def _print_rows(
    cells: dict[str, list[Training]], rates: dict[str, Rates], rows: dict[str, Seconds], whole: set[str]
) -> None:
    print(f"\n{'row':20} {'frozen up to':20} {'images/s:':>9} {'valid.':>7} {'scored':>7} {'MB':>6} {'minutes':>8}")
    print(f"{'':41} {'trained':>9}")
    for name, row in cells.items():
        speeds = {kind: _speed(rates[name].images[kind]) for kind in ("train", "validate", "score")}
        print(
            f"{name:20} {row[0].cut or '-':20} {speeds['train']:>9} {speeds['validate']:>7} {speeds['score']:>7} "
            f"{rates[name].memory:6,.0f} {sum(rows[name].values()) / 60:8.1f} "
            f"{'measured' if name in whole else 'extrapolated'}"
        )


def _print_fills(
    cells: dict[str, list[Training]], rates: dict[str, Rates], fills: dict[Frozen, tuple[float, str]], whole: set[str]
) -> None:
    print(f"\n{'features, stored once':41} {'images/s':>9} {'rows':>7} {'':14} {'minutes':>8}")
    for part, (spent, name) in fills.items():
        sharing = sum(frozen_part(row[0]) == part for row in cells.values())
        print(
            f"{f'{part[0]} up to {part[1]}':41} {_speed(rates[name].images['fill']):>9} {sharing:7} {'':14} "
            f"{spent / 60:8.1f} {'measured' if name in whole else 'extrapolated'}"
        )


def _print_sums(
    plan: Plan,
    cells: dict[str, list[Training]],
    rows: dict[str, Seconds],
    fills: dict[Frozen, tuple[float, str]],
    loading: float,
) -> None:
    """Minutes by part, of the rows with and without a frozen part, and of all."""
    kinds = [[parts for name, parts in rows.items() if bool(cells[name][0].cut) is cut] for cut in (True, False)]
    columns = [{part: sum(seconds[part] for seconds in kind) for part in PARTS} for kind in kinds]
    columns[0]["fill"] = sum(spent for spent, _ in fills.values())
    print(f"\n{'minutes':45} {f'{len(kinds[0])} frozen':>10} {f'{len(kinds[1])} whole':>10} {'all':>8}")
    for part, words in PARTS.items():
        _print_minutes(words, [column[part] for column in columns])
    _print_minutes("all of the rows", totals := [sum(column.values()) for column in columns])
    total = (sum(totals) + loading) / 60
    print(
        f"\n{plan.table.title}, {len(rows)} rows with loading the data: {total:.0f} minutes ({total / 60:.1f} h), "
        f"{total / GOAL_MINUTES:.2f} of the goal of {GOAL_MINUTES} minutes; the rows with a frozen part alone: "
        f"{totals[0] / 60:.0f} minutes"
    )


def _print_minutes(words: str, seconds: list[float]) -> None:
    print(f"{words:45} {seconds[0] / 60:10.1f} {seconds[1] / 60:10.1f} {sum(seconds) / 60:8.1f}")


def _print_checks(checks: list[Check]) -> None:
    """Seconds by part of what was run, and of what was extrapolated for it."""
    names = [part for part in PARTS if part != "rest"]
    print(f"\nreally run, seconds: {''.join(f'{name:>10}' for name in [*names, 'rest', 'all'])} {'error':>7} {'MB':>6}")
    for check in checks:
        lines = {f"{check.name}": check.measured.seconds, "  extrapolated": check.extrapolated}
        sums = [sum(seconds.values()) for seconds in lines.values()]
        ends = [f"{'':7} {check.measured.memory:6,.0f}", f"{100 * (sums[1] / sums[0] - 1):+6.0f}%"]
        for (name, seconds), total, end in zip(lines.items(), sums, ends, strict=True):
            numbers = "".join(f"{value:10.1f}" for value in [*(seconds[part] for part in PARTS), total])
            print(f"{name:20} {numbers} {end}")
        print(f"  {check.run}")


def _speed(seconds: float) -> str:
    return f"{1 / seconds:.1f}" if seconds else "-"
