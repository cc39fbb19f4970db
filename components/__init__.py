"""The custom TFX components: thin wrappers, a folder each."""

import warmspan as _warmspan

_warmspan.check_packages()  # before the next line takes a stranger for the trainer

import trainer as _trainer  # noqa: E402, F401  settles Keras 2 before TFX imports TensorFlow
