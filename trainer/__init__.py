"""The incremental learner: Keras and TensorFlow Recommenders only."""
