"""The command `robustarena`: all commands in one group, and what a failure looks like. Nothing heavy is imported before
the command that needs it.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from adversarial.errors import DuplicateName, InvalidOption, InvalidThreat, RobustArenaError, UnknownName
from benchmarks.cli import boards, data, listing, models, runs, server, store, submit, training, verify
from leaderboard.bundle.errors import SigningKeyError
from leaderboard.printing import terminal
from leaderboard.records.files import store_error


USAGE_ERRORS = (UnknownName, InvalidThreat, InvalidOption, DuplicateName, SigningKeyError)


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


for _command in (
    *(listing.list_entries, runs.plan, runs.run, training.train),
    *(boards.table, boards.compare, boards.site, boards.export, boards.badge),
    *(data.prepare, models.check, submit.submit, submit.strengthen, verify.verify),
    *(server.serve, server.worker, store.rebuild, store.requeue, store.token),
):
    cli.add_command(_command)
