"""Uploads of the page: a file is there as long as a page holds it, and what is over a limit is not stored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from mmdc_tf.serving.demo_uploads import MEGABYTE, UploadLimits, Uploads


def uploaded(folder: Path, name: str, content: bytes = b"scan") -> str:
    """A file as Gradio stores it, in a folder named after its content."""
    path = folder / f"hash-of-{content.decode()}" / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return str(path)


def test_files_of_a_closed_page_are_deleted(tmp_path: Path):
    uploads, path = Uploads(tmp_path), uploaded(tmp_path, "a.png")
    uploads.add("page", [path])
    assert Path(path).exists()
    uploads.release("page")
    assert not Path(path).exists()


def test_files_that_a_page_puts_aside_are_deleted(tmp_path: Path):
    uploads = Uploads(tmp_path)
    first, second = uploaded(tmp_path, "a.png", b"1"), uploaded(tmp_path, "b.png", b"2")
    uploads.add("page", [first])
    uploads.add("page", [second])
    uploads.replace("page", [second])
    assert not Path(first).exists() and Path(second).exists()
    uploads.replace("page", [])
    assert not Path(second).exists()


def test_a_file_of_two_pages_stays_until_both_are_closed(tmp_path: Path):
    uploads, path = Uploads(tmp_path), uploaded(tmp_path, "a.png")
    for page in ("one", "two"):
        uploads.add(page, [path])
    uploads.release("one")
    assert Path(path).exists()
    uploads.release("two")
    assert not Path(path).exists()


def test_a_file_that_another_page_has_just_uploaded_again_stays(tmp_path: Path):
    """The same content has the same place, and the other page has not said yet that it holds it."""
    uploads, path = Uploads(tmp_path), uploaded(tmp_path, "a.png")
    uploads.add("one", [path])
    uploaded(tmp_path, "a.png")
    uploads.release("one")
    assert Path(path).exists()


def test_nothing_outside_the_folder_is_deleted(tmp_path: Path):
    (tmp_path / "in").mkdir()
    other = tmp_path / "precious"
    other.write_text("x")
    (tmp_path / "in" / "link").symlink_to(other)
    uploads = Uploads(tmp_path / "in")
    uploads.add("page", [str(other), str(tmp_path / "in" / ".." / "precious"), str(tmp_path / "in" / "link"), "gone"])
    uploads.release("page")
    assert other.exists()


class Server:
    """Limits around an application that stores what it is sent, and leaves a piece of each upload behind."""

    def __init__(self, folder: Path) -> None:
        self.taken: list[int] = []
        self._folder = folder
        self._app = UploadLimits(self._store, folder, largest=2, room=5)

    async def _store(self, scope, receive, send) -> None:
        body = await Request(scope, receive).body()
        self.taken.append(len(body))
        (self._folder / "tmpabc").write_bytes(body)
        await PlainTextResponse("stored")(scope, receive, send)

    async def _send(self, path: str, **content) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(path, **content)

    def post(self, path: str = "/gradio_api/upload", **content) -> httpx.Response:
        return asyncio.run(self._send(path, **content))


def test_uploads_within_the_limits_are_taken_and_leave_no_pieces(tmp_path: Path):
    server = Server(tmp_path)
    assert server.post(content=b"x" * MEGABYTE).text == "stored"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"x" * (2 * MEGABYTE + 1), 413, "Expected at most 2 MB in one upload. Received: 3 MB."),
        (iter([b"x"]), 411, "Expected an upload that says its length."),
    ],
)
def test_an_upload_over_a_limit_is_not_stored(tmp_path: Path, content, code: int, words: str):
    server = Server(tmp_path)
    if not isinstance(content, bytes):

        async def parts():
            yield b"x"

        content = parts()
    answer = server.post(content=content)
    assert answer.status_code == code and words in answer.text
    assert server.taken == []


def test_an_answer_in_the_middle_of_an_upload_is_sent_at_its_end(tmp_path: Path):
    """As Gradio answers a file that is too large; a client that is still sending would see a broken connection."""
    read: list[bytes] = []

    async def refuse(scope, receive, send) -> None:
        await receive()
        await PlainTextResponse("too large", 413)(scope, receive, send)

    async def send(message) -> None:
        read.append(b"answered")

    async def receive():
        read.append(b"part")
        return {"type": "http.request", "body": b"x", "more_body": len(read) < 3}

    scope = {"type": "http", "method": "POST", "path": "/upload", "headers": [(b"content-length", b"3")]}
    asyncio.run(UploadLimits(refuse, tmp_path, 2, 5)(scope, receive, send))
    assert read[:4] == [b"part", b"part", b"part", b"answered"]


def test_where_there_is_no_room_an_upload_is_refused_and_taken_once_there_is(tmp_path: Path):
    """Small files count as one megabyte each, so that their number is bounded too."""
    server = Server(tmp_path)
    held = [Path(uploaded(tmp_path, f"{number}.png", str(number).encode())) for number in range(4)]
    assert server.post(content=b"x" * MEGABYTE).status_code == 200
    answer = server.post(content=b"x" * (MEGABYTE + 1))
    assert answer.status_code == 507
    assert "more than the 5 MB that the page holds for all visitors" in answer.text
    held[0].unlink()
    assert server.post(content=b"x" * (MEGABYTE + 1)).status_code == 200


def test_other_requests_are_passed_on(tmp_path: Path):
    server = Server(tmp_path)
    assert server.post("/gradio_api/queue/join", content=b"x" * 3 * MEGABYTE).text == "stored"
