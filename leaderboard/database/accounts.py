"""Accounts and their tokens. A token is shown once, when it is issued; the store keeps its hash."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from adversarial.errors import RobustArenaError
from leaderboard.bundle.manifest import checked_text
from leaderboard.bundle.names import is_hash
from leaderboard.database.engine import clock
from leaderboard.database.models import Account, Token


PREFIX: Final = "ra_"
_TOKEN: Final = re.compile(r"ra_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")


class AccountError(RobustArenaError, ValueError):
    """An account or token that does not exist or cannot be made. Says what was expected."""


class TokenFacts(msgspec.Struct, frozen=True):
    """A token without its secret. created, revoked: seconds since 1970."""

    prefix: str
    account: str
    name: str
    note: str
    created: float
    revoked: float | None


def issue_token(session: Session, account: str, name: str, note: str = "") -> str:
    """Makes a token for an account, and the account where it is new. Returns the token, which cannot be had again.

    account: the submitter's public key in hexadecimal digits. Raises AccountError and BundleError.
    """
    if not is_hash(account):
        raise AccountError(f"account {account[:80]!r}: expected a public key, 64 hexadecimal digits in lower case")
    if note:
        checked_text("note", note, 200)
    moment = clock(session)
    if session.get(Account, account) is None:
        session.add(Account(key=account, name=checked_text("name", name), created=moment))
        session.flush()
    prefix = PREFIX + secrets.token_hex(4)
    token = f"{prefix}_{secrets.token_urlsafe(32)}"
    session.add(Token(prefix=prefix, hash=_hash(token), account=account, note=note, created=moment, revoked=None))
    return token


def revoke_token(session: Session, prefix: str) -> None:
    """Ends a token, named by its first characters, `ra_` and eight digits. Raises AccountError for an unknown one."""
    prefix = "_".join(prefix.split("_")[:2])  # a whole token may be named as well
    ended = session.scalars(
        update(Token)
        .where(Token.prefix == prefix, Token.revoked.is_(None))
        .values(revoked=clock(session))
        .returning(Token.id)
    ).first()
    if ended is not None:
        return
    if session.scalars(select(Token).where(Token.prefix == prefix)).first() is None:
        raise AccountError(f"no token starts with {prefix[:40]!r}; `robustarena token list` names them")


def list_tokens(session: Session) -> tuple[TokenFacts, ...]:
    """Every token ever issued, the oldest first."""
    rows = session.execute(select(Token, Account.name).join(Account, Account.key == Token.account).order_by(Token.id))
    return tuple(
        TokenFacts(token.prefix, token.account, name, token.note, token.created, token.revoked) for token, name in rows
    )


def account_of_token(session: Session, token: str) -> str | None:
    """The account that a token may submit for; None where it is unknown, malformed or revoked.

    It is found by its hash, so the time that the search takes tells nothing about any other token.
    """
    if not _TOKEN.fullmatch(token):
        return None
    found = select(Token.account).where(Token.hash == _hash(token), Token.revoked.is_(None))
    return session.scalars(found).first()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("ascii")).hexdigest()
