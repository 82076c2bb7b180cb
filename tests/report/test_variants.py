"""What age and density are worth, and what noise costs: the tables' numbers by hand, from predictions files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_run import PHANTOM, RUN, made_up_table, write_run_file, write_training

from mmdc_tf.evaluation.metadata_variants import VARIANTS
from mmdc_tf.experiments.robustness import CONDITIONS
from mmdc_tf.preprocessing.noise import NOISES
from mmdc_tf.report.figures import noise_curves
from mmdc_tf.report.variants import write_metadata_table, write_noise_table

CLASSES = ("benign", "cancer", "normal")
# groups a and b have two images each, c and d one
SAMPLES = {0: ["a1", "a2", "c1"], 1: ["b1", "b2", "d1"]}
RIGHT = {  # which samples each variant gets right
    "as recorded": {"a1", "a2", "c1", "b1"},
    "age unknown": {"a1", "a2", "b1"},
    "density unknown": {"a1", "a2", "c1", "b1"},
    "both unknown": {"c1", "d1"},
    "shuffled": {"a1"},
}
METADATA, NOISE = made_up_table("fused", "image"), made_up_table("first", "second")
TEN = [f"s{number}" for number in range(10)]


def predictions(fold: int, samples: list[str], right: set[str], **columns: object) -> pd.DataFrame:
    """All truths are cancer; what is not right is called normal. A group is the first letter of its samples."""
    guesses = ["cancer" if name in right else "normal" for name in samples]
    table = pd.DataFrame({"sample_id": samples, "patient_id": [name[0] for name in samples]})
    if samples is TEN:
        table = table.assign(sample_id=[f"f{fold}{name}" for name in TEN], patient_id=TEN)
    table = table.assign(group_id=table["patient_id"], fold=fold, seed=0, y_true="cancer", y_pred=guesses)
    return table.assign(**{f"p_{name}": [float(guess == name) for guess in guesses] for name in CLASSES}, **columns)


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """One row scored with other metadata, one that takes images alone."""
    write_run_file(tmp_path / "table2")
    for fold, samples in SAMPLES.items():
        plain = predictions(fold, samples, RIGHT["as recorded"])
        others = [predictions(fold, samples, RIGHT[name], metadata=name) for name in VARIANTS]
        for row in ("fused", "image"):
            write_training(tmp_path / "table2" / row / "leak-free" / f"fold{fold}-seed0", plain)
        place = tmp_path / "table2/fused/leak-free" / f"fold{fold}-seed0"
        pd.concat(others).to_csv(place / "predictions-metadata.csv", index=False)
    return tmp_path


def test_what_age_and_density_are_worth_worked_by_hand(metadata):
    lines = write_metadata_table(METADATA, metadata).set_index("metadata")
    assert set(lines["row"] + lines["protocol"]) == {"fusedleak-free"}
    assert lines.index.tolist() == ["as recorded", *VARIANTS]
    # right in the folds, of three each: 3 and 1; 2 and 1; 3 and 1; 1 and 1; 1 and 0
    accuracies = [400 / 6, 300 / 6, 400 / 6, 200 / 6, 100 / 6]
    np.testing.assert_allclose(lines["accuracy"], accuracies)
    np.testing.assert_allclose(lines["difference"], [np.nan, *np.subtract(accuracies[1:], accuracies[0])])
    # all truths are cancer: of n right of three, F1 of cancer is 2n / (3 + n); the other class that is guessed has 0
    one, two = 2 / 4 / 2, 4 / 5 / 2
    expected = 100 * np.array([(1 + one) / 2, (two + one) / 2, (1 + one) / 2, one, one / 2])
    np.testing.assert_allclose(lines["f1"], expected)
    assert lines[["n_samples", "n_groups", "folds"]].drop_duplicates().to_numpy().tolist() == [[6, 4, 2]]
    # age unknown loses c1 alone: of a and c fold 0 draws one, and loses nothing or all; fold 1 loses nothing
    limits = lines[["difference_ci_low", "difference_ci_high"]]
    np.testing.assert_allclose(limits.loc["age unknown"], [-50.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(limits.loc["density unknown"], [0.0, 0.0], atol=1e-9)
    assert limits.loc["as recorded"].isna().all()


def test_the_metadata_files_say_what_they_are(metadata):
    results = write_metadata_table(METADATA, metadata)
    lines = pd.read_csv(metadata / "table2_metadata.csv")
    assert list(lines.columns) == list(results.columns)
    np.testing.assert_allclose(lines["difference"], results["difference"], atol=0.005)
    assert set(lines["label"]) == {f"Fused ({PHANTOM})"}
    text = (metadata / "table2_metadata.md").read_text(encoding="utf-8")
    assert PHANTOM in text and "Research use only, not a medical device." in text
    assert r"| Fused | here | as recorded | 66.67 | 62.50 |  |" in text
    assert "|  |  | age unknown | 50.00 | 32.50 | -16.67 (-50.00 to +0.00) |" in text
    assert "Paper protocol" not in text


def right_of_ten(row: str, fold: int, noise: str, step: int) -> set[str]:
    """Falls by a step each, jpeg twice as fast; the second fold and row start lower."""
    return set(TEN[: 9 - fold - (row == "second") - step * (1 + (noise == "jpeg"))])


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Two rows under both protocols, but one fold of the second row was not scored with noise."""
    write_run_file(tmp_path / "table2")
    for row in ("first", "second"):
        for protocol, fold in (("paper", 0), ("leak-free", 0), ("leak-free", 1)):
            scored = [
                predictions(fold, TEN, right_of_ten(row, fold, noise, step), noise=noise, step=step)
                for noise, step in CONDITIONS
            ]
            place = tmp_path / "table2" / row / protocol / f"fold{fold}-seed0"
            write_training(place, scored[0].drop(columns=["noise", "step"]))
            pd.concat(scored).to_csv(place / "predictions-noise.csv", index=False)
    (tmp_path / "table2/second/leak-free/fold1-seed0/predictions-noise.csv").unlink()
    return tmp_path


def test_what_noise_costs_worked_by_hand(noisy):
    results = write_noise_table(NOISE, noisy)
    found = results[["row", "protocol"]].drop_duplicates().to_numpy().tolist()
    assert found == [["first", "paper"], ["first", "leak-free"], ["second", "paper"]]
    for (row, protocol), part in results.groupby(["row", "protocol"]):
        folds = (0, 1) if protocol == "leak-free" else (0,)
        assert list(zip(part["noise"], part["step"], strict=True)) == list(CONDITIONS)
        expected = [np.mean([10 * len(right_of_ten(row, fold, *one)) for fold in folds]) for one in CONDITIONS]
        np.testing.assert_allclose(part["accuracy"], expected)
        np.testing.assert_allclose(part["difference"], [np.nan, *np.subtract(expected[1:], expected[0])])
        inside = part.iloc[1:]
        assert inside["difference"].between(inside["difference_ci_low"], inside["difference_ci_high"]).all()
        blur = part[part["noise"] == "blur"]
        assert blur["level"].tolist() == list(NOISES["blur"].levels)
        assert part["level"].isna().tolist() == [True] + [False] * 16


def test_the_noise_files_say_what_they_are(noisy):
    write_noise_table(NOISE, noisy)
    names = ["table2_noise.csv", "table2_noise.md", "table2_noise.png"]
    assert sorted(path.name for path in noisy.glob("table2_noise*")) == names
    lines = pd.read_csv(noisy / "table2_noise.csv")
    assert len(lines) == 3 * 17
    assert lines["label"].str.endswith(f"({PHANTOM})").all()
    text = (noisy / "table2_noise.md").read_text(encoding="utf-8")
    assert PHANTOM in text and "Research use only, not a medical device." in text
    free = text.split("## Leak-free")[1].split("##")[0]
    # leak-free: clean 85, then 75, 65, 55, 45 of each noise, of jpeg 65, 45, 25, 5
    steps = "75.00 | 65.00 | 55.00 | 45.00"
    assert f"| First | here | 85.00 | {steps} | {steps} | {steps} | 65.00 | 45.00 | 25.00 | 5.00 |" in free
    assert "Second" not in free


def test_the_curves_are_the_tables_numbers_and_each_row_has_its_own_look(noisy):
    results = write_noise_table(NOISE, noisy)
    figure = noise_curves(NOISE, results, RUN)
    places = [(protocol, noise) for protocol in ("leak-free", "paper") for noise in NOISES]
    for axes, (protocol, noise) in zip(figure.axes, places, strict=True):
        part = results[(results["protocol"] == protocol) & results["noise"].isin(["clean", noise])]
        for line, (_, lines) in zip(axes.lines, part.groupby("row", sort=False), strict=True):
            np.testing.assert_allclose(line.get_ydata(), lines["accuracy"])
            assert line.get_xdata().tolist() == [0, 1, 2, 3, 4]
        ticks = [tick.get_text() for tick in axes.get_xticklabels()]
        assert ticks == ["clean", *(f"{level:g}" for level in NOISES[noise].levels)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["First, here", "Second, here"]
    assert PHANTOM in figure.get_supxlabel()
    one = results.query("row == 'first' and protocol == 'paper'")
    many = pd.concat([one.assign(row=f"row{number}", label=f"Row {number}") for number in range(20)])
    lines = noise_curves(NOISE, many, RUN).axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 20


def test_rows_that_were_not_scored_so_are_left_out_and_nothing_is_written_without_any(metadata, noisy):
    (metadata / "table2/fused/leak-free/fold1-seed0/predictions-metadata.csv").unlink()
    assert write_metadata_table(METADATA, metadata).empty
    for path in noisy.rglob("predictions-noise.csv"):
        path.unlink()
    assert write_noise_table(NOISE, noisy).empty
    assert not list(noisy.glob("table2_*"))
