"""The custom TFX components: thin wrappers, a folder each."""

import trainer as _trainer  # noqa: F401  settles Keras 2 before TFX imports TensorFlow
