"""What all pages share: templates that escape, one style, scripts by name, and a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from leaderboard.pages.links import Links
from leaderboard.printing import wording
from leaderboard.records.record import BUDGET_PREFIX


if TYPE_CHECKING:
    from jinja2 import Environment


STYLE: Final = "board.css"
TABLES: Final = "tables.js"
LISTING: Final = "listing.js"
COPY: Final = "copy.js"
# Columns that say nothing per unit of weight: curves show the first, the others are of a whole example.
_HIDDEN: Final = (BUDGET_PREFIX, "snr_db", "reached_target")


def render(
    template: str, title: str, suite: str, links: Links, *, here: str = "", scripts: Sequence[str] = (), **data: Any
) -> str:
    """A page as text. title: of the window; here: which link of the navigation this page is.

    Everything in data is escaped by the template; only what this package wrote itself is not.
    """
    from markupsafe import Markup

    texts = [part(name) for name in scripts]
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            suite=suite,
            links=links,
            here=here,
            wording=wording,
            hidden=_HIDDEN,
            sentence=sentence,
            policy=content_policy(part(STYLE), *texts, connect=data.pop("connect", False)),
            style=Markup(part(STYLE)),
            scripts=[Markup(text) for text in texts],
            **data,
        )
    )


def content_policy(style: str, *scripts: str, connect: bool = False) -> str:
    """A Content-Security-Policy that allows these inline texts, by their hashes, pictures and sounds that are part of
    the page, and nothing else. connect: whether a script may ask the page's own host for a table.
    """
    hashes = " ".join(f"'{_source_hash(text)}'" for text in scripts if text) or "'none'"
    host = "connect-src 'self'; " if connect else ""
    return (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src {hashes}; "
        f"img-src data:; media-src data:; {host}base-uri 'none'; form-action 'none'"
    )


def sentence(text: str) -> str:
    """A text as the start of a sentence: `error rate` begins with a capital, `WER` stays."""
    return text[:1].upper() + text[1:]


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of this package; a name that is not given is an error."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(part), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@lru_cache(maxsize=32)
def part(name: str) -> str:
    """A template, a style or a script of this package."""
    return resources.files("leaderboard.pages").joinpath("templates", name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
