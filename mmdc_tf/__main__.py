"""``python -m mmdc_tf`` is ``mmdc-tf``."""

import sys

from mmdc_tf.cli import main

sys.exit(main())
