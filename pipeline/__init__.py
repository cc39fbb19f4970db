"""The daily loop as a TFX pipeline, and the ways to drive it."""
