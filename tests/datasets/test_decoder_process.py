"""DICOM pixels that only GDCM decodes: they come right from a process of its own, which may end without ending ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gdcm
import numpy as np
import pytest
from served_model import scan, write_dicom

from mmdc_tf.datasets import dicom
from mmdc_tf.datasets.decoder_process import DecoderProcess
from mmdc_tf.datasets.images import read_image
from mmdc_tf.errors import UnreadableImageError

LOSSLESS = {"JPEG": "JPEGLosslessProcess14_1", "JPEG-LS": "JPEGLSLossless"}
ABORTS = "import os; input(); os.abort()"


def compressed(folder: Path, syntax: str) -> Path:
    """The scan, compressed by GDCM."""
    reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(write_dicom(folder / "plain.dcm", scan())))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    path = folder / f'{syntax} "quoted" ü.dcm'
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=list(LOSSLESS))
def test_lossless_pixels_are_those_that_were_compressed(tmp_path: Path, syntax: str):
    np.testing.assert_array_equal(read_image(compressed(tmp_path, syntax)), scan())


def test_what_it_cannot_decode_is_said_by_name_and_the_next_file_is_read(tmp_path: Path):
    path = compressed(tmp_path, LOSSLESS["JPEG"])
    whole = path.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) - 700])
    with pytest.raises(UnreadableImageError, match=r"Received: .*cut\.dcm"):
        read_image(tmp_path / "cut.dcm")
    np.testing.assert_array_equal(read_image(path), scan())


def test_its_end_is_an_error_of_the_file_and_another_one_is_started(tmp_path: Path, monkeypatch):
    path, decoder = compressed(tmp_path, LOSSLESS["JPEG"]), DecoderProcess()
    monkeypatch.setattr(dicom, "decoder", decoder)
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    decoder._idle.put(subprocess.Popen([sys.executable, "-c", ABORTS], stderr=subprocess.DEVNULL, **pipes))
    with pytest.raises(UnreadableImageError, match="the decoder ended on it"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path), scan())
