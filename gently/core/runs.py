"""The runs of the present item, gathered from its documents."""

import threading
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

__all__ = ["Run", "RunList"]


@dataclass(frozen=True)
class Run:
    """One Bluesky run."""

    uid: str
    scan_id: int
    exit_status: str | None = None

    def message(self) -> dict[str, Any]:
        """Return it as Bluesky's queue server would send it."""
        return {
            "uid": self.uid,
            "scan_id": self.scan_id,
            "is_open": self.exit_status is None,
            "exit_status": self.exit_status,
        }


class RunList:
    """The runs that the present item has opened; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}
        self._uid = uuid4().hex

    def begin(self) -> None:
        """Forget the runs of the item before."""
        with self._lock:
            self._runs.clear()
            self._uid = uuid4().hex

    def take(self, name: str, document: dict[str, Any]) -> None:
        """Take note of a start or stop document; others change nothing."""
        with self._lock:
            if name == "start":
                self._runs[document["uid"]] = Run(document["uid"], document["scan_id"])
            elif name == "stop" and (run := self._runs.get(document["run_start"])):
                self._runs[run.uid] = replace(run, exit_status=document["exit_status"])
            else:
                return
            self._uid = uuid4().hex

    def snapshot(self) -> tuple[tuple[Run, ...], str]:
        """Return the runs in the order of their start, and the list's uid."""
        with self._lock:
            return tuple(self._runs.values()), self._uid
