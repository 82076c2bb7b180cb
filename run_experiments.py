"""Trains, scores and tabulates the rows of the paper's tables: ``python run_experiments.py --table 2``."""

import sys

try:
    from mmdc_tf.cli import main
except ModuleNotFoundError as missing:
    print(
        f"mmdc-tf: Expected the packages that this project needs. Received: no {missing.name} in {sys.executable}. "
        "Activate the environment: . .venv/bin/activate (make sets it up), or install them: pip install -e .",
        file=sys.stderr,
    )
    sys.exit(2)

if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main(words if words == ["--version"] else ["run", *words]))
