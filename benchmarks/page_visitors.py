"""Visitors of ``mmdc-tf demo``, who do what the page in a browser does, without one: for its load."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from mmdc_tf.datasets.opencv import cv2

API = "gradio_api"
PATIENCE = 120
"""Seconds until a request that is not answered counts as failed."""
LARGEST = 50 * 2**20
PAUSE = 0.5
"""Seconds that a visitor waits after a refusal."""
REFUSALS = {
    411: "no length",
    413: "too large",
    503: "the queue is full",
    507: "no room for uploads",
}
ANSWER, PROBLEM = "data-class=", "Expected a PNG"


@dataclass
class Found:
    """What became of the requests.

    Args:
        answers: kind of request to how many were answered as they should be.
        refusals: why, to how many were refused over a limit, with the words of the refusal.
        failures: what else happened, to how often.
        seconds: kind of request to how long each took.
    """

    answers: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class Refused(Exception):
    """A request over a limit."""


class Failed(Exception):
    """A request that was neither answered nor refused."""


class Visitor:
    """One open page.

    Args:
        client: its connections.
        found: to be told.
    """

    def __init__(self, client: httpx.AsyncClient, found: Found) -> None:
        self._client, self._found = client, found
        self._session = secrets.token_hex(6)
        self._events: dict[str, tuple[int, list[str]]] = {}

    @contextlib.asynccontextmanager
    async def page(self) -> AsyncIterator[None]:
        """Opens the page, and keeps it open as a browser does: by a request that does not end."""
        text = await self._counted("page", self._get(""))
        self._events = _events(text)
        async with self._client.stream("GET", f"{API}/heartbeat/{self._session}") as heart:
            _require(heart, "")
            yield

    async def uploads(self, name: str, content: bytes) -> str:
        """Uploads a file, and returns its place on the server."""
        path = await self._counted("upload", self._upload(name, content))
        await self._tell(_file(path, name))
        return path

    async def shows(self, path: str, name: str, expected: str) -> None:
        """The page with these files: the whole answer."""
        await self._counted("scan", self._asks("on_files", [_file(path, name)], None, expected))

    async def changes(self, path: str, name: str, density: str, expected: str) -> None:
        """Another density."""
        await self._counted("density", self._asks("on_values", [_file(path, name)], 0, expected, density))

    async def leaves_early(self, path: str, name: str) -> None:
        """Asks, and closes the page before the answer is there."""
        await self._join("on_files", [[_file(path, name)], None, "unknown", 60, "2"])
        async with self._client.stream("GET", f"{API}/queue/data", params={"session_hash": self._session}) as answer:
            async for _ in answer.aiter_lines():
                break
        self._found.answers["left early"] += 1

    async def _get(self, path: str) -> str:
        answer = await self._client.get(path)
        _require(answer, answer.text)
        return answer.text

    async def _upload(self, name: str, content: bytes) -> str:
        answer = await self._client.post(f"{API}/upload", files={"files": (name, content)})
        _require(answer, answer.text)
        return answer.json()[0]

    async def _tell(self, file: dict[str, Any]) -> None:
        """The page says which files it holds, in a request that waits for nobody."""
        number, _ = self._events["on_uploads"]
        body = {"data": [[file]], "fn_index": number, "session_hash": self._session, "trigger_id": 0}
        answer = await self._client.post(f"{API}/run/on_uploads", json=body)
        _require(answer, answer.text)

    async def _asks(self, event: str, files: list[Any], chosen: int | None, expected: str, density: str = "2") -> None:
        await self._join(event, [files, chosen, "unknown", 60, density])
        seen = ""
        async with self._client.stream("GET", f"{API}/queue/data", params={"session_hash": self._session}) as answer:
            _require(answer, "")
            async for line in answer.aiter_lines():
                message = json.loads(line[6:]) if line.startswith("data: ") else {}
                seen += json.dumps(message.get("output", ""), ensure_ascii=False)
                if message.get("msg") == "process_completed" and not message.get("success"):
                    raise Failed(f"{event}: {str(message.get('output'))[:100]}")
                if message.get("msg") in ("close_stream", "unexpected_error"):
                    break
        if expected not in seen.replace('\\"', '"'):
            raise Failed(f"{event}: an answer without {expected!r}")

    async def _join(self, event: str, data: list[Any]) -> None:
        number, kinds = self._events[event]
        given = [None if kind == "state" else one for kind, one in zip(kinds, data, strict=True)]
        body = {"data": given, "fn_index": number, "session_hash": self._session, "trigger_id": 0}
        answer = await self._client.post(f"{API}/queue/join", json=body)
        _require(answer, answer.text)

    async def _counted(self, kind: str, request: Coroutine[Any, Any, Any]) -> Any:
        began = time.monotonic()
        answer = await request
        self._found.answers[kind] += 1
        self._found.seconds[kind].append(time.monotonic() - began)
        return answer


def _require(answer: httpx.Response, text: str) -> None:
    if answer.status_code in REFUSALS:
        raise Refused(f"{REFUSALS[answer.status_code]} ({answer.status_code})")
    if answer.status_code != 200:
        raise Failed(f"{answer.url.path}: {answer.status_code} {text[:100]}")


def _events(page: str) -> dict[str, tuple[int, list[str]]]:
    """Of the page's configuration: the name of each event to its number and the kinds of its inputs."""
    start = page.index("window.gradio_config = ") + len("window.gradio_config = ")
    config, _ = json.JSONDecoder().raw_decode(page[start:])
    kinds = {one["id"]: one["type"] for one in config["components"]}
    return {one["api_name"]: (one["id"], [kinds[i] for i in one["inputs"]]) for one in config["dependencies"]}


def _file(path: str, name: str) -> dict[str, Any]:
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def pictures(side: int = 600) -> Iterator[bytes]:
    """PNG files of grey noise without end, no two alike."""
    for seed in itertools.count():
        image = np.random.default_rng(seed).integers(20, 120, (side, side * 3 // 4)).astype(np.uint8)
        image[: side // 2] += 100
        yield cv2.imencode(".png", cv2.GaussianBlur(image, (9, 9), 0))[1].tobytes()


async def _visit(client: httpx.AsyncClient, found: Found, turn: int, content: bytes) -> None:
    """A scan, another density; of some visitors a broken file, one that is too large, or an early end."""
    visitor = Visitor(client, found)
    async with visitor.page():
        if turn % 25 == 24:
            await visitor.uploads("large.png", bytes(LARGEST + 1))
            raise Failed("a file over the limit was taken")
        broken = turn % 10 == 9
        name, expected = ("broken.png", PROBLEM) if broken else (f"scan {turn}.png", ANSWER)
        path = await visitor.uploads(name, content[:200] if broken else content)
        if turn % 8 == 7:
            await visitor.leaves_early(path, name)
            return
        await visitor.shows(path, name, expected)
        await visitor.changes(path, name, "4", expected)


async def _keeps_visiting(address: str, found: Found, turns: Iterator[int], files: Iterator[bytes], end: float) -> None:
    while time.monotonic() < end:
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE) as client:
            try:
                await _visit(client, found, next(turns), next(files))
            except Refused as refusal:
                found.refusals[str(refusal)] += 1
                await asyncio.sleep(PAUSE)
            except Failed as failure:
                found.failures[str(failure)] += 1
            except httpx.HTTPError as error:
                found.failures[f"{type(error).__name__}: {error}"] += 1


async def _load(address: str, clients: int, seconds: float, watch: Callable[[], object]) -> Found:
    found, turns, files = Found(), itertools.count(), pictures()
    end = time.monotonic() + seconds
    visiting = [asyncio.create_task(_keeps_visiting(address, found, turns, files, end)) for _ in range(clients)]
    while not all(one.done() for one in visiting):
        watch()
        await asyncio.sleep(0.1)
    for one in visiting:
        one.result()
    return found


def load(address: str, clients: int, seconds: float, watch: Callable[[], object] = lambda: None) -> Found:
    """Visits the page with so many visitors at once, each coming again and again until the time is over.

    Args:
        address: of the page.
        clients: how many at once.
        seconds: after which no new visit begins; those that have begun are waited for.
        watch: called ten times a second.
    """
    return asyncio.run(_load(address, clients, seconds, watch))
