"""The ledger of light: what each embryo was given, ``{storage}/dose.sqlite``.

A line is written before the light goes on, with what the controller is told and the power that
was read back. What turns out to be less is put right: nothing, if the light never went on; what it
shone at most until it was off, if the volume was stopped. So whatever dies, the ledger never says
less than was given. Lines are never removed. A ledger that is lost is made again from the volumes,
as far as these are there: each says in its metadata what its light was to be.
"""

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, get_args

from devices import Dose, DoseBudget, DoseError
from gently.core.errors import GentlyError
from storage import Status, VolumeRecord, VolumeSpec, VolumeStore

__all__ = [
    "DoseLedger",
    "DoseLedgerError",
    "EmbryoDose",
    "PlannedLight",
]

LOGGER = logging.getLogger(__name__)
_VERSION: Final = 2
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE light (
    uid TEXT PRIMARY KEY, begun REAL NOT NULL, session_id TEXT NOT NULL, embryo TEXT NOT NULL,
    light_ms REAL NOT NULL, energy_mj REAL, requested_mj REAL, planned_ms REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX light_of_embryo
    ON light (embryo, session_id, light_ms, energy_mj, requested_mj, planned_ms);
PRAGMA user_version = 2;
COMMIT;
"""
_FROM_1: Final = """
BEGIN IMMEDIATE;
ALTER TABLE light ADD COLUMN requested_mj REAL;
ALTER TABLE light ADD COLUMN planned_ms REAL NOT NULL DEFAULT 0;
UPDATE light SET planned_ms = light_ms;
DROP INDEX light_of_embryo;
CREATE INDEX light_of_embryo
    ON light (embryo, session_id, light_ms, energy_mj, requested_mj, planned_ms);
PRAGMA user_version = 2;
COMMIT;
"""
_COLUMNS: Final = """
count(*), sum(light_ms), sum(energy_mj), sum(energy_mj IS NULL AND light_ms > 0),
    sum(requested_mj), sum(requested_mj IS NULL AND light_ms > 0), sum(planned_ms)
FROM light WHERE (?1 IS NULL OR embryo = ?1) AND (?2 IS NULL OR session_id = ?2)
"""
_SUMS: Final = f"""
SELECT embryo, session_id, {_COLUMNS}
GROUP BY embryo, session_id ORDER BY embryo, min(begun)
"""
_TOTAL: Final = f"SELECT {_COLUMNS}"
_GIVEN: Final = """
UPDATE light SET
    energy_mj = iif(?2 > 0, energy_mj * ?2 / light_ms, 0),
    requested_mj = iif(?2 > 0, requested_mj * ?2 / light_ms, 0),
    light_ms = ?2
WHERE uid = ?1
"""


class DoseLedgerError(GentlyError):
    """The ledger of light cannot be read or written; says which and why."""


@dataclass(frozen=True)
class EmbryoDose:
    """The light that an embryo was given in a session.

    Parameters
    ----------
    embryo, session_id
        Which; empty if nobody has said.
    volumes
        For how many volumes, whatever became of them.
    dose
        In all; its energy by the powers that were read back.
    requested_mj
        The energy by the powers that were asked for; None if some was not known.
    planned_ms
        What it was to be; more than it was given, where volumes were stopped.
    """

    embryo: str
    session_id: str
    volumes: int
    dose: Dose
    requested_mj: float | None = 0.0
    planned_ms: float = 0.0


@dataclass(frozen=True)
class PlannedLight:
    """What a volume says that its light was to be.

    Parameters
    ----------
    dose
        In all; its energy by the power that was read back.
    requested_mj
        Its energy by the power that was asked for; None if it is not known.
    slice_ms
        How long the controller takes for a slice, in which it pulses once; None if the light is
        on all the time.
    slices
        How many there are to be.
    number
        Of the volume, among several that are taken without a pause; from 0.
    stacks_before
        Of those and of the other side, which come before it.
    ahead
        How many more the controller will take by itself after it.
    """

    dose: Dose
    requested_mj: float | None = None
    slice_ms: float | None = None
    slices: int = 1
    number: int = 0
    stacks_before: int = 0
    ahead: int = 0

    @classmethod
    def of(cls, spec: VolumeSpec) -> "PlannedLight":
        """Return it of a volume; of one that says nothing, its exposures."""
        said, slices = _mapping(spec.metadata.get("light")), spec.shape[0]
        lit_ms = _number(said.get("lit_ms"))
        if lit_ms is None:
            return cls(Dose(slices * spec.exposure_ms, None), slices=slices)
        siblings = spec.metadata.get("siblings")
        views = 1 + len(siblings) if isinstance(siblings, list) else 1
        is_second = views > 1 and spec.metadata.get("view") == "b"
        number = int(_number(_mapping(spec.metadata.get("repeat")).get("number")) or 0)
        row, round_ = (int(_number(said.get(name)) or 1) for name in ("row", "round"))
        return cls(
            Dose.of(lit_ms / 1000, _number(said.get("power_mw"))),
            Dose.of(lit_ms / 1000, _number(said.get("requested_mw"))).energy_mj,
            _number(said.get("slice_ms")),
            slices,
            number=number,
            stacks_before=views * number + is_second,
            ahead=max(0, min(row - 1 - number, round_ - 1 - number % round_)),
        )

    @property
    def at_most(self) -> Dose:
        """Its light and that of the volumes that the controller takes after it by itself."""
        return sum([self.dose] * self.ahead, self.dose)

    def given_ms(self, lit_s: float) -> float:
        """Return for how long it has shone at most, with what came after it by itself.

        Parameters
        ----------
        lit_s
            From the light of the first of its row being let through to its being off.
        """
        planned_ms = self.dose.light_ms
        if self.slice_ms is None:
            return min(planned_ms, 1000 * lit_s)
        pulses = math.ceil(1000 * lit_s / self.slice_ms) - self.stacks_before * self.slices
        return planned_ms * min(1.0 + self.ahead, max(0, pulses) / self.slices)


@dataclass
class _Row:
    """Volumes that are taken without a pause, often one: since when, and the newest of them."""

    newest_uid: str
    lit_since_s: float | None = None


class DoseLedger:
    """Adds up the light; safe from any thread.

    Parameters
    ----------
    path
        Of the file, made if it is not there.
    store
        From whose volumes it is made then.
    budget
        The most light for one embryo, beyond which no volume is begun; None sets no bound.

    Raises
    ------
    DoseLedgerError
        If it is none of ours, damaged, or of a later version.
    """

    def __init__(self, path: Path, store: VolumeStore, budget: DoseBudget | None = None) -> None:
        self._path = path
        self._budget = budget or DoseBudget()
        self._using = threading.Lock()
        self._row: dict[str, _Row] = {}
        """By camera, the latest row of volumes that were taken without a pause."""
        with self._explained():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare(store)

    def close(self) -> None:
        """Close the file."""
        with self._using:
            self._db.close()

    # ------------------------------------------------------------------ writing

    @contextmanager
    def beginning(self, spec: VolumeSpec) -> Iterator[None]:
        """Note a volume that is about to be begun, with what is planned of its light.

        What the controller will take after it by itself is counted with it, until that is begun.

        Raises
        ------
        DoseError
            If it would be more than its embryo may have.
        """
        light = PlannedLight.of(spec)
        row = self._row.get(spec.camera)
        if light.number and row is not None:
            self.given(row.newest_uid, light.dose.light_ms)
            row.newest_uid = spec.uid
        else:
            self._row[spec.camera] = row = _Row(spec.uid)
        self._check(spec.embryo, light)
        self._insert([(spec, datetime.now(UTC), light.at_most)])
        try:
            yield
        except BaseException:
            self.unlit(spec)
            raise

    def lit(self, spec: VolumeSpec) -> None:
        """Note that the light of a volume is on, or is about to be."""
        row = self._row[spec.camera]
        if row.lit_since_s is None:
            row.lit_since_s = time.monotonic()

    def unlit(self, spec: VolumeSpec) -> None:
        """Note that a volume was given up before its light went on."""
        if self._row[spec.camera].lit_since_s is None:  # else that of the one before is on
            self.given(spec.uid, 0.0)

    def dark(self, spec: VolumeSpec) -> None:
        """Note that the light is off, read back, before a volume was whole."""
        since_s = self._row[spec.camera].lit_since_s
        if since_s is not None:
            light = PlannedLight.of(spec)
            self.given(spec.uid, light.given_ms(time.monotonic() - since_s))

    def given(self, uid: str, light_ms: float) -> None:
        """Note what light a volume had; if that fails, it counts as planned."""
        try:
            with self._using, self._explained():
                self._db.execute(_GIVEN, (uid, light_ms))
        except DoseLedgerError as error:
            LOGGER.warning("the light of %s is counted as planned: %s", uid, error)

    # ------------------------------------------------------------------ reading

    def total(self, embryo: str) -> Dose:
        """Return the light that an embryo was given in all."""
        return sum((found.dose for found in self.doses(embryo=embryo)), Dose())

    def doses(
        self, *, embryo: str | None = None, session: str | None = None
    ) -> Sequence[EmbryoDose]:
        """Return the light of each embryo in each session, or of those that are asked for."""
        return self.account(embryo=embryo, session=session)[0]

    def account(
        self, *, embryo: str | None = None, session: str | None = None
    ) -> tuple[Sequence[EmbryoDose], EmbryoDose]:
        """Return the same, and all of it as one, at one moment."""
        asked = (embryo, session)
        with self._using, self._explained():
            rows = self._db.execute(_SUMS, asked).fetchall()
            (total,) = self._db.execute(_TOTAL, asked).fetchall()
        return [_dose(*row) for row in rows], _dose(embryo or "", session or "", *total)

    # ------------------------------------------------------------------ beneath

    def _prepare(self, store: VolumeStore) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        ((version,),) = self._db.execute("PRAGMA user_version").fetchall()
        if version > _VERSION:
            raise DoseLedgerError(
                f"{self._path} was written by a later version of gently; use that one, or move the "
                "file away: it is then made again from the volumes that are there"
            )
        if version == 1:
            self._db.executescript(_FROM_1)
        elif version < _VERSION:
            self._db.executescript(_SCHEMA)
            self._insert(
                [(one.spec, one.created, PlannedLight.of(one.spec).dose) for one in _all(store)]
            )

    def _check(self, embryo: str, light: PlannedLight) -> None:
        if not embryo or self._budget == DoseBudget():
            return
        had = self.total(embryo)
        if excess := self._budget.excess(had + light.at_most):
            raise DoseError(
                f"{embryo} would have had {excess} that one embryo may have, and had "
                f"{had.light_ms:.6g} ms: the volume is not begun. Leave it alone, or raise the "
                "budget in the settings."
            )

    def _insert(self, volumes: Sequence[tuple[VolumeSpec, datetime, Dose]]) -> None:
        rows = []
        for spec, begun, dose in volumes:
            light = PlannedLight.of(spec)
            requested_mj = light.requested_mj
            if requested_mj is not None and light.dose.light_ms:
                requested_mj *= dose.light_ms / light.dose.light_ms
            row = (spec.uid, begun.timestamp(), spec.session_id, spec.embryo)
            amounts = (dose.light_ms, dose.energy_mj, requested_mj, light.dose.light_ms)
            rows.append((*row, *amounts))
        with self._using, self._explained():
            self._db.executemany(
                "INSERT OR IGNORE INTO light VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DoseLedgerError(
                f"the ledger of light {self._path} cannot be used: {error}. Look for space on the "
                "disk and for the right to write; if it is damaged, move it away: it is then made "
                "again from the volumes that are there."
            ) from error


def _dose(
    embryo: str,
    session_id: str,
    volumes: int,
    light_ms: float | None,
    energy_mj: float | None,
    unknown: int | None,
    requested_mj: float | None,
    not_said: int | None,
    planned_ms: float | None,
) -> EmbryoDose:
    return EmbryoDose(
        embryo,
        session_id,
        volumes,
        Dose(light_ms or 0.0, None if unknown else energy_mj or 0.0),
        None if not_said else requested_mj or 0.0,
        planned_ms or 0.0,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _all(store: VolumeStore) -> Iterator[VolumeRecord]:
    for status in get_args(Status):
        yield from store.query(status=status)
