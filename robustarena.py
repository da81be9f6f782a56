"""RobustArena from Python, and the command `robustarena`.

    import robustarena

    result = robustarena.evaluate(model, images, labels, threat="pixels-linf:8/255")
    found = robustarena.attack(model, images, labels, "apgd-ce", "pixels-linf:8/255", steps=100)
    victim = robustarena.load_model("image-digits/undefended")

Importing this imports no torch: names load when they are first asked for. Before that, and before the command runs, it
is made sure that the packages about to be imported are ours.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from adversarial.errors import RobustArenaError as RobustArenaError
    from adversarial.threats import Threat as Threat
    from adversarial.victims import Victim as Victim
    from benchmarks.api import attack as attack
    from benchmarks.api import evaluate as evaluate
    from benchmarks.loading import list_attacks as list_attacks
    from benchmarks.loading import list_models as list_models
    from benchmarks.loading import load_model as load_model
    from benchmarks.results import AttackResult as AttackResult
    from benchmarks.results import Evaluation as Evaluation

    __version__: str

_PACKAGES = ("adversarial", "tasks", "benchmarks", "leaderboard")
_PLACES = {
    "AttackResult": "benchmarks.results",
    "Evaluation": "benchmarks.results",
    "RobustArenaError": "adversarial.errors",
    "Threat": "adversarial.threats",
    "Victim": "adversarial.victims",
    "attack": "benchmarks.api",
    "evaluate": "benchmarks.api",
    "list_attacks": "benchmarks.loading",
    "list_models": "benchmarks.loading",
    "load_model": "benchmarks.loading",
}

__all__ = [
    "AttackResult",
    "Evaluation",
    "RobustArenaError",
    "Threat",
    "Victim",
    "__version__",
    "attack",
    "evaluate",
    "list_attacks",
    "list_models",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("robustarena")
    if name not in _PLACES:
        raise AttributeError(f"module 'robustarena' has no attribute {name!r}; it has {', '.join(__all__)}")
    if (problem := foreign_package()) is not None:
        raise ImportError(problem)
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
    try:
        problem = foreign_package()
        if problem is not None:
            print(f"robustarena: {problem}", file=sys.stderr)
            sys.exit(2)
        from benchmarks.cli.main import main as run
    except KeyboardInterrupt:  # while it is still importing
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
