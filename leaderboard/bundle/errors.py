"""The one error of bundles. Its text may quote what a stranger wrote, so it is cleaned and cut."""

from __future__ import annotations

from typing import Final

from adversarial.errors import RobustArenaError


LONGEST_MESSAGE: Final = 600


class BundleError(RobustArenaError, ValueError):
    """A bundle that cannot be trusted, or cannot be written. Says where, what was expected and what came.

    BundleError
    └── SigningKeyError   a private key that is missing, malformed or readable by others
    """

    def __init__(self, message: str) -> None:
        clean = "".join(one if one.isprintable() else "?" for one in message[: LONGEST_MESSAGE + 1])
        super().__init__(clean if len(clean) <= LONGEST_MESSAGE else clean[: LONGEST_MESSAGE - 3] + "...")


class SigningKeyError(BundleError):
    """A private key that cannot be used. Names the file and what to do."""


def shown(value: object, longest: int = 80) -> str:
    """A value as ASCII for a message, cut to a readable length."""
    text = ascii(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."
