"""The ledger of light: what each embryo was given, ``{storage}/dose.sqlite``.

A line is written before the light goes on, with what the controller is told and the power that
was read back, and taken back if it never went on: a process that dies under a volume, or a volume
that falls short, leaves its light in the ledger. Lines are never removed. A ledger that is lost is
made again from the volumes, as far as these are there: each says in its metadata what its light
was to be.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, get_args

from devices import Dose
from gently.core.errors import GentlyError
from storage import Status, VolumeRecord, VolumeSpec, VolumeStore

__all__ = ["DoseLedger", "DoseLedgerError", "EmbryoDose", "light_of"]

LOGGER = logging.getLogger(__name__)
_VERSION: Final = 1
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE light (
    uid TEXT PRIMARY KEY, begun REAL NOT NULL, session_id TEXT NOT NULL, embryo TEXT NOT NULL,
    light_ms REAL NOT NULL, energy_mj REAL
) WITHOUT ROWID;
CREATE INDEX light_of_embryo ON light (embryo, session_id, light_ms, energy_mj);
PRAGMA user_version = 1;
COMMIT;
"""
_SUMS: Final = """
SELECT embryo, session_id, count(*), sum(light_ms), sum(energy_mj),
    sum(energy_mj IS NULL AND light_ms > 0)
FROM light WHERE (?1 IS NULL OR embryo = ?1) AND (?2 IS NULL OR session_id = ?2)
GROUP BY embryo, session_id ORDER BY embryo, min(begun)
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
        In all.
    """

    embryo: str
    session_id: str
    volumes: int
    dose: Dose


class DoseLedger:
    """Adds up the light; safe from any thread.

    Parameters
    ----------
    path
        Of the file, made if it is not there.
    store
        From whose volumes it is made then.

    Raises
    ------
    DoseLedgerError
        If it is none of ours, damaged, or of a later version.
    """

    def __init__(self, path: Path, store: VolumeStore) -> None:
        self._path = path
        self._using = threading.Lock()
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
        """Note a volume that is about to be begun, with what is planned of its light."""
        self._insert([(spec, datetime.now(UTC))])
        try:
            yield
        except BaseException:
            self.dark(spec.uid)
            raise

    def dark(self, uid: str) -> None:
        """Note that a volume was given up before the light went on; if that fails, it counts."""
        change = "UPDATE light SET light_ms = 0, energy_mj = 0 WHERE uid = ?"
        try:
            with self._using, self._explained():
                self._db.execute(change, (uid,))
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
        with self._using, self._explained():
            rows = self._db.execute(_SUMS, (embryo, session)).fetchall()
        return [
            EmbryoDose(name, session_id, volumes, Dose(ms, None if unknown else mj or 0.0))
            for name, session_id, volumes, ms, mj, unknown in rows
        ]

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
        if version < _VERSION:
            self._db.executescript(_SCHEMA)
            self._insert([(record.spec, record.created) for record in _all(store)])

    def _insert(self, volumes: Sequence[tuple[VolumeSpec, datetime]]) -> None:
        rows = []
        for spec, begun in volumes:
            dose = light_of(spec)
            row = (spec.uid, begun.timestamp(), spec.session_id, spec.embryo)
            rows.append((*row, dose.light_ms, dose.energy_mj))
        with self._using, self._explained():
            self._db.executemany("INSERT OR IGNORE INTO light VALUES (?, ?, ?, ?, ?, ?)", rows)

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


def light_of(spec: VolumeSpec) -> Dose:
    """Return what a volume says of its light; of one that says nothing, its exposures."""
    said = spec.metadata.get("light")
    if not isinstance(said, dict) or not isinstance(lit_ms := said.get("lit_ms"), int | float):
        return Dose(spec.shape[0] * spec.exposure_ms, None)
    power_mw = said.get("power_mw")
    return Dose.of(lit_ms / 1000, power_mw if isinstance(power_mw, int | float) else None)


def _all(store: VolumeStore) -> Iterator[VolumeRecord]:
    for status in get_args(Status):
        yield from store.query(status=status)
