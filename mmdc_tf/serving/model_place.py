"""Where a saved model lies; importing this costs nothing, so that a wrong place is named at once."""

from __future__ import annotations

from pathlib import Path

from mmdc_tf.errors import ConfigurationError, did_you_mean_path

MODEL, CARD = "model.keras", "model.json"
DEEPEST = 5
"""Folders from ``runs`` or a run's folder down to a training's, at most."""


def model_file(path: str | Path) -> Path:
    """The saved model: the file itself, or ``model.keras`` in a training's folder.

    Raises:
        ConfigurationError: there is no such file; names a training's folder below the one given, or one that is
            written alike.
    """
    given = Path(path).expanduser()
    file = given / MODEL if given.is_dir() else given
    if file.is_file():
        return file
    below = (place for depth in range(1, DEEPEST + 1) for place in given.glob("*/" * depth + MODEL))
    example = next(below, None)
    if example is not None:
        state, advice = "a folder of trainings", f"Give a training's folder, for example {example.parent}."
    else:
        state = f"no {MODEL} in it or below" if given.is_dir() else "no such file"
        wrote = "Name what mmdc-tf run wrote, such as RUN/TABLE/ROW/PROTOCOL/fold0-seed0."
        advice = did_you_mean_path(given, wrote)
    raise ConfigurationError(
        f"Expected a saved model: a .keras file, or a training's folder with {MODEL}. Received: model={given} "
        f"({state}). {advice}"
    )
