"""The daily loop as a TFX pipeline, and the ways to drive it."""

import trainer as _trainer  # noqa: F401  settles Keras 2 before TFX imports TensorFlow
