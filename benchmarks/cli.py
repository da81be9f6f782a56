"""The command line. Nothing heavy is imported before the command that needs it."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from adversarial.errors import DuplicateName, InvalidOption, InvalidThreat, RobustArenaError, UnknownName
from leaderboard.bundle.errors import SigningKeyError
from leaderboard.printing import terminal
from leaderboard.records.files import store_error


USAGE_ERRORS = (UnknownName, InvalidThreat, InvalidOption, DuplicateName, SigningKeyError)
DEFAULT_OUT = "runs"

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="robustarena")
def cli() -> None:
    """One arena for adversarial attacks and defenses across vision, speech, language and control."""


def main() -> None:
    """Runs the command line. Exits with 2 for a usage error, 1 for a failed run, 130 where it was interrupted."""
    terminal.adapt(sys.stdout, sys.stderr)
    try:
        code = _run()
    finally:
        terminal.settle(sys.stdout, sys.stderr)
    sys.exit(code)


def _run() -> int:
    """The exit code of the command that was asked for; where it fails, one sentence says why."""
    try:
        code = cli.main(prog_name="robustarena", standalone_mode=False)  # what it raised Exit with, or its own value
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if type(code) is int else 0
    except click.UsageError as error:
        with contextlib.suppress(OSError):
            error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        terminal.say("robustarena: interrupted; run the same command again to go on where it stopped")
        return 130
    except BrokenPipeError:  # the reader of our output left, `| head` for one
        return 1
    except RobustArenaError as error:
        terminal.say(f"robustarena: {error}")
        return 2 if isinstance(error, USAGE_ERRORS) else 1
    except OSError as error:
        terminal.say(f"robustarena: {store_error(Path(error.filename or 'the output'), error)}")
        return 1
    except MemoryError:
        terminal.say("robustarena: this machine has too little memory for that")
        return 1


def out_option(command: F) -> F:
    return click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_OUT,
        show_default=True,
        help="Folder of the records.",
    )(command)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")(command)


def plugin_option(command: F) -> F:
    return click.option(
        "--plugin",
        "plugins",
        type=click.Path(path_type=Path, dir_okay=False),
        multiple=True,
        help="A Python file with register(registry); may be given several times.",
    )(command)


def finite(_context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A range of numbers lets infinities and `nan` through."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"expected a finite number, got {value}", param=parameter)
    return value


def device_option(command: F) -> F:
    return click.option("--device", default="cpu", show_default=True, callback=_device, help="cpu, cuda or cuda:N.")(
        command
    )


def _device(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from benchmarks.devices import checked_device

    return checked_device(value)


def cell_options(command: F) -> F:
    """What chooses cells and decides how they are measured: the same for plan and run."""
    options = (
        click.option("--task", "tasks", multiple=True, metavar="GLOB", help="Only these tasks."),
        click.option("--model", "models", multiple=True, metavar="GLOB", help="Only these models."),
        click.option("--attack", "attacks", multiple=True, metavar="GLOB", help="Only these attacks."),
        click.option("--defense", "defenses", multiple=True, metavar="GLOB", help="Only these defenses."),
        click.option("--limit", type=click.IntRange(1), help="Only the first examples: for trying out."),
        click.option("--seed", type=int, default=0, show_default=True, help="Added to the suite's own seeds."),
        device_option,
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16"]),
            default="float32",
            show_default=True,
            help="In which attacks search; float32 confirms every success.",
        ),
        click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads a worker."),
    )

    @wraps(command)
    def collected(**values: Any) -> Any:
        from benchmarks.planning import Filters, Settings

        names = ("tasks", "models", "attacks", "defenses")
        values["filters"] = Filters(**{name: tuple(values.pop(name)) for name in names})
        settings = ("limit", "seed", "device", "threads", "dtype")
        values["settings"] = Settings(**{name: values.pop(name) for name in settings})
        return command(**values)

    wrapped: Any = collected
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


# Commands register themselves on import; each module holds one kind of them.
from benchmarks import (  # noqa: E402
    cli_boards,  # noqa: F401
    cli_data,  # noqa: F401
    cli_models,  # noqa: F401
    cli_runs,  # noqa: F401
    cli_server,  # noqa: F401
    cli_store,  # noqa: F401
    cli_submit,  # noqa: F401
    cli_verify,  # noqa: F401
)
