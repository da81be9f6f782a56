"""The command `robustarena`. Its only work is to make sure that the packages it is about to import are its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


_PACKAGES = ("adversarial", "tasks", "benchmarks", "leaderboard")


def foreign_package() -> str | None:
    """What to say where another module hides one of ours; None where all is well.

    The four packages have common names, and any folder on PYTHONPATH may hold one of them.
    """
    for name in _PACKAGES:
        ours = Path(__file__).resolve().parent / name / "__init__.py"
        spec = importlib.util.find_spec(name)
        found = None if spec is None else spec.origin or next(iter(spec.submodule_search_locations or []), None)
        if found is None:
            return f"the package {name} is missing: expected {ours}; install robustarena again"
        if ours.exists() and Path(found).resolve() != ours:
            return (
                f"another module is called {name}: Python finds {found}, RobustArena needs {ours}. "
                "Take the other one's folder off PYTHONPATH, or run from another folder"
            )
    return None


def main() -> None:
    """Runs the command line; exits with 2 where the installation is not whole."""
    problem = foreign_package()
    if problem is not None:
        print(f"robustarena: {problem}", file=sys.stderr)
        sys.exit(2)
    from benchmarks.cli import main as run

    run()


if __name__ == "__main__":
    main()
