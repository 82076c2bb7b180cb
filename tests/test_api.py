"""The package in Python: what the docstrings show, and what a user of Keras would try first."""

from __future__ import annotations

import doctest
import subprocess
import sys

import numpy as np
import pytest

import mmdc_tf
from mmdc_tf.cli import main, parser
from mmdc_tf.errors import ConfigurationError, InputError


@pytest.mark.parametrize(
    "name",
    ["load_dataset", "models.BCDNet", "models.MMDCNet", "models.build"],
    ids=lambda name: name.rpartition(".")[2],
)
def test_the_example_of_each_docstring(name, busi):
    place = mmdc_tf
    for word in name.split("."):
        place = getattr(place, word)
    (example,) = doctest.DocTestFinder(recurse=False).find(place, globs={"root": busi})
    assert example.examples
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0


def test_parts_are_disjoint_and_print_as_counts(busi):
    data = mmdc_tf.load_dataset("busi", busi)
    parts = data.split("leak-free", fold=1, folds=3)
    groups = [set(part.table["group_id"]) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == len(data.table) == 18
    assert ": 18 images, 18 near-twin clusters" in repr(data)
    assert "benign: 6" in repr(data)
    assert "test: 6 images (2 benign, 2 malignant, 2 normal)" in repr(parts[2])
    with pytest.raises(ConfigurationError, match="from 0 to 2"):
        data.split("leak-free", fold=3, folds=3)


def test_batches_and_predictions_are_in_the_order_of_the_table(busi, tiny_backbone):
    _, _, test = mmdc_tf.load_dataset("busi", busi).split(folds=3)
    images, labels = next(iter(test.to_tf(image_size=32, batch_size=4)))
    assert list(images) == ["image"]  # BUSI knows no age and no density
    assert images["image"].shape == (4, 32, 32, 3)
    names = np.array(["benign", "malignant", "normal"])
    assert list(names[labels.numpy().argmax(axis=1)]) == list(test.table["label"][:4])
    model = mmdc_tf.models.BCDNet(tiny_backbone, image_size=32)
    predictions = test.predict(model)
    assert list(predictions["sample_id"]) == list(test.table["sample_id"])
    expected = model.predict(np.stack([one["image"].numpy() for one, _ in test.to_tf(32).unbatch()]), verbose=0)
    np.testing.assert_allclose(predictions[["p_benign", "p_malignant", "p_normal"]], expected, atol=1e-6)
    scores = test.score(model)
    right = (predictions["y_true"] == predictions["y_pred"]).mean()
    assert scores.loc["accuracy", "value"] == pytest.approx(right)
    assert (scores["low"] <= scores["value"]).all()


def test_mmdcnet_is_standardised_by_the_metadata_that_it_is_given(tiny_backbone):
    metadata = np.array([[40.0, 1.0], [60.0, 3.0]])
    layer = mmdc_tf.models.MMDCNet(tiny_backbone, image_size=32, metadata=metadata).get_layer("metadata_embedding")
    given = {variable.name: np.asarray(variable).ravel() for variable in layer.non_trainable_variables}
    assert sorted(np.concatenate(list(given.values())).round(3))[:2] == [1.0, 2.0]  # density: deviation and mean
    assert 50.0 in np.concatenate(list(given.values()))


def test_an_unknown_row_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="uzen_vgg16"):
        mmdc_tf.models.build("uzen_vgg61")


def test_the_public_names_are_shown_and_cost_no_tensorflow():
    code = "import mmdc_tf, sys; print(*dir(mmdc_tf)); assert not {'keras', 'tensorflow', 'pandas'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {"load_dataset", "load_predictor", "models", "layers", "evaluation"} <= set(done.stdout.split())


def test_python_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "mmdc_tf", "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"mmdc-tf {mmdc_tf.__version__}"


def test_the_command_alone_prints_help(capsys):
    assert main([]) == 0
    assert "evaluate" in capsys.readouterr().out


def test_own_data_need_no_table(busi, tmp_path, capsys):
    """The rows are those of the modality's table; the folder is named after the data, the size and the epochs."""
    options = ["--dataset-root", str(busi), "--rows", "hog_svm", "--folds", "2", "--output", str(tmp_path)]
    assert main(["run", *options]) == 0
    assert "Table I: performance on BUSI" in capsys.readouterr().out
    assert (tmp_path / "table1.csv").is_file()


def test_the_default_folder_names_the_data_the_size_and_the_epochs():
    from mmdc_tf.commands.run import _run_name

    def name(dataset: str, *words: str) -> str:
        return _run_name(dataset, parser().parse_args(["run", "--profile", "full", *words]))

    assert name("busi") == "busi-full"
    assert name("busi", "--image-size", "64") == "busi-full-64px"
    assert name("busi", "--image-size", "64", "--epochs", "1") == "busi-full-64px-1epoch"
    assert name("folder", "--dataset-root", "/data/my-hospital", "--epochs", "12") == "my-hospital-full-12epochs"


def test_with_pretrained_weights_batch_norm_stays_in_inference_mode(real_data):
    weights = real_data.parent / "weights"
    if not weights.is_dir():
        pytest.skip("no ImageNet weights beside the real data")
    model = mmdc_tf.models.BCDNet("mobilenet", weights=weights, image_size=64)
    assert not model.get_layer("conv_pw_13_bn").trainable
    assert model.get_layer("conv_pw_13").trainable
    assert mmdc_tf.models.BCDNet("mobilenet", image_size=64).get_layer("conv_pw_13_bn").trainable
