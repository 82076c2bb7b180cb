"""Trains on one hospital's images, and scores the models on another's.

python examples/external_validation.py [TRAINING_DIR EXTERNAL_DIR], both of ultrasound; without folders on phantoms.
"""

import sys
from pathlib import Path

from mmdc_tf.cli import main
from mmdc_tf.datasets.catalogue import recognise
from mmdc_tf.datasets.phantom import write_phantom_ultrasound

output = Path("runs/tutorial-external")
words = ["run", "--table", "1", "--rows", "bcdnet_mobilenet", "--protocol", "leak-free", "--output", str(output)]
if len(sys.argv) > 2:
    own, other = sys.argv[1:3]
    words += ["--dataset-root", own, "--cut", "top"]
else:
    print("phantom: not a reproduction")
    other = write_phantom_ultrasound("runs/tutorial-other-hospital", images=40, seed=7)
    words += ["--epochs", "1", "--image-size", "64", "--folds", "2"]
if code := main(words):
    sys.exit(code)
models = output / "table1" / "bcdnet_mobilenet" / "leak-free"
sys.exit(main(["evaluate", "--model", str(models), "--dataset", recognise(other) or "busi", "--root", str(other)]))
