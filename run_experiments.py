"""Trains, scores and tabulates the rows of the paper's tables: ``python run_experiments.py --table 2``."""

import sys

from mmdc_tf.cli import run_experiments

if __name__ == "__main__":
    sys.exit(run_experiments())
