"""Trains rows of Table I under every protocol and prints what the leak is worth.

python examples/reproduce_a_table.py [DIR with BUSI]; without a folder on a phantom, which is no reproduction.
"""

import sys
from pathlib import Path

import pandas as pd

from mmdc_tf.cli import main

rows = "image_nearest_neighbour,hog_svm"  # add bcdnet_mobilenet, and an hour on two cores
output = Path("runs/tutorial-table")
words = ["run", "--table", "1", "--rows", rows, "--protocol", "all", "--folds", "3", "--output", str(output)]
if len(sys.argv) > 1:
    words += ["--dataset-root", sys.argv[1]]
if code := main(words):
    sys.exit(code)
table = pd.read_csv(output / "table1.csv")
print(table[table["protocol"] == "leak-free"][["label", "accuracy", "leak_worth"]].dropna().to_string(index=False))
