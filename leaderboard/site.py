"""The board as one static page that opens from a disk: no outside resource, and a policy that allows none."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path

from leaderboard import wording
from leaderboard.compare import Comparison
from leaderboard.files import write_whole
from leaderboard.rows import Board


def write_site(board: Board, comparison: Comparison, directory: str | os.PathLike[str]) -> Path:
    """Writes `index.html`, whole or not at all, and returns its path. Raises StoreError."""
    return write_whole(Path(directory) / "index.html", render_page(board, comparison).encode())


def render_page(board: Board, comparison: Comparison) -> str:
    """The page as text. Names and reasons come from records and are escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    style, script = _part("board.css"), _part("board.js")
    environment = Environment(
        loader=FunctionLoader(_part), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    return environment.get_template("board.html").render(
        board=board,
        comparison=comparison,
        wording=wording,
        gaps=wording.gaps(board),
        policy=content_policy(style, script),
        style=Markup(style),
        script=Markup(script),
    )


def content_policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows these two inline texts, by their hashes, and nothing else."""
    return (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def _part(name: str) -> str:
    return resources.files("leaderboard").joinpath("templates", name).read_text(encoding="utf-8")
