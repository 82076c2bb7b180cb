"""Packaging lives in setup.cfg. Here stands what it cannot say: OpenCV is taken in the form that is already there."""

import sysconfig
from configparser import ConfigParser
from importlib.metadata import distributions
from pathlib import Path

from setuptools import setup

FORMS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""All install the same module, so that two of them beside each other break it."""


def requirements() -> list[str]:
    """Of setup.cfg, with the form of OpenCV that is installed, else the first."""
    config = ConfigParser()
    config.read(Path(__file__).with_name("setup.cfg"), encoding="utf-8")
    # pip builds apart from the environment that it installs into, whose folder Python still names
    found = {one.name.lower() for one in distributions(path=[sysconfig.get_path("purelib")])}
    form = next((one for one in FORMS if one in found), FORMS[0])
    return config["options"]["install_requires"].replace(FORMS[0], form).split("\n")[1:]


setup(install_requires=requirements())
