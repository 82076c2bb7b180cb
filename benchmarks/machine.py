"""What the benchmarks say of the machine that they ran on."""

from __future__ import annotations

import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("tensorflow", "keras", "numpy")


def machine_lines(packages: tuple[str, ...] = PACKAGES) -> str:
    """The processor, its load, and the versions: two lines."""
    lines = _lines("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n"
        f"mmdc_tf {version('mmdc_tf')}, Python {platform.python_version()}, {versions}"
    )


def peak_memory() -> float:
    """The largest memory of this process so far, in MB, pages of mapped files included."""
    peaks = [int(line.split()[1]) / 2**10 for line in _lines("/proc/self/status") if line.startswith("VmHWM:")]
    unit = 2**20 if platform.system() == "Darwin" else 2**10  # bytes there, KiB elsewhere
    # getrusage would also count the process that started this one, before it became another
    return peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8").splitlines() if Path(file).is_file() else []
