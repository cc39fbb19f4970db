"""Everything stands in pyproject.toml; this file is what Beam's `--setup_file` asks for."""

import setuptools

setuptools.setup()
