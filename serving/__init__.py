"""Everything TF Serving needs: signatures, bundle, embedded server, client."""

import os

# Models are Keras 2 here; whoever imports TensorFlow first settles that for the process.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
