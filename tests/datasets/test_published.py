"""The readers of published data sets on folders in exactly their layouts, and on the real ones that are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_images import write
from made_up_published import MAKERS, cbis_ddsm_kaggle, write_header

from mmdc_tf.cli import main
from mmdc_tf.datasets.catalogue import PUBLISHED, load_dataset, recognise
from mmdc_tf.datasets.listed import together
from mmdc_tf.datasets.splits import LEAK_FREE, make_splits, official_folds
from mmdc_tf.errors import DatasetError, SplitError

COLUMNS = ("label", "patient_id", "age", "density", "view", "side")
LAYOUTS = {**{name: (name, make) for name, make in MAKERS.items()}, "kaggle": ("cbis-ddsm", cbis_ddsm_kaggle)}


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    name, make = LAYOUTS[request.param]
    return name, tmp_path, make(tmp_path)


def first_image(root: Path, name: str) -> Path:
    dataset = load_dataset(name, root)
    return Path(dataset.table["image_path"].iloc[0])


def test_every_sample_has_its_facts(layout):
    name, root, expected = layout
    dataset = load_dataset(name, root)
    table = dataset.table.set_index("sample_id")
    assert sorted(table.index) == sorted(expected.samples)
    for sample, facts in expected.samples.items():
        found = [None if value != value else value for value in table.loc[sample, list(COLUMNS)]]
        assert tuple(found) == facts, sample
    assert list(table["group_id"]) == list(table["patient_id"])
    assert table["lesion_masks"].map(len).sum() == expected.masks
    official = None if dataset.official is None else dataset.official.to_dict()
    assert official == expected.official
    assert recognise(root) == name


def test_a_table_that_is_absent_is_named(layout):
    name, root, expected = layout
    (root / expected.table).unlink()
    with pytest.raises(DatasetError, match=r"Expected the tables .*Received"):
        load_dataset(name, root)


def test_an_unknown_label_is_named_with_its_row(layout):
    name, root, expected = layout
    path = root / expected.table
    if path.suffix == ".txt":
        pytest.skip("a text whose lines are found by their form")
    separator = ";" if name == "inbreast" else ","
    is_book = path.suffix == ".xlsx"
    table = pd.read_excel(path, dtype=str) if is_book else pd.read_csv(path, dtype=str, sep=separator)
    table.loc[0, expected.label_column] = "odd"
    table.to_excel(path, index=False) if is_book else table.to_csv(path, index=False, sep=separator)
    with pytest.raises(DatasetError, match="'odd' in row"):
        load_dataset(name, root)
    table = table.drop(columns=expected.label_column)
    table.to_excel(path, index=False) if is_book else table.to_csv(path, index=False, sep=separator)
    with pytest.raises(DatasetError, match=r"Expected (the columns|a column)"):
        load_dataset(name, root)


def test_rows_without_images_and_images_without_rows_are_counted(layout):
    name, root, _ = layout
    lost = first_image(root, name)
    further = lost.with_name(f"further{lost.suffix}")
    write_header(further) if lost.suffix in (".dcm", ".dicom") else write(further, 9)
    # of a folder whose files are all of one image, a further one may be taken for it
    if name == "cbis-ddsm":
        further.unlink()
    if name != "cmmd":  # whose table lists breasts, not images
        lost.unlink()
    try:
        notes = " | ".join(load_dataset(name, root).notes)
    except DatasetError as error:
        notes = str(error)  # a class is left without an image, and the notes stand in the message
    if name != "cmmd":
        assert "1 was not found" in notes
    if name != "cbis-ddsm":
        assert "no row of the table names" in notes or "does not list" in notes


def test_a_patient_in_two_official_parts_is_kept_in_the_test_part():
    parts, notes = together(pd.Series([-1, 0, -1, -1]), pd.Series(["a", "a", "b", "b"]))
    assert list(parts) == [0, 0, -1, -1]
    assert notes == ("1 patient in several official parts, kept in the test part",)


def test_official_folds_are_the_publishers(real_data):
    dataset = load_dataset("bus-bra", real_data / "bus-bra")
    assert official_folds(dataset) == 5
    splits = make_splits(dataset, LEAK_FREE, 5, seed=0)
    published = pd.read_csv(real_data / "bus-bra" / "BUSBRA" / "5-fold-cv.csv").set_index("ID")["kFold"]
    for number, split in enumerate(splits, start=1):
        assert set(split.test) == set(published.index[published == number])
        assert not set(split.test) & {*split.train, *split.validation}
        assert len(split.test) + len(split.train) + len(split.validation) == 1875
    with pytest.raises(SplitError, match="official"):
        official_folds(load_dataset("mini-mias", real_data / "mias"))


REAL = {
    "bus-bra": ("bus-bra", (1875, 1064, 0, 0, 1875)),
    "breast-usg": ("breast-usg", (256, 256, 214, 0, 252)),
    "mini-mias": ("mias", (322, 161, 0, 322, 0)),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_files_have_the_published_counts(name, real_data):
    folder, (images, patients, ages, densities, masks) = REAL[name]
    dataset = load_dataset(name, real_data / folder)
    table = dataset.table
    assert dataset.found_counts == dataset.info.expected_counts
    assert (len(table), table["patient_id"].nunique()) == (images, patients)
    assert (table["age"].notna().sum(), table["density"].notna().sum()) == (ages, densities)
    assert table["lesion_masks"].map(len).sum() == masks
    if name == "mini-mias":
        np.testing.assert_array_equal(table["density"].value_counts()[[1, 2, 4]], [106, 104, 112])


def test_the_catalogue_is_printed(capsys):
    assert main(["datasets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(PUBLISHED) + 1]] == [info.name for info in PUBLISHED]
    assert "1,875" in next(line for line in lines if line.startswith("bus-bra"))
