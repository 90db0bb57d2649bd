"""An object detector: a pretrained backbone, a detection head on its maps, and a schedule that opens the backbone.

`config.py` holds every number, `train.py` the recipe. Start reading there.
"""

import os

# TensorFlow's start-up notes hide our own output; remove the line to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
