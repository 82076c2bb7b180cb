"""The formats of exported models: what each needs, where it is written, and what it may replace."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.serving.card import REQUIRED
from mmdc_tf.serving.model_place import CARD, MODEL


@dataclass(frozen=True)
class ExportFormat:
    """A format.

    Args:
        name: as on the command line.
        title: as its makers write it.
        suffix: of the file; "" where it is a folder.
        packages: beyond those that are always there; imported by the same name.
    """

    name: str
    title: str
    suffix: str
    packages: tuple[str, ...]


FORMATS = {
    form.name: form
    for form in (
        ExportFormat("saved_model", "TensorFlow's SavedModel", "", ()),
        ExportFormat("onnx", "ONNX", ".onnx", ("onnx", "onnxruntime", "tf2onnx")),
        ExportFormat("tflite", "TFLite", ".tflite", ("ai_edge_litert",)),
    )
}
SAVED_MODEL = "saved_model.pb"
FOLDER_CONTENT = {SAVED_MODEL, "fingerprint.pb", "variables", "assets", "assets.extra", CARD}


def require_possible(form: ExportFormat, quantise: bool) -> None:
    """Looks for what the format needs, without importing it.

    Raises:
        ConfigurationError: something is not installed, or the format has no quantised form here.
    """
    if quantise and not form.suffix:
        raise ConfigurationError(
            f"Expected --format onnx or tflite with --quantize. Received: format={form.name}, which TensorFlow runs in "
            "float32. Choose one of them, or leave --quantize out."
        )
    missing = [name for name in form.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Expected {', '.join(form.packages)} for --format {form.name}. Received: no {', '.join(missing)}. "
            "Install them: pip install 'mmdc_tf[export]'."
        )


def default_place(model: Path, form: ExportFormat, quantise: bool) -> Path:
    """Beside the model: ``model.onnx``, ``model-int8.tflite``, ``saved_model/``."""
    if not form.suffix:
        return model.with_name(form.name)
    return model.with_name(f"{model.stem}{'-int8' if quantise else ''}{form.suffix}")


def card_place(place: Path, form: ExportFormat) -> Path:
    """Where the card goes: inside a folder as ``model.json``, beside a file under the file's name."""
    return place.with_suffix(".json") if form.suffix else place / CARD


def require_place(place: Path, form: ExportFormat, card: Path) -> None:
    """Checks that nothing but an earlier export of the same format would be replaced.

    Args:
        place: where the model is to be written.
        form: as what.
        card: the model's own, which may lie where its copy would.

    Raises:
        ConfigurationError: the name is of another kind of file, or something else is there.
    """
    if form.suffix and place.suffix.lower() != form.suffix:
        raise _unfit(place, f"a file that ends in {form.suffix}", "it does not")
    if not (_is_new_file(place) if form.suffix else _is_new_folder(place)):
        raise _unfit(place, f"a new place, or an earlier export as {form.name}", "something else is there")
    copy = card_place(place, form)
    if form.suffix and copy.exists() and not _replaceable(copy, card):
        raise _unfit(place, f"a place beside which {copy.name} is free for the card", "another file has that name")


def _is_new_file(place: Path) -> bool:
    return place.is_file() or not place.exists()


def _is_new_folder(place: Path) -> bool:
    """Whether it is absent, empty, or a SavedModel and nothing else."""
    if not place.exists():
        return True
    if not place.is_dir():
        return False
    content = {path.name for path in place.iterdir()}
    return not content or (SAVED_MODEL in content and content <= FOLDER_CONTENT)


def _replaceable(copy: Path, card: Path) -> bool:
    """Whether it is the same card, or an older one of an export; not that of another ``model.keras`` beside it."""
    if copy.is_file() and copy.read_bytes() == card.read_bytes():
        return True
    return _is_card(copy) and not (copy.name == CARD and copy.with_name(MODEL).exists())


def _is_card(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and all(name in content for name in REQUIRED)


def _unfit(place: Path, expected: str, received: str) -> ConfigurationError:
    return ConfigurationError(f"Expected {expected}. Received: output={place} ({received}). Choose another --output.")
