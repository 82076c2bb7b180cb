"""A server without libGL gets one clear line, not a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_missing_libgl_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({message!r})\n")
    result = subprocess.run(
        [sys.executable, "-m", "mmdc_tf.cli", "datasets", "check", "--dataset", "busi", "--root", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert "apt-get install libgl1" in result.stderr
    assert "opencv-python-headless" in result.stderr
