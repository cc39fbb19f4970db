"""Measurements against a peer, or a physical limit, in the same run."""

import trainer as _trainer  # noqa: F401  settles Keras 2 before any peer imports TensorFlow
