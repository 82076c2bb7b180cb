"""What is said while a run goes on: the bar names phase, loss and accuracy; elsewhere no minute passes in silence."""

from __future__ import annotations

import re
import time
from pathlib import Path

from mmdc_tf.datasets.splits import Split
from mmdc_tf.experiments import progress
from mmdc_tf.experiments.plan import Training
from mmdc_tf.experiments.progress import Progress
from mmdc_tf.experiments.rows import Row

ROW = Row("net", "Net", "here", model="net")
SPLIT = Split("leak-free", 1, 5, 0, "here", (), (), ())
TRAINING = Training(ROW, SPLIT, 0, None, 32, "plain", ("image",), Path("nowhere"))
PLACE = "net leak-free fold 2/5 seed 0"


class Terminal:
    """An error stream that is a terminal, and keeps what is drawn."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.drawn = ""

    def write(self, text: str) -> int:
        self.drawn += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def go_through_an_epoch(bar: Progress) -> None:
    bar.begin(2, 4)
    bar.phase("building the network", TRAINING)
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    bar.on_epoch_end(0, {"loss": 2.0, "accuracy": 0.2, "val_loss": 1.234, "val_accuracy": 0.456})
    bar.on_epoch_begin(1)


def test_the_bar_names_phase_loss_and_accuracy(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with Progress() as bar:
        bar.phase("features", TRAINING)
        go_through_an_epoch(bar)
        bar.phase("scoring", TRAINING)
        bar.phase("report")
    drawn = [text.strip() for text in re.split(r"[\r\n]", terminal.drawn)]
    place = f" · {PLACE}"
    expected = ["features" + place, "epoch 1 of 4" + place]
    expected += [f"epoch {k} of 4, validation loss 1.23, accuracy 46 %{place}" for k in (1, 2)]
    for text in [*expected, "scoring" + place, "report"]:
        assert any(f" {text} " in f"{line} " for line in drawn), text
    assert any(line.startswith("12% ") for line in drawn)  # one of eight epochs


def test_where_there_is_no_bar_no_time_passes_in_silence(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SILENT_S", 0.2)
    with Progress() as bar:
        go_through_an_epoch(bar)
        time.sleep(1)
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(lines) <= 6
    text = f"0 min, about 0 min left: {PLACE}, epoch 2 of 4, validation loss 1.23, accuracy 46 %"
    assert set(lines) == {text}
    time.sleep(0.5)
    assert capsys.readouterr().out == ""  # over is over
