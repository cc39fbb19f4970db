"""Erases users and days from everything under the root: one journal, one registry of file formats, recovery."""
