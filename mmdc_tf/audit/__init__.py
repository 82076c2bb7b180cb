"""The integrity audit: how much of a number on a dataset would be worth nothing, and why.

Each module answers one question about a dataset or a split, without training a network, and returns tables that the
report shows:

- ``near_twins``: which images are copies of one another, and which of them carry different labels;
- ``split_file``: whether a saved split keeps every group on one side;
- ``leak_probes``, ``shortcut_probes``, ``metadata``: what the label can be guessed from without the breast.

Nothing here imports TensorFlow.
"""
