"""Files that put a model behind the official TensorFlow Serving."""
