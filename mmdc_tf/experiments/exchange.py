"""A folder or object store that all nodes of a cluster reach, through which the files of trainings come back."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdc_tf.errors import ConfigurationError, kind_and_line
from mmdc_tf.experiments.run_folder import OK
from mmdc_tf.io import PREFIX
from mmdc_tf.training.feature_store import FACTS

CONFIG, STATUS = "config.json", "status.json"
FEATURES = "features"


@dataclass(frozen=True)
class Exchange:
    """Files under a URL, by way of ``fsspec``; what is sent stays there.

    Args:
        url: ``"s3://bucket/folder"``, ``"gs://…"`` or any other that ``fsspec`` opens, or a folder's path.
    """

    url: str

    def require_usable(self) -> None:
        """Writes a small file and reads it.

        Raises:
            ConfigurationError: that fails.
        """
        try:
            files, root = _opened(self.url)
            probe = f"{root}/.mmdc-tf-probe"
            files.makedirs(root, exist_ok=True)
            files.pipe_file(probe, b"1")
            files.rm_file(probe)
        except Exception as error:  # each file system has its own
            raise ConfigurationError(
                f"Expected a folder or object store that can be written to. Received: exchange={self.url} "
                f"({kind_and_line(error, 300)}). Correct it, or its credentials."
            ) from error

    def has_finished(self, place: str, config: dict[str, Any]) -> bool:
        """Whether a training of this configuration lies there, finished."""
        same = self._json(f"{place}/{CONFIG}") == json.loads(json.dumps(config))
        return same and (self._json(f"{place}/{STATUS}") or {}).get("status") == OK

    def send(self, folder: Path, place: str) -> None:
        """Copies a folder's files there, the status last: with it they count as whole.

        Args:
            folder: of one training.
            place: relative, with forward slashes.
        """
        self._send(folder, place, STATUS)

    def fetch(self, place: str, folder: Path) -> None:
        """Copies a training's files into its folder, the status last.

        Raises:
            OSError: they are not there, or the folder cannot be written to.
        """
        files, root = _opened(self.url)
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=_made(folder.parent)) as scratch:
            new = Path(scratch, "new")
            files.get(f"{root}/{place}/", f"{new}/", recursive=True)
            for path in sorted(
                (path for path in new.rglob("*") if path.is_file()), key=lambda path: path.name == STATUS
            ):
                target = folder / path.relative_to(new)
                _made(target.parent)
                path.replace(target)

    def fetch_features(self, folder: Path) -> None:
        """Copies an entry of the feature cache here, where it is there and not yet here.

        Args:
            folder: the entry's, in the cache.
        """
        files, root = _opened(self.url)
        place = f"{root}/{FEATURES}/{folder.name}"
        if (folder / FACTS).is_file() or not files.exists(f"{place}/{FACTS}"):
            return
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=_made(folder.parent)) as scratch:
            new = Path(scratch, "new")
            files.get(f"{place}/", f"{new}/", recursive=True)
            if not folder.exists():
                shutil.move(new, folder)

    def send_features(self, folder: Path) -> None:
        """Copies a filled entry of the feature cache there, its facts last, where it is not there yet."""
        files, root = _opened(self.url)
        if not files.exists(f"{root}/{FEATURES}/{folder.name}/{FACTS}"):
            self._send(folder, f"{FEATURES}/{folder.name}", FACTS, ("*.bin", FACTS))

    def _send(self, folder: Path, place: str, last: str, patterns: tuple[str, ...] = ("**/*",)) -> None:
        files, root = _opened(self.url)
        for path in _last(last, {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
            target = f"{root}/{place}/{path.relative_to(folder).as_posix()}"
            files.makedirs(target.rpartition("/")[0], exist_ok=True)
            files.put_file(str(path), target)

    def _json(self, place: str) -> dict[str, Any] | None:
        files, root = _opened(self.url)
        try:
            return json.loads(files.cat_file(f"{root}/{place}"))
        except FileNotFoundError:
            return None


def _opened(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise ConfigurationError(
            "Expected fsspec for --exchange. Received: it is not installed. "
            'Install it on all nodes: pip install "mmdc-tf[ray]".'
        ) from error
    files, root = fsspec.url_to_fs(url)
    return files, root.rstrip("/")


def _last(name: str, paths: Iterable[Path]) -> list[Path]:
    """In order, but a file of this name last."""
    return sorted(paths, key=lambda path: (path.name == name, path))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
