"""TensorFlow Serving's own configuration files."""
