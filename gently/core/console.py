"""What this process logs, kept for a while, for those who watch from elsewhere."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gently.core.events import Event, EventLog

__all__ = ["Console", "line"]

_LINES = 2_000
_KIND = "line"


class Console(logging.Handler):
    """Keeps the last lines of the log; from any thread, never waiting for a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.lines = EventLog(_LINES)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Take what every logger of this process says."""
        logging.getLogger().addHandler(self)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self)
            self.lines.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of one record."""
        try:
            self.lines.publish(_KIND, msg=self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - as every handler: a record that cannot be formatted
            self.handleError(record)

    def update(self, uid: str) -> tuple[str, list[dict[str, Any]]]:
        """Return the uid to ask with the next time, and the lines after this one."""
        lines = self._after(uid)
        return (str(lines[-1].seq) if lines else self.last_uid), [line(event) for event in lines]

    def last(self, count: int) -> list[dict[str, Any]]:
        """Return the last lines."""
        lines = self.lines.after(0)
        return [line(event) for event in lines[max(0, len(lines) - count) :]]

    @property
    def last_uid(self) -> str:
        """The uid of the last line."""
        return str(self.lines.last_seq)

    def _after(self, uid: str) -> list[Event]:
        """Return the lines after this one; none if it is not known, and for "ALL" what there is."""
        if uid == "ALL":
            return self.lines.after(0)
        if not (uid.isascii() and uid.isdigit() and 0 < len(uid) < 20 and int(uid)):
            return []
        lines = self.lines.after(int(uid))
        is_lost = bool(lines) and lines[0].kind != _KIND
        return [] if is_lost else lines


def line(event: Event) -> dict[str, Any]:
    """Return a line as Bluesky's clients read it."""
    return {"time": event.time, "msg": event.data["msg"]}
