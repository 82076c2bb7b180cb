"""``mmdc-tf demo`` as a user meets it: the real command, driven in a headless browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from command_line import PROJECT
from served_model import CLASSES, scan, write_dicom, write_image, write_model

import mmdc_tf
from mmdc_tf.datasets.phantom import mammogram_patients
from mmdc_tf.datasets.phantom_images import draw_mammogram
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WAIT = 30_000  # milliseconds
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium; skips where there is none, fails where it must be there."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        reason = "no Chromium or no playwright (apt-get install chromium, pip install playwright)"
        if os.environ.get("MMDC_TF_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


@dataclass
class Server:
    """The running command."""

    process: subprocess.Popen
    address: str
    model: Path
    temporary: Path

    def end(self, number: int) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, error = self.process.communicate(timeout=30)
        return self.process.returncode, out, error


def start(model: Path, temporary: Path) -> Server:
    """Starts ``mmdc-tf demo`` on a free port, and waits until it says where it is."""
    temporary.mkdir()
    command = [sys.executable, "-m", "mmdc_tf.cli", "demo", "--model", str(model), "--port", "0", "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT, env=environment
    )
    for line in process.stdout:
        if found := re.match(r"page: (http://127\.0\.0\.1:\d+/)", line):
            return Server(process, found[1], model, temporary)
    raise AssertionError(process.communicate()[1])


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Server]]:
    """The command, once it was started; it serves all tests of this module."""
    kept: dict[str, Server] = {}
    yield kept
    for one in kept.values():
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


@pytest.fixture
def server(running, tiny_backbone, tmp_path_factory) -> Server:
    """The command on a row of two models, which differ in their temperature."""
    if "server" not in running:
        row = tmp_path_factory.mktemp("run") / "table2" / "fused" / "leak-free"
        for fold, temperature in enumerate((1.5, 4.0)):
            card = {"notice": NOTICE, "temperature": temperature}
            write_model(row / f"fold{fold}-seed0", card=card, backbone=tiny_backbone, conv_filters=8, grid=2)
        running["server"] = start(row / "fold0-seed0", tmp_path_factory.mktemp("temporary") / "tmp")
    return running["server"]


@dataclass
class Visit:
    """A page, and what it asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def complain(self, error: Any) -> None:
        """But of a request that the page itself has given up."""
        if not str(error).startswith("AbortError"):
            self.complaints.append(str(error))

    def upload(self, *paths: Path) -> None:
        """Takes the place of what was uploaded before."""
        if self.page.get_by_label("Clear").count():
            self.page.get_by_label("Clear").click()
        self.page.locator("input[type=file]").first.set_input_files([str(path) for path in paths])

    def probabilities(self) -> list[float]:
        """Once the whole answer is there: the interval comes last."""
        self.page.locator("#verdict").get_by_text("lowest to highest over").wait_for(timeout=WAIT)
        return [float(self.page.locator(f"#verdict [data-class={name}]").inner_text()) for name in CLASSES]


@pytest.fixture
def visit(browser, server) -> Iterator[Visit]:
    """The page, newly opened, which must ask nobody but the command and complain of nothing."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    one = Visit(page)
    page.on("request", lambda request: one.requests.append(request.url))
    page.on("console", lambda message: one.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", one.complain)
    page.goto(server.address)
    page.get_by_text(RESEARCH_USE).first.wait_for(timeout=WAIT)
    yield one
    page.close()
    assert one.complaints == []
    assert {urlsplit(url).hostname for url in one.requests if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}


@pytest.fixture
def picture(request, tmp_path) -> Path:
    """A real PNG where the real data are beside the checkout, a phantom otherwise."""
    place = Path(os.environ.get("MMDC_TF_TEST_DATA", PROJECT.parent / "shared" / "datasets"))
    if place.is_dir() or os.environ.get("MMDC_TF_REQUIRE_DATA"):
        real = request.getfixturevalue("real_data") / "busi"
        return sorted(path for path in real.rglob("*.png") if "mask" not in path.name)[0]
    image = draw_mammogram(mammogram_patients(3)[0], "CC", "LEFT").image
    return write_image(tmp_path / "phantom.png", image)


def test_a_real_picture_then_another_age_then_a_broken_file(visit, server, picture, tmp_path):
    """What is on the page is what the predictor says, and changes with the age."""
    predictor = mmdc_tf.load_predictor(server.model)
    visit.upload(picture)
    at_first = visit.probabilities()
    assert at_first == rounded(predictor.predict(picture)[0])
    years = visit.page.get_by_label("number input for Age in years")
    years.fill("85")
    visit.page.get_by_text("Age: 85 years (given).").wait_for(timeout=WAIT)
    assert visit.probabilities() == rounded(predictor.predict(picture, age=85)[0]) != at_first
    visit.page.locator("#density").get_by_text("4", exact=True).click()
    visit.page.get_by_text("Density: 4 (given).").wait_for(timeout=WAIT)
    assert visit.probabilities() == rounded(predictor.predict(picture, age=85, density=4)[0])
    assert visit.page.locator("img").count() >= 1 + 3 + 4  # what changes; three heatmaps; the scan and three steps
    (tmp_path / "broken.png").write_text("no picture")
    visit.upload(tmp_path / "broken.png")
    visit.page.get_by_text("broken.png: Expected a PNG, JPEG, TIFF, BMP or DICOM image.").wait_for(timeout=WAIT)
    text = visit.page.locator("body").inner_text()
    assert "Traceback" not in text and str(server.temporary) not in text
    assert not visit.page.get_by_text("Where the model looks").is_visible()


def test_several_files_are_a_table_and_each_can_be_looked_at(visit, picture, tmp_path):
    dicom = write_dicom(tmp_path / "scan.dcm", scan(), PatientAge="058Y", Modality="MG")
    (tmp_path / "empty.png").write_bytes(b"")
    visit.upload(picture, dicom, tmp_path / "empty.png")
    rows = visit.page.locator("table", has_text="file").locator("tbody tr")
    visit.page.get_by_text("(empty file)").wait_for(timeout=WAIT)
    assert rows.count() == 3
    visit.probabilities()
    visit.page.get_by_label("Scan shown in detail").click()
    visit.page.get_by_role("option", name="2. scan.dcm").click()
    visit.page.get_by_text("Age: 58 years (from the DICOM header).").wait_for(timeout=WAIT)


def test_the_example_is_a_phantom_with_its_age_and_density(visit, picture):
    visit.page.get_by_role("button", name="Try an example").click()
    visit.page.get_by_text(re.compile(r"Drawn as cancer: .* age \d+, density \d\.")).wait_for(timeout=WAIT)
    visit.page.get_by_role("heading", name="phantom-cancer-1.png").wait_for(timeout=WAIT)
    assert sum(visit.probabilities()) == pytest.approx(1, abs=0.002)
    shown = visit.page.locator("#verdict").inner_text()
    assert f"{NOTICE}. {RESEARCH_USE}" in shown
    assert "years (given)" in shown and "lowest to highest over 2 trained models" in shown
    visit.upload(picture)  # another patient
    visit.page.get_by_text("Age: unknown. Density: unknown.").wait_for(timeout=WAIT)
    assert not visit.page.get_by_text("Drawn as cancer").is_visible()


def test_the_page_fits_a_phone(visit, picture):
    visit.page.set_viewport_size(PHONE)
    visit.upload(picture)
    visit.probabilities()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_file_that_is_too_large_is_refused(visit, server, tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(51 * 1024 * 1024)
    visit.upload(tmp_path / "large.png")
    visit.page.get_by_text(re.compile("maximum allowed size|too large|exceeds", re.IGNORECASE)).first.wait_for(
        timeout=WAIT
    )
    assert not [path for path in server.temporary.rglob("*") if path.is_file() and path.stat().st_size > 5e7]


def test_other_sites_cannot_ask(server):
    """Neither by another host name that leads here nor by an interface for programs, and no file is given away."""
    asked = [("", "evil.example", 400), ("", "127.0.0.1", 200), ("docs", "127.0.0.1", 404)]
    for path, host, code in [*asked, (f"gradio_api/file={PROJECT / 'setup.cfg'}", "127.0.0.1", 403)]:
        request = urllib.request.Request(f"{server.address}{path}", headers={"Host": host})
        try:
            found = urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            found = error.code
        assert found == code


def test_ctrl_c_ends_it_and_leaves_nothing_behind(visit, server, picture):
    """With a page still open; the last test of this server."""
    visit.upload(picture)
    visit.probabilities()
    (private,) = server.temporary.iterdir()
    assert private.stat().st_mode & 0o077 == 0 and any(path.is_file() for path in private.rglob("*"))
    code, _, error = server.end(signal.SIGINT)
    assert code == 130
    assert error.strip() == "mmdc-tf: interrupted"
    assert list(server.temporary.iterdir()) == []
    visit.complaints.clear()  # of a server that is gone


def rounded(prediction) -> list[float]:
    return [round(value, 3) for value in prediction.probabilities.values()]
