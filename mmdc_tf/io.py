"""Files and folders written to a temporary name and renamed, so that none is ever half-written; JSON, CSV and HTML."""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

PREFIX = ".mmdc-tf-"
"""What names of temporary files and folders begin with."""
DISK = frozenset(
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ENODEV", "ESTALE", "ENOTCONN")
)
"""Errors of the system that are the disk's: no other work on it can succeed."""


def is_disk_error(error: BaseException) -> bool:
    """Whether it says that a disk is full, read-only, broken or gone."""
    return isinstance(error, OSError) and error.errno in DISK


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a temporary path beside ``path`` and renames the result; the folder is made where absent.

    Raises:
        OSError: the folder cannot be made or written to; it names ``path``.
    """
    # short, since the file's own name may be as long as allowed; with its suffix, which says how it is written; random,
    # since on a shared disk processes of two machines may have one number
    temporary = path.with_name(f"{PREFIX}{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):  # of a disk that is gone; it would hide the reason
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A new folder to write into, renamed to ``path`` at the end; a folder that was there is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=path.parent) as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        yield new
        if path.exists():
            path.rename(Path(scratch, "old"))
        new.rename(path)


def clear_leftovers(folders: Iterable[Path]) -> None:
    """Removes what killed processes have left of files that they were writing; nobody else may write there now."""
    for folder in folders:
        for entry in folder.glob(f"{PREFIX}*"):
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)


def write_table(path: Path, table: pd.DataFrame, **options: Any) -> None:
    """Writes a table as CSV without its index; ``options`` are those of ``pandas.DataFrame.to_csv``."""
    write_with(path, lambda temporary: table.to_csv(temporary, index=False, **options))


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text."""
    write_with(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON that people can read."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The content, or None where the file is absent.

    Raises:
        ConfigurationError: the file is not JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"Expected a JSON file. Received: {path} ({error}). Use --fresh to start over, or another --output."
        ) from error


def require_json(path: Path) -> dict[str, Any]:
    """The content of a file that a training writes.

    Raises:
        ConfigurationError: the file is not JSON.
        RuntimeError: it is absent.
    """
    content = read_json(path)
    if content is None:
        raise RuntimeError(f"Expected {path.name} in {path.parent}. Received: no such file. Train this row again.")
    return content


def require_writable(folder: Path) -> None:
    """Makes the folder.

    Raises:
        ConfigurationError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"Expected a folder that can be written to. Received: output={folder} ({error.strerror}). "
            "Choose another --output."
        ) from error


def page_templates(package: str, **filters: Callable[..., Any]) -> jinja2.Environment:
    """The templates of a package's folder ``templates``, with this package's ``page.css`` for them to include.

    They escape what goes into ``*.html.j2`` and raise on what is not defined; ``filters`` go by their names.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("mmdc_tf")]),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment


def picture_address(content: bytes, kind: str = "png") -> str:
    """A picture as a ``data:`` address, which needs no file beside the page; ``kind`` is "png" or "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
