"""A folder of scans into a mirrored folder of PNG: what is written, what is skipped, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image
from served_model import write_dicom

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.jobs import Executor
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.preprocessing.batch import LOCK, BatchResult, preprocess_folder
from mmdc_tf.preprocessing.scan_folder import list_scans, masks_by_scan, png_names

SIZE = 16


def scan(seed: int, dtype=np.uint8) -> np.ndarray:
    """A bright textured box, 30 wide and 20 high from (5, 10), brighter at its left, on black."""
    image = np.zeros((48, 64), dtype)
    texture = np.random.default_rng(seed).integers(150, 200, (20, 30))
    texture[:, :10] += 50
    image[10:30, 5:35] = texture
    return image * 16 if dtype == np.uint16 else image


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def run(source: Path, target: Path, workers: int | Executor = 1, **changes) -> BatchResult:
    return preprocess_folder(source, target, **{"recipe": "paper", "size": SIZE, "workers": workers} | changes)


def pngs(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def manifest(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "manifest.csv", keep_default_na=False, index_col="source")


def fill(folder: Path) -> Path:
    """Four scans of four formats in three folders, a broken one, and a file that is none."""
    write(folder / "a.png", scan(0))
    write(folder / "deep" / "sixteen.png", scan(1, np.uint16))
    write(folder / "deep" / "er" / "b.tif", scan(2))
    write(folder / "deep" / "er" / "c.JPG.jpg", scan(3))
    (folder / "deep" / "broken.jpg").write_bytes(b"\xff\xd8 not a scan")
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, Path, BatchResult]:
    """A folder preprocessed once; tests that change it take a copy."""
    root = tmp_path_factory.mktemp("batch")
    source = fill(root / "in")
    return source, root / "out", run(source, root / "out")


@pytest.fixture
def copied(done, tmp_path) -> tuple[Path, Path]:
    shutil.copytree(done[0], tmp_path / "in")
    shutil.copytree(done[1], tmp_path / "out")
    return tmp_path / "in", tmp_path / "out"


def test_the_tree_is_mirrored_and_the_manifest_says_what_became_of_each_scan(done):
    source, target, result = done
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} - {LOCK}
    assert files == {"a.png", "deep/sixteen.png", "deep/er/b.png", "deep/er/c.JPG.png", "manifest.csv"}
    assert [str(path) for path in result.others] == ["notes.txt"]
    row = manifest(target).loc["a.png"]
    assert row["sha256"] == hashlib.sha256((source / "a.png").read_bytes()).hexdigest()
    box = ["width", "height", "box_left", "box_top", "box_width", "box_height"]
    assert [int(row[name]) for name in box] == [64, 48, 5, 10, 30, 20]
    assert float(row["kept_fraction"]) == round(600 / (64 * 48), 4)
    assert (row["side"], row["flags"], row["recipe"], row["size"]) == ("L", "", "paper", SIZE)
    assert [row.source for row in result.failed] == ["deep/broken.jpg"]
    broken = manifest(target).loc["deep/broken.jpg"]
    assert (broken["flags"], broken["output"]) == ("unreadable", "")
    assert "not a decodable image" in broken["reason"]


def test_what_a_file_says_of_its_pixels_is_heeded_and_stands_in_the_manifest(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    falling = {"RescaleSlope": -1, "RescaleIntercept": 255, "WindowCenter": [1, 128], "WindowWidth": [0, 256]}
    write_dicom(tmp_path / "in" / "a.dcm", ramp, **falling)
    write(tmp_path / "in" / "b.png", np.dstack([ramp, ramp, ramp, np.full_like(ramp, 51)]))
    whole = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8))
    whole.save(tmp_path / "in" / "c.jpg")
    data = (tmp_path / "in" / "c.jpg").read_bytes()
    (tmp_path / "in" / "c.jpg").write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    whole.save(tmp_path / "in" / "d.tif", save_all=True, append_images=[whole])
    run(tmp_path / "in", tmp_path / "out", recipe="plain")
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png")[..., 0], 255 - ramp)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "b.png")[..., 0], np.round(ramp * 0.2))
    found = manifest(tmp_path / "out")
    assert found["flags"].tolist() == ["window_skipped", "transparent", "unreadable", "unreadable"]
    assert "Corrupt JPEG data: premature end" in found.loc["c.jpg", "reason"]
    assert "2 pages" in found.loc["d.tif", "reason"]


@pytest.fixture(params=["processes", "ray"])
def workers(request) -> Iterator[int | Executor]:
    if request.param == "processes":
        yield 2
        return
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, log_to_driver=False, object_store_memory=10**8)
    yield Executor(ray=True)
    ray.shutdown()


def test_two_workers_give_the_same_bytes(done, tmp_path, workers):
    source, target, _ = done
    run(source, tmp_path / "out", workers)
    assert pngs(tmp_path / "out") == pngs(target)
    columns = [name for name in manifest(target) if name != "seconds"]
    pd.testing.assert_frame_equal(manifest(tmp_path / "out")[columns], manifest(target)[columns])


def test_a_second_run_does_only_what_is_missing_or_changed(copied):
    source, target = copied
    expected = pngs(target)
    (target / "a.png").unlink()
    write(source / "deep" / "er" / "b.tif", scan(9))
    old = target / "deep" / "sixteen.png"
    before = old.stat().st_mtime_ns
    (source / "deep" / "er" / "c.JPG.jpg").write_bytes(b"")
    result = run(source, target)
    assert result.unchanged == 1
    assert not (target / "deep" / "er" / "c.JPG.png").exists()  # nothing stays of a scan that breaks
    assert old.stat().st_mtime_ns == before
    assert pngs(target).pop("a.png") == expected["a.png"]
    assert pngs(target)["deep/er/b.png"] != expected["deep/er/b.png"]


def test_a_manifest_that_was_cut_off_is_continued(copied):
    source, target = copied
    whole = manifest(target).drop(columns=["seconds", "reason"])
    text = (target / "manifest.csv").read_text()
    (target / "manifest.csv").write_text(text[: text.rindex(f",{SIZE}\n") + 2])  # in the last line's size
    assert run(source, target).unchanged == 3
    pd.testing.assert_frame_equal(manifest(target).drop(columns=["seconds", "reason"]), whole)


def test_an_interrupted_run_keeps_what_it_did(tmp_path):
    source, target = fill(tmp_path / "in"), tmp_path / "out"

    def interrupt(finished: int, total: int) -> None:
        if finished == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, target, progress=interrupt)
    rows = manifest(target)
    assert len(rows) == 2
    assert run(source, target).unchanged == (rows["flags"] == "").sum()
    assert len(manifest(target)) == 5


@pytest.mark.parametrize("changes", [{"recipe": "plain"}, {"size": 32}])
def test_another_recipe_or_size_is_refused(copied, changes):
    with pytest.raises(ConfigurationError) as caught:
        run(*copied, **changes)
    assert "recipe: 'paper' → " in str(caught.value)
    assert f"size: {SIZE} → {changes.get('size', SIZE)}" in str(caught.value)


def test_a_second_run_at_the_same_time_is_refused(done):
    with FileLock(done[1] / LOCK), pytest.raises(ConfigurationError, match="in use"):
        run(*done[:2])


def test_names_that_would_collide_keep_their_suffix():
    names = png_names(["d/a.jpg", "d/a.PNG", "d/b.jpg", "e/a.jpg", "d/A.tif", "1.2.840"])
    assert names == {
        "d/a.jpg": "d/a.jpg.png",
        "d/a.PNG": "d/a.PNG.png",
        "d/A.tif": "d/A.tif.png",
        "d/b.jpg": "d/b.png",
        "e/a.jpg": "e/a.png",
        "1.2.840": "1.2.840.png",
    }
    assert png_names(["a.jpg", "a.png", "a.jpg.png"])["a.jpg.png"] == "a.jpg.png.png"
    assert png_names(["a.jpg", "a.png/b.jpg"])["a.jpg"] == "a.jpg.png"


def test_a_name_that_comes_to_collide_leaves_no_orphan(copied):
    source, target = copied
    write(source / "a.tif", scan(5))
    run(source, target)
    assert {"a.png.png", "a.tif.png"} <= set(pngs(target))
    assert "a.png" not in pngs(target)


def test_links_that_leave_the_folder_are_not_followed(tmp_path):
    outside = write(tmp_path / "private" / "secret.png", scan(0))
    write(tmp_path / "in" / "a.png", scan(1))
    (tmp_path / "in" / "file.png").symlink_to(outside)
    (tmp_path / "in" / "folder").symlink_to(outside.parent)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "twin.png").symlink_to("a.png")
    result = run(tmp_path / "in", tmp_path / "out")
    assert set(pngs(tmp_path / "out")) == {"a.png", "twin.png"}
    assert result.outside_links == ("file.png", "folder")


def test_a_link_in_the_output_leads_no_result_outside(tmp_path):
    write(tmp_path / "in" / "sub" / "a.png", scan(1))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="which a link leads outside"):
        run(tmp_path / "in", tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_output_around_the_input_is_refused(tmp_path):
    original = write(tmp_path / "in" / "a.png", scan(0)).read_bytes()
    for target in (tmp_path, tmp_path / "in"):
        with pytest.raises(ConfigurationError, match="does not contain the input"):
            run(tmp_path / "in", target)
    run(tmp_path / "in", tmp_path / "in" / "out")
    assert len(run(tmp_path / "in", tmp_path / "in" / "out").rows) == 1
    assert (tmp_path / "in" / "a.png").read_bytes() == original


def test_files_of_unknown_origin_are_not_overwritten(tmp_path):
    write(tmp_path / "in" / "a.png", scan(0))
    precious = write(tmp_path / "out" / "a.png", scan(1)).read_bytes()
    with pytest.raises(ConfigurationError, match="of unknown origin"):
        run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "a.png").read_bytes() == precious


def test_what_holds_no_scans_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(DatasetError, match="with none"):
        run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(DatasetError, match="no such folder"):
        run(tmp_path / "absent", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_of_masks_and_of_scans_that_look_like_one() -> None:
    for mask in ("a_Mask.jpg", "a_MASK2.jpg", "Mask_a.jpg", "a_mask.png", "a_mask_1.png", "A_mask.TIF"):
        found = masks_by_scan(["d/a.jpg", "d/a.tif", f"d/{mask}"])
        assert found == {"d/a.jpg": [f"d/{mask}"], "d/a.tif": [f"d/{mask}"]}
    others = ["d/b_mask.jpg", "e/a_mask.jpg", "d/a_masked.jpg", "d/amask.jpg", "d/unmask_a.jpg", "d/_mask.jpg"]
    assert masks_by_scan(["d/a.jpg", *others, "d/mask_..jpg"]) == {}


def test_masks_and_other_files_are_listed_apart(tmp_path):
    names = ["1.2.840_mask.png", "C_1.LEFT_CC.jpg", "C_1.LEFT_CC_MASK2.jpg", "C_1.LEFT_CC_Mask.jpg", "lone_mask.jpg"]
    for name in (*names, "notes.txt"):
        (tmp_path / name).write_text("x")
    found = list_scans(tmp_path, tmp_path / "out")
    assert list(found.outputs) == ["1.2.840_mask.png", "C_1.LEFT_CC.jpg", "lone_mask.jpg"]
    assert found.lesion_masks == ("C_1.LEFT_CC_MASK2.jpg", "C_1.LEFT_CC_Mask.jpg")
    assert [str(path) for path in found.others] == ["notes.txt"]


def test_the_31_masks_of_the_real_folder_are_no_scans(real_data):
    """One of them, named Mask_…, stands in no table."""
    found = list_scans((real_data / "mini-ddsm").resolve(), Path("nowhere").resolve())
    assert (len(found.outputs), len(found.lesion_masks)) == (72, 31)
