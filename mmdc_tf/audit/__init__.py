"""The integrity audit: how much of a number on a dataset would be worth nothing, and why; without TensorFlow.

``near_twins``: copies, and those that carry different labels. ``probes`` and ``probe_features``: what the label can be
guessed from without diagnosing. ``metadata``: what the table says. ``split_file``: whether a split keeps groups apart.
"""
