"""From files to batches of raw columns, a file a format."""
