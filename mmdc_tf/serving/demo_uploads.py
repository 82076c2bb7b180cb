"""The files that visitors of the page upload: how many there may be, and when they are deleted."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEGABYTE = 2**20
UNFINISHED = "tmp*"
"""Files of uploads that are not finished, and empty ones that Gradio makes on the way, at the top of its folder."""


class Uploads:
    """Which open page holds which files; a file that no page holds any more is deleted.

    The same content has the same place for all pages, so that two may hold one file.

    Args:
        folder: of all uploads; nothing outside is deleted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._lock = threading.Lock()
        self._held: dict[str, dict[Path, int]] = {}

    def add(self, page: str, files: Iterable[str]) -> None:
        """These files too belong to a page, which is known by its session."""
        with self._lock:
            self._held.setdefault(page, {}).update(self._known(files))

    def replace(self, page: str, files: Iterable[str]) -> None:
        """A page has these files now, and no others."""
        with self._lock:
            before, now = self._held.get(page, {}), self._known(files)
            self._held[page] = now
            self._delete({path: made for path, made in before.items() if path not in now})

    def release(self, page: str) -> None:
        """A page is closed."""
        with self._lock:
            self._delete(self._held.pop(page, {}))

    def _known(self, files: Iterable[str]) -> dict[Path, int]:
        """Each file of the folder with the time of its last change."""
        inside = (path for path in map(Path, files) if path.is_file() and path.resolve().is_relative_to(self._folder))
        return {path: path.stat().st_ctime_ns for path in inside}

    def _delete(self, files: dict[Path, int]) -> None:
        held = {path for pages in self._held.values() for path in pages}
        for path, made in files.items():
            # one that was uploaded again since then is another page's, which may not have said so yet
            with contextlib.suppress(OSError):
                if path not in held and path.stat().st_ctime_ns == made:
                    path.unlink()  # its folder stays: another upload of the same content may be on its way into it


class UploadLimits:
    """Refuses uploads over a limit before they are stored, and deletes what is left of broken ones.

    Args:
        app: that takes the uploads.
        folder: where it stores them.
        largest: megabytes of one request.
        room: megabytes of all files in the folder; each counts as one at least.
    """

    def __init__(self, app: ASGIApp, folder: Path, largest: int, room: int) -> None:
        self._app, self._folder = app, folder
        self._largest, self._room = largest, room
        self._coming: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks an application."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].endswith("/upload"):
            await self._app(scope, receive, send)
            return
        length = _length(scope)
        refusal = self._refusal(length)
        if refusal is not None:
            if (length or 0) <= self._largest * MEGABYTE:
                await _Body(receive).drain()
            await refusal(scope, receive, send)
            return
        await self._taken(length or 0, scope, receive, send)

    async def _taken(self, length: int, scope: Scope, receive: Receive, send: Send) -> None:
        self._coming.append(length)
        body = _Body(receive)

        async def send_at_the_end(message: Message) -> None:
            await body.drain()
            await send(message)

        try:
            await self._app(scope, body.receive, send_at_the_end)
        finally:
            self._coming.remove(length)
            if not self._coming:
                for path in self._folder.glob(UNFINISHED):
                    with contextlib.suppress(OSError):  # folders stay
                        path.unlink()

    def _refusal(self, length: int | None) -> PlainTextResponse | None:
        if length is None:
            return PlainTextResponse("Expected an upload that says its length. Received: none.", 411)
        if length > self._largest * MEGABYTE:
            return PlainTextResponse(
                f"Expected at most {self._largest:,} MB in one upload. Received: {-(-length // MEGABYTE):,} MB. "
                "Upload fewer files at once.",
                413,
            )
        if sum(self._coming) + length + self._used() > self._room * MEGABYTE:
            return PlainTextResponse(
                f"Expected room for this upload. Received: more than the {self._room:,} MB that the page holds for all "
                "visitors. Clear scans that are not needed, or close other pages.",
                507,
            )
        return None

    def _used(self) -> int:
        used = 0
        for folder, _, names in os.walk(self._folder):  # which passes over what is deleted meanwhile
            for path in (Path(folder, name) for name in names if folder != str(self._folder)):
                with contextlib.suppress(OSError):
                    used += max(path.stat().st_size, MEGABYTE)
        return used


def _length(scope: Scope) -> int | None:
    text = dict(scope["headers"]).get(b"content-length", b"")
    return int(text) if text.isdigit() else None


class _Body:
    """A request's body, all of which is read before it is answered: a browser listens to no answer before that."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = not message.get("more_body")
        return message

    async def drain(self) -> None:
        while not self._ended:
            await self.receive()
