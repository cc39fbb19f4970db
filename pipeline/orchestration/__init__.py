"""Runs a day, a node, several days."""
