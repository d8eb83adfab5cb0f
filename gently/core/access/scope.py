"""Scopes, each of which includes those below it, and who has them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

__all__ = ["Principal", "PrincipalKind", "Scope"]

PrincipalKind = Literal["person", "agent"]


class Scope(StrEnum):
    """What a key is good for; ordered, and each includes those below.

    The order is that of the members, not of the letters: as plain strings ``"admin"`` would
    be the least.
    """

    VIEW = "view"
    PROPOSE = "propose"
    OPERATE = "operate"
    ADMIN = "admin"

    def __lt__(self, other: str) -> bool:
        return self._rank < Scope(other)._rank

    def __le__(self, other: str) -> bool:
        return self._rank <= Scope(other)._rank

    def __gt__(self, other: str) -> bool:
        return self._rank > Scope(other)._rank

    def __ge__(self, other: str) -> bool:
        return self._rank >= Scope(other)._rank

    @property
    def _rank(self) -> int:
        return list(Scope).index(self)


@dataclass(frozen=True)
class Principal:
    """Who asks.

    Parameters
    ----------
    name
        What people call them; goes into items and logs.
    key_id
        Tells which of their keys they came with; never the key.
    kind
        A person, or an agent, from whom a person may take over at any time.
    scope
        What they may do.
    """

    name: str
    key_id: str
    kind: PrincipalKind
    scope: Scope
