"""Looks at the user's files and writes the settings file that fits them (`warmspan init`)."""
