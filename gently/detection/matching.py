"""Which of the objects found are the ones known already."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy  # its first use loads scipy.optimize: a start is half a second sooner

__all__ = ["GATE_UM", "Matches", "match"]

GATE_UM: Final = 20.0
"""How far an object may have moved: less than the distance of two embryos that touch."""

Place = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Who is who.

    Attributes
    ----------
    names
        The name of each found object that is known, by its label.
    new
        The labels of those that are not.
    absent
        The names of those that were not found.
    """

    names: Mapping[int, str]
    new: tuple[int, ...]
    absent: tuple[str, ...]


def match(
    known: Mapping[str, Place], found: Mapping[int, Place], gate_um: float = GATE_UM
) -> Matches:
    """Give found objects the names of the known ones, so that embryo 3 stays embryo 3.

    As many as possible are matched, and among the ways to do so the one with the least
    distance in all. Each name and each label is used at most once.

    Parameters
    ----------
    known
        Stage (x, y) in µm by name, of those that could be in the picture.
    found
        Stage (x, y) in µm by label.
    gate_um
        What is farther apart is not the same.
    """
    names, labels = list(known), list(found)
    pairs: dict[int, str] = {}
    if names and labels:
        here, there = np.array([*known.values()]), np.array([*found.values()])
        apart_um = np.linalg.norm(here[:, None] - there[None, :], axis=2)
        near = apart_um <= gate_um
        # Dearer than all matches together: no near pair is given up to make others nearer.
        never = gate_um * (min(apart_um.shape) + 1) + 1
        costs = np.where(near, apart_um, never)
        for row, column in zip(*scipy.optimize.linear_sum_assignment(costs), strict=True):
            if near[row, column]:
                pairs[labels[column]] = names[row]
    return Matches(
        names=pairs,
        new=tuple(label for label in labels if label not in pairs),
        absent=tuple(sorted(set(names) - set(pairs.values()), key=names.index)),
    )
