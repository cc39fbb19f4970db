"""The console script, and the check that Python finds warmspan's packages and not others of the same names.

It is a module of its own, because a name that is taken can't say so itself.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = ("pipeline", "components", "trainer", "serving")
_HOME = Path(__file__).resolve().parent


class HiddenPackageError(ImportError):
    """Python finds another package in the place of one of warmspan's; the message says which file."""


def check_packages() -> None:
    """Refuses packages that are not those which this file was installed with.

    Raises:
      HiddenPackageError: another package of the name comes first, or none is there.
    """
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
        found_at = next((place for place in places if place), "no file")
        if Path(found_at).resolve() not in (_HOME / name, _HOME / name / "__init__.py"):
            raise HiddenPackageError(
                f"`{name}` must be warmspan's own package, of {_HOME}. Received: {found_at}. Take the folder above it "
                "out of PYTHONPATH, start from another folder, rename the package, or install warmspan into an "
                "environment of its own."
            )


def main() -> None:
    """Runs `warmspan …`."""
    try:
        check_packages()
    except HiddenPackageError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    # Google's packages warn of the end of Python 3.10, in this process and in those that it starts: Beam's workers.
    quiet = "ignore::FutureWarning:google.api_core._python_version_support"
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), quiet)))
    from pipeline.cli import main

    main()
