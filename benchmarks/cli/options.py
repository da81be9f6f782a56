"""Options that several commands share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from adversarial.errors import InvalidOption
from leaderboard.records.record import Scalar


DEFAULT_OUT = "runs"

F = TypeVar("F", bound=Callable[..., Any])


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


def param_option(what: str) -> Callable[[F], F]:
    """`--param NAME=VALUE`, any number of them; the command gets a dict, `params`."""
    return click.option(
        "--param",
        "params",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _parameter, given: dict(map(_param, given)),
        help=f"A parameter {what}, as JSON.",
    )


def _param(text: str) -> tuple[str, Scalar]:
    """One `--param`; raises InvalidOption."""
    name, _, given = text.partition("=")
    try:
        value = json.loads(given)
        if not isinstance(value, Scalar) or value in (math.inf, -math.inf) or value != value:
            raise ValueError
    except (ValueError, RecursionError):
        raise InvalidOption(
            f"expected --param NAME=VALUE with a number, a text in double quotes, true, false or null, got {text!r}"
        ) from None
    return name, value


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
    from benchmarks.running.devices import checked_device

    return checked_device(value)


def cell_options(command: F) -> F:
    """What chooses cells and decides how they are measured: the same for plan and run."""
    options = (
        click.option("--task", "tasks", multiple=True, metavar="GLOB", help="Only these tasks."),
        click.option(
            "--model",
            "models",
            multiple=True,
            metavar="GLOB|SOURCE",
            help="Only these models; a source such as torch:FOLDER or NAME=hf:FOLDER is one of your own.",
        ),
        click.option(
            "--attack",
            "attacks",
            multiple=True,
            metavar="GLOB",
            help="Only these; where SUITE lacks one, on a board of its own.",
        ),
        click.option("--defense", "defenses", multiple=True, metavar="GLOB", help="Only these defenses."),
        click.option("--threat", default="", help="In place of the threats that rank: a board of its own."),
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
        from benchmarks.running.filters import Filters
        from benchmarks.running.planning import Settings

        names = ("tasks", "models", "attacks", "defenses")
        values["filters"] = Filters(**{name: tuple(values.pop(name)) for name in names})
        settings = ("limit", "seed", "device", "threads", "dtype")
        values["settings"] = Settings(**{name: values.pop(name) for name in settings})
        return command(**values)

    wrapped: Any = collected
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]
