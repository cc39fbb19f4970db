"""The incremental learner: Keras and TensorFlow Recommenders only.

TensorFlow Recommenders refuses Keras 3, and TensorFlow settles at its first import which Keras it is: so that is asked
for here, before anything of warmspan imports TensorFlow.
"""

import os
import sys

if "tensorflow" not in sys.modules:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
elif os.environ.get("TF_USE_LEGACY_KERAS") not in {"1", "true", "True"}:
    raise ImportError(
        "warmspan must be imported before TensorFlow, or TF_USE_LEGACY_KERAS must be 1: TensorFlow Recommenders needs "
        "Keras 2. Received: TensorFlow already imported with Keras 3. Export TF_USE_LEGACY_KERAS=1 and start again."
    )
