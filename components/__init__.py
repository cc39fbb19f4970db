"""The custom TFX components: thin wrappers, a folder each."""
