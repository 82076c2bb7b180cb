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
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{_processor()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, {versions}"
    )


def peak_memory() -> float:
    """The largest memory of this process so far, in MB, pages of mapped files included."""
    if peak := _status("VmHWM"):
        return peak  # getrusage would also count the process that started this one, before it became another
    unit = 2**20 if platform.system() == "Darwin" else 2**10  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def own_memory() -> float:
    """The memory of this process now, in MB, without pages of files; NaN where the system does not tell it."""
    return _status("RssAnon") or float("nan")


def _status(name: str) -> float | None:
    """A size that Linux tells of this process, in MB."""
    file = Path("/proc/self/status")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{name}:")), None)


def _processor() -> str:
    """The processor's name, where the system tells it."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
