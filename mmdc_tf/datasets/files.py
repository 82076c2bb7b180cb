"""What the readers share: folders, finding on disk what a table names, and naming what was passed over."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import pandas as pd

from mmdc_tf.datasets.images import IMAGE_SUFFIXES
from mmdc_tf.datasets.paths import PathFinder
from mmdc_tf.datasets.schema import NOTICE_FILE, PARAMETERS_FILE
from mmdc_tf.errors import DatasetError, did_you_mean_path


def require_folder(root: str | Path) -> Path:
    """Returns the folder as an absolute path.

    Raises:
        DatasetError: it is absent, not a folder, or empty, or its name is no text.
    """
    folder = Path(root).expanduser().resolve()
    if folder.is_dir() and any(folder.iterdir()):
        require_text(folder)
        return folder
    state = "an empty folder" if folder.is_dir() else "a file" if folder.exists() else "no such folder"
    raise DatasetError(
        f"Expected a folder with a dataset. Received: root={str(root)!r} ({state}). "
        + did_you_mean_path(folder, "Give the folder that holds the files (layouts: data/README.md).")
    )


def require_text(path: Path) -> None:
    """Refuses a path whose bytes are no UTF-8: no table, page or JSON file could name it.

    Raises:
        DatasetError: names it, with what is no text as escapes.
    """
    if _printable_bytes(str(path)) != str(path):
        raise DatasetError(
            f"Expected names of files and folders in UTF-8. Received: {_printable_bytes(str(path))}. Rename it."
        )


def _printable_bytes(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inner_folder(root: Path, name: str, is_it: Callable[[Path], bool]) -> Path:
    """Goes down to the folder of the files: archives unpack into folders of their own, at times one inside another.

    Args:
        root: where to begin.
        name: how the dataset's own folder begins, in any case; the only such sub-folder is always entered.
        is_it: whether a folder holds the files; one that does not is left for its only sub-folder.

    Returns:
        The folder that holds them, or ``root``. Links and names that start with a dot are passed by.
    """
    inner = sub_folders(root)
    named = [path for path in inner if path.name.casefold().startswith(name.casefold())]
    if len(named) == 1:
        return inner_folder(named[0], name, is_it)
    below = inner_folder(inner[0], name, is_it) if len(inner) == 1 and not is_it(root) else root
    return below if is_it(below) else root


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder but links, hidden ones and what macOS adds to archives, in order."""
    hidden = (".", "__MACOSX")
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(hidden))


def content_of(folder: Path) -> str:
    """What stands in a folder, for a message: its first sub-folders, and how many files of which kind."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [f"{path.name}/" for path in entries if path.is_dir()]
    files = [path.relative_to(folder) for path in entries if not path.is_dir()]
    more = [f"{len(folders) - 5:,} more folders"] if len(folders) > 5 else []
    named = [_printable_bytes(name) for name in folders[:5]]
    return ", ".join([*named, *more, *([f"files: {len(files):,} ({kinds(files)})"] if files else [])]) or "nothing"


def stays_inside(path: Path, root: Path) -> bool:
    """Whether what a path leads to, its links followed, lies in the folder; ``root`` is resolved."""
    return Path(os.path.realpath(path)).is_relative_to(root)  # Path.resolve raises on a circle


@dataclass(frozen=True)
class FileIndex:
    """The files below a folder.

    Args:
        files: those that may be read.
        finder: finds them by the names in a table.
        outside: links out of the folder, which are no files of it.
        idle: links to folders inside it, which are found there, and links that lead nowhere.
    """

    files: frozenset[Path]
    finder: PathFinder
    outside: tuple[Path, ...] = ()
    idle: tuple[Path, ...] = ()

    def find(self, relative: str) -> Path | None:
        """Returns the file that ``PathFinder.find`` finds, None where it is none of the folder."""
        found = self.finder.find(relative)
        return found if found in self.files else None


def index_files(root: Path) -> FileIndex:
    """Lists the files below the folder once; files whose name starts with a dot are left out.

    Links to files inside are followed, links to folders never; links that leave the folder are listed as such.
    """
    paths = sorted(path for path in root.rglob("*") if not path.name.startswith("."))
    outside = [path for path in paths if path.is_symlink() and not stays_inside(path, root)]
    others = set(paths) - set(outside)
    files = frozenset(path for path in others if path.is_file())
    idle = sorted(path for path in others - files if path.is_symlink())
    return FileIndex(files, PathFinder(root), tuple(outside), tuple(idle))


def links_notes(index: FileIndex) -> tuple[str, ...]:
    """Returns notes on links that were not followed. Those that leave the folder may lead to anybody's files."""
    kinds_of_links = {
        "links that leave the dataset's folder, not followed": index.outside,
        "links to its own folders, or to nothing, not followed": index.idle,
    }
    named = {kind: [p.relative_to(index.finder.base).as_posix() for p in ps] for kind, ps in kinds_of_links.items()}
    return tuple(f"{kind}: {len(names):,}, for example {_examples(names)}" for kind, names in named.items() if names)


def keep_found(table: pd.DataFrame, root: Path, index: FileIndex) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keeps the rows whose image is on disk, and says how many are not.

    Args:
        table: a sample table whose ``image_path`` and ``lesion_masks`` are relative to ``root``.
        root: the dataset's folder.
        index: its files.

    Returns:
        The rows with paths as on disk (lesion masks that are absent dropped), and notes.

    Raises:
        DatasetError: no image of the table is there.
    """
    found = [index.find(path) for path in table["image_path"]]
    links = links_notes(index)
    here = pd.Series([path is not None for path in found], index=table.index)
    absent = table.loc[~here, "image_path"]
    if not here.any():
        raise DatasetError(
            f"Expected the images that the table lists. Received: root={str(root)!r} with none of "
            f"{len(table):,}, for example {absent.iloc[0]!r}. Unpack the images there, or give another root."
            + "".join(f" ({note}.)" for note in links)
        )
    kept = table[here].assign(image_path=[str(path) for path in found if path is not None])
    masks = [[(mask, index.find(mask)) for mask in row] for row in kept["lesion_masks"]]
    lost = [mask for row in masks for mask, path in row if path is None]
    kept["lesion_masks"] = pd.Series([tuple(str(path) for _, path in row if path) for row in masks], kept.index, object)
    return kept.reset_index(drop=True), (*_absent_note(absent, table, root), *_lost_mask_note(lost), *links)


def _absent_note(absent: pd.Series, table: pd.DataFrame, root: Path) -> tuple[str, ...]:
    if absent.empty:
        return ()
    verb = "was" if len(absent) == 1 else "were"
    return (
        f"the table lists {len(table):,} images, {len(absent):,} {verb} not found under {root}, "
        f"for example {_examples(list(absent))}; going on with {len(table) - len(absent):,}",
    )


def _lost_mask_note(lost: list[str]) -> tuple[str, ...]:
    if not lost:
        return ()
    return (f"lesion masks that the table names and that were not found: {len(lost):,}, for example {_examples(lost)}",)


def _examples(names: list[str]) -> str:
    return ", ".join(map(_printable_bytes, names[:3]))


def unlisted_notes(table: pd.DataFrame, source: Path, root: Path, index: FileIndex) -> tuple[str, ...]:
    """Returns notes on the image files that no row names, and on all other files that were not used.

    Args:
        table: a sample table with paths as on disk.
        source: the file that it was read from.
        root: the dataset's folder.
        index: its files.
    """
    named = {source, *map(Path, table["image_path"]), *(Path(mask) for row in table["lesion_masks"] for mask in row)}
    unused = sorted(index.files - named)
    images = [path for path in unused if path.suffix.lower() in IMAGE_SUFFIXES and "mask" not in path.stem.lower()]
    others = passed_over_note(sorted(set(unused) - set(images)), root)
    if not images:
        return others
    names = [path.relative_to(root).as_posix() for path in images]
    return (f"image files that no row of the table names: {len(images):,}, for example {_examples(names)}", *others)


def passed_over_note(paths: Iterable[Path], root: Path) -> tuple[str, ...]:
    """Returns a note on files that a reader did not use, but those that say that a folder is a phantom."""
    passed = [path for path in paths if path.name not in (NOTICE_FILE, PARAMETERS_FILE)]
    if not passed:
        return ()
    return (f"files passed over: {len(passed):,} ({kinds(path.relative_to(root) for path in passed)})",)


def kinds(paths: Iterable[PurePath]) -> str:
    """How many paths there are of each suffix, the most frequent first, each with an example."""
    by_kind = defaultdict(list)
    for path in paths:
        by_kind[path.suffix.lower() or "no suffix"].append(path.as_posix())
    ordered = sorted(by_kind.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    parts = [f"{kind}: {len(names):,}, for example {_printable_bytes(names[0])}" for kind, names in ordered[:8]]
    more = [f"other kinds: {sum(len(names) for _, names in ordered[8:]):,}"] if len(ordered) > 8 else []
    return "; ".join(parts + more)
