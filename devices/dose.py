"""The light that a sample is given, counted."""

from dataclasses import dataclass
from typing import Self

__all__ = ["Dose", "DoseBudget"]


@dataclass(frozen=True)
class Dose:
    """An amount of light.

    Parameters
    ----------
    light_ms
        For how long.
    energy_mj
        How much; None if some of it was of a power that nobody has measured.
    """

    light_ms: float = 0.0
    energy_mj: float | None = 0.0

    @classmethod
    def of(cls, seconds: float, power_mw: float | None) -> Self:
        """Return the light of a power, for so long."""
        return cls(1000 * seconds, None if power_mw is None else seconds * power_mw)

    def __add__(self, other: "Dose") -> "Dose":
        energies = (self.energy_mj, other.energy_mj)
        known = [energy for energy in energies if energy is not None]
        return Dose(self.light_ms + other.light_ms, sum(known) if len(known) == 2 else None)

    def __sub__(self, other: "Dose") -> "Dose":
        energy_mj = None if other.energy_mj is None else -other.energy_mj
        return self + Dose(-other.light_ms, energy_mj)


@dataclass(frozen=True)
class DoseBudget:
    """The most light that one embryo may be given; None where that is not bounded.

    Parameters
    ----------
    light_ms
        For how long.
    energy_mj
        How much. What is of unknown power is then too much.
    """

    light_ms: float | None = None
    energy_mj: float | None = None

    def excess(self, dose: Dose) -> str | None:
        """Return in words by what a dose is beyond the budget; None if it is not."""
        if self.light_ms is not None and dose.light_ms > self.light_ms:
            return f"{dose.light_ms:.6g} ms of light, of {self.light_ms:.6g} ms"
        if self.energy_mj is None or dose.light_ms == 0:
            return None
        if dose.energy_mj is None:
            return f"light of unknown power, of {self.energy_mj:.6g} mJ"
        if dose.energy_mj > self.energy_mj:
            return f"{dose.energy_mj:.6g} mJ, of {self.energy_mj:.6g} mJ"
        return None
