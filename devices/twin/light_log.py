"""The twin's own account of the light, on the disk, so that it outlives the process.

A test that kills the device layer compares it with the ledger of light. It is computed from what
lets light through and from nothing that the ledger knows. A line is JSON:

``{"life": seed}``
    A process has begun.
``{"will": light}``
    What the run of the scan card that goes on now will give until its end.
``{"lit": light}``
    What was given since the last line: all of a run, or the part of it until it was cut.

A ``will`` that no ``lit`` follows in its life is a run that the process died under. A light is
``{"ms": …, "uj": …, "embryos": {index: {"ms": …, "uj": …}}}``: for how long, how much, and of both
what fell on which embryo of the sample.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["LightAccount", "LightLog", "Portion"]


@dataclass(frozen=True)
class Portion:
    """Some light.

    Parameters
    ----------
    ms
        For how long each line shone, added up.
    uj
        Power times time.
    """

    ms: float = 0.0
    uj: float = 0.0

    def __add__(self, other: "Portion") -> "Portion":
        return Portion(self.ms + other.ms, self.uj + other.uj)


class LightLog:
    """Writes lines, each by one call of the system: what is written stays, whatever dies.

    Parameters
    ----------
    path
        Of the file, to which lines are added.
    seed
        Of the world that begins.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._path = path
        self.write("life", seed)

    def write(self, kind: str, what: Any) -> None:
        """Add a line."""
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps({kind: what}).encode() + b"\n")


@dataclass
class LightAccount:
    """What a log says.

    Attributes
    ----------
    total, embryos
        All light that was given, and what of it fell on each embryo, by its index.
    died_under
        What the runs under which a process died would have given to each embryo.
    lives
        How many processes there were.
    """

    total: Portion = Portion()
    embryos: dict[int, Portion] = field(default_factory=dict)
    died_under: list[dict[int, Portion]] = field(default_factory=list)
    lives: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what the log at a path says; its last line may be cut."""
        account = cls()
        will: dict[int, Portion] | None = None
        for kind, what in _lines(path):
            if kind == "life":
                account.lives += 1
                account._died(will)
                will = None
            elif kind == "will":
                will = _embryos(what)
            else:
                will = None
                account.total += _portion(what)
                for index, portion in _embryos(what).items():
                    account.embryos[index] = account.embryos.get(index, Portion()) + portion
        account._died(will)
        return account

    def _died(self, will: dict[int, Portion] | None) -> None:
        if will is not None:
            self.died_under.append(will)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield from json.loads(line).items()


def _portion(said: Mapping[str, Any]) -> Portion:
    return Portion(said["ms"], said["uj"])


def _embryos(said: Mapping[str, Any]) -> dict[int, Portion]:
    return {int(index): _portion(one) for index, one in said["embryos"].items()}
