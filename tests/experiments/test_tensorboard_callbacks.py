"""What TensorBoard is told during a training: it changes no number, and shows the network as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from event_files import events, images, values
from small_run import CELLS, NUMBERS, PLAIN, execute, folder_of, make_plan

from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.experiments import tensorboard_heatmaps
from mmdc_tf.experiments.grid import Plan
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.tensorboard_heatmaps import (
    BY_EPOCH,
    KEPT,
    HeatmapsByEpoch,
    choose,
    fixed_images,
    heatmap_figure,
)
from mmdc_tf.explain.drawing import pixels
from mmdc_tf.explain.gradcam import grad_cam_layer
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.models import ModelSettings, build_model
from mmdc_tf.models.registry import MODELS, ModelEntry
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import load_profile

NUMBERS_OF = ("history.csv", "predictions.csv", "validation_predictions.csv", "predictions-metadata.csv")
ONE_EPOCH = load_profile("quick", image_size=32, epochs=1, folds=2)
FOLDS = CELLS[1:]
FIRST = "leak-free/fold0-seed3"


@pytest.fixture
def full(memory, run, tmp_path_factory) -> Plan:
    """The folds of the same run with everything that TensorBoard can be told."""
    if "full" not in memory:
        output = tmp_path_factory.mktemp("full")
        memory["full"] = replace(run, output=output, tensorboard="full", protocols=("leak-free",))
        assert execute(memory["full"])[0] == 0
    return memory["full"]


@pytest.fixture
def one_cell(dataset, tiny_backbone, tmp_path) -> Plan:
    return make_plan(dataset, tmp_path, (PLAIN,), profile=ONE_EPOCH, protocols=("paper",), tensorboard="full")


def shown_in(plan: Plan, row: str = "fused", protocol: str = "leak-free") -> Path:
    """What TensorBoard reads as one run."""
    return plan.folder / row / protocol / "tb"


def validation_of(plan: Plan, cell: str) -> pd.DataFrame:
    split = Split.from_json((folder_of(plan, cell) / "split.json").read_text())
    return select(plan.dataset.table, split.validation)


def test_a_training_gives_the_same_bytes_with_and_without_it(run, full):
    for cell in FOLDS:
        for name in NUMBERS_OF:
            assert (folder_of(full, cell) / name).read_bytes() == (folder_of(run, cell) / name).read_bytes(), (
                cell,
                name,
            )
    assert (full.folder / "run.json").read_bytes() == (run.folder / "run.json").read_bytes()


def test_a_row_and_protocol_is_one_run_and_its_folds_are_tags(run, full):
    """Whose numbers are those of ``history.csv``; graph and heatmaps are of the first fold."""
    assert {path.parent for path in full.output.rglob("*tfevents*")} == {shown_in(full)}
    tags = {"loss": "training loss", "val_accuracy": "validation accuracy", "learning_rate": "training learning rate"}
    for fold, cell in enumerate(FOLDS, start=1):
        for column, tag in tags.items():
            history = pd.read_csv(folder_of(full, cell) / "history.csv")
            shown = values(shown_in(full), f"{tag}/fold {fold} seed 3")
            assert [step for step, _ in shown] == history["epoch"].tolist()
            np.testing.assert_allclose([value for _, value in shown], history[column], rtol=1e-5)
    assert events(shown_in(full)).Tags()["graph"]
    assert [step for step, _ in images(shown_in(full), KEPT)] == [2]
    assert not events(shown_in(run)).Tags()["graph"]


@pytest.fixture
def watched(dataset, tiny_backbone, tmp_path):
    """A network that is not trained, watched by the callback; ``watched.said`` is what it said."""
    model = build_model("backbone_classifier", ModelSettings(32), backbone="tiny")
    settings = InputSettings("paper", 32, 8, dataset.info.class_names, ("image",))
    said: list[str] = []
    writer = tf.summary.create_file_writer(str(tmp_path))
    callback = HeatmapsByEpoch(model, fixed_images(dataset.table, settings), writer, "", said.append)
    callback.said = said
    return callback


def go_through(callback: HeatmapsByEpoch, epochs: int) -> None:
    for epoch in range(epochs):
        callback.on_epoch_end(epoch)
    callback.on_train_end()


def test_heatmaps_come_at_powers_of_two_and_at_the_end(watched, tmp_path):
    go_through(watched, 5)
    assert [step for step, _ in images(tmp_path, BY_EPOCH)] == [1, 2, 4]
    assert [step for step, _ in images(tmp_path, KEPT)] == [5]
    assert watched.said == []


def test_a_full_disk_ends_the_pictures_and_is_said_once(watched, monkeypatch):
    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(tensorboard_heatmaps, "grad_cam", full_disk)
    go_through(watched, 4)
    assert len(watched.said) == 1
    assert "OSError: No space left on device" in watched.said[0]


def test_a_mistake_in_the_program_is_not_swallowed(watched, monkeypatch):
    def mistake(*_):
        raise TypeError("not to be hidden")

    monkeypatch.setattr(tensorboard_heatmaps, "grad_cam", mistake)
    with pytest.raises(TypeError, match="not to be hidden"):
        watched.on_epoch_end(0)


def test_each_picture_is_of_the_network_at_its_time(full):
    """The last one is what the saved model gives; the first ones, of other weights, are not."""
    folder = folder_of(full, FIRST)
    model = keras.models.load_model(folder / "model.keras")
    settings = InputSettings("paper", 32, 8, full.dataset.info.class_names, ("image", "metadata"))
    shown = fixed_images(validation_of(full, FIRST), settings)
    ((_, kept),) = images(shown_in(full), KEPT)
    caption = (
        f"Fused. {tensorboard_heatmaps.MEANING} phantom: not a reproduction. Research use only, not a medical device."
    )
    title = "The weights that are kept, after 2 epochs"
    expected = pixels(heatmap_figure(model, shown, grad_cam_layer(model), title, caption))[..., ::-1]
    assert kept.shape == expected.shape
    assert (np.abs(kept.astype(int) - expected).max(axis=2) > 8).mean() < 0.001  # rounding of another summation
    first, second = (picture for _, picture in images(shown_in(full), BY_EPOCH))
    assert (np.abs(first.astype(int) - second).max(axis=2) > 8).mean() > 0.01


def test_a_tail_that_is_trained_on_features_is_shown_with_the_whole_network(dataset, tiny_backbone, tmp_path):
    profile = load_profile("quick", image_size=32, epochs=1, folds=2, feature_views=2)
    cache = CacheSettings(tmp_path / "features")
    changes = {"profile": profile, "cut": "tiny_pool1", "cache": cache, "protocols": ("paper",)}
    plans = [make_plan(dataset, tmp_path / kind, (PLAIN,), tensorboard=kind, **changes) for kind in ("curves", "full")]
    assert [execute(plan)[0] for plan in plans] == [0, 0]
    first, second = (plan.folder / "plain/paper/fold0-seed3" for plan in plans)
    shown = shown_in(plans[1], "plain", "paper")
    assert json.loads((second / "status.json").read_text())["frozen_features"] == "stored"
    assert (first / "predictions.csv").read_bytes() == (second / "predictions.csv").read_bytes()
    assert len(images(shown, BY_EPOCH)) == 1
    nodes = {node.name.split("/")[-1] for node in events(shown).Graph().node}
    assert {"image", "tiny_conv1", "probabilities"} <= nodes


def test_images_are_one_of_each_class_first_and_always_the_same():
    names, labels = ("f", "b", "e", "a", "d", "c"), ("normal", "normal", "benign", "benign", "benign", "cancer")
    table = pd.DataFrame({"sample_id": names, "label": labels})
    classes = ("benign", "cancer", "normal")
    assert choose(table, classes)["sample_id"].tolist() == ["a", "c", "b", "d"]
    assert choose(table.sample(frac=1, random_state=0), classes)["sample_id"].tolist() == ["a", "c", "b", "d"]
    assert choose(table[table["label"] == "cancer"], classes)["sample_id"].tolist() == ["c"]


def test_what_is_looked_at_is_what_the_network_is_given(dataset):
    """The second view too, which is another image of the table and not one of the four."""
    settings = InputSettings("paper", 32, 8, dataset.info.class_names, ("image", "other_view", "metadata"))
    shown = fixed_images(dataset.table, settings)
    chosen = choose(dataset.table, settings.class_names)
    everything = list(evaluation_dataset(dataset.table, settings).unbatch().as_numpy_iterator())
    given = dict(zip(dataset.table["sample_id"], everything, strict=True))
    for place, sample in enumerate(chosen["sample_id"]):
        inputs, label = given[sample]
        assert set(shown.inputs) == set(inputs)
        for name, value in inputs.items():
            np.testing.assert_array_equal(shown.inputs[name][place], value, err_msg=name)
        assert shown.truth[place] == label.argmax()
    assert not np.isnan(shown.inputs["other_view"]).all()


def test_a_network_without_a_feature_map_trains_and_one_line_says_so(one_cell, monkeypatch, capsys):
    def build(settings) -> keras.Model:
        image = keras.Input((settings.image_size, settings.image_size, 3), name="image")
        pooled = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(image))
        return keras.Model({"image": image}, keras.layers.Dense(settings.class_count, "softmax")(pooled))

    monkeypatch.setitem(MODELS, "flat", ModelEntry("flat", build, ("image",)))
    row = Row("flat", "Flat", "here", NUMBERS, model="flat")
    plan = replace(one_cell, rows=(row,), table=replace(one_cell.table, rows=(row,)))
    assert execute(plan)[0] == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "TensorBoard" in line]
    assert len(lines) == 1
    assert "TensorBoard does not show all of flat: ConfigurationError: Expected a model with a feature map" in lines[0]
    assert events(shown_in(plan, "flat", "paper")).Tags()["graph"]


def test_what_was_shown_of_a_row_goes_when_one_of_its_trainings_is_done_again(copied, monkeypatch):
    """Trials and curves of predictions that are no more would stay, where the run goes on without them.

    The other fold's curves stay: its run is the same.
    """

    def train(*_):
        raise RuntimeError("enough seen")

    monkeypatch.setattr("mmdc_tf.experiments.learners.train", train)
    for protocol in ("paper", "leak-free"):
        (shown_in(copied, protocol=protocol) / "events.tfevents.test").touch()
        (shown_in(copied, protocol=protocol) / "made_from.json").write_text("{}")
    before = {path.name for path in shown_in(copied).iterdir()}
    (folder_of(copied, CELLS[2]) / "status.json").unlink()
    execute(copied)
    assert (shown_in(copied, protocol="paper") / "made_from.json").is_file()
    left = before & {path.name for path in shown_in(copied).iterdir()}
    assert [name.rpartition(".")[2] for name in left] == ["fold0-seed3"]
    assert {path.suffix for path in shown_in(copied, protocol="paper").iterdir()} > {".fold0-seed3", ".test"}
