"""What an entry's page offers to put elsewhere: a badge, Markdown that shows it, and the head of a model card."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import msgspec

from leaderboard.printing.badge import badge_of, model_card
from leaderboard.scoring.rows import Board


class Sharing(msgspec.Struct, frozen=True):
    """badge: SVG. text: what it says. markdown: with the badge's full address where the site's own is known, else with
    the file's name, for a copy of it. card: YAML between two lines of dashes.
    """

    badge: str
    text: str
    markdown: str
    card: str

    @property
    def picture(self) -> str:
        """The badge as an address that holds it: text of an SVG in a page would take the page's own style."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.badge.encode()).decode('ascii')}"


def sharing(board: Board, entry: str, *, page: str = "", badge: str = "") -> Sharing:
    """page, badge: full addresses of the entry's page and of its badge, empty where nobody knows them."""
    svg = badge_of(board, entry)
    text = ElementTree.fromstring(svg).get("aria-label") or ""
    picture = f"![{_plain(text)}]({badge or 'badge.svg'})"
    return Sharing(svg, text, f"[{picture}]({page})" if page else picture, model_card(board, entry, page))


def _plain(text: str) -> str:
    """A text that Markdown takes as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>!" else letter for letter in text)
