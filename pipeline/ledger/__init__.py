"""What ML Metadata says, typed: runs, artifacts, models, what is in service."""
