"""Draws where a trained model looks in a scan, and writes the model as ONNX, compared with Keras.

python examples/explain_and_export.py [MODEL SCAN]; without them trains a small one on a phantom first.
"""

import sys
from pathlib import Path

from mmdc_tf.cli import main

if len(sys.argv) > 2:
    model, scan = sys.argv[1:3]
else:
    run = "run --table 2 --rows mmdcnet_mobilenet --protocol paper --epochs 1 --output runs/tutorial-explain"
    if code := main(run.split()):
        sys.exit(code)
    model = "runs/tutorial-explain/table2/mmdcnet_mobilenet/paper/fold0-seed0"
    scan = str(next(Path("runs/tutorial-explain/phantom-mammogram/Cancer").glob("*/*_CC.jpg")))
if code := main(["explain", "--model", model, "--output", "runs/tutorial-heat", scan]):
    sys.exit(code)
sys.exit(main(["export", "--model", model, "--format", "onnx", "--output", "runs/tutorial.onnx"]))
