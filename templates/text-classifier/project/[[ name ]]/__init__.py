"""A text classifier: a pretrained backbone, a head of your own, and a schedule that opens the backbone bit by bit.

`config.py` holds every number, `train.py` the recipe. Start reading there.
"""

import os

# TensorFlow's start-up notes hide our own output; remove the line to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
