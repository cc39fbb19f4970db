"""The command line; `main` is the console script."""

from pipeline.cli.app import main

__all__ = ["main"]
