"""How far the present step of a plan has come, in the words of whoever does it.

A status that can be watched tells it (frames taken, micrometres gone), and so does a sleep,
which has no status: it says in its message how much of which wait it is.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from bluesky.utils import Msg

__all__ = ["Progress"]

_EVERY_S: Final = 0.1
_LEAST_SLEEP_S: Final = 1.0


class Progress:
    """Listens to a RunEngine and publishes at most ten ``item.progress`` a second, and each end.

    Its methods are called on the RunEngine's loop and on the threads of devices.

    Parameters
    ----------
    publish
        Called with the event's kind and data.
    item_uid
        Of the item that runs; None if none does.
    """

    def __init__(self, publish: Callable[..., Any], item_uid: Callable[[], str | None]) -> None:
        self._publish = publish
        self._item_uid = item_uid
        self._told = 0.0
        self.latest: dict[str, Any] | None = None
        """What was found last; None if the present step does not tell."""

    def forget(self) -> None:
        """Begin anew: the item has ended."""
        self.latest = None
        self._told = 0.0

    def watch(self, statuses: Iterable[Any] | None) -> None:
        """Watch what the RunEngine waits for: its ``waiting_hook``."""
        for status in statuses or ():
            if watch := getattr(status, "watch", None):
                watch(self._hear)

    def hear(self, msg: Msg) -> None:
        """Look at a message that the RunEngine is about to carry out: its ``msg_hook``.

        A sleep that is part of a longer wait has ``done_s`` and ``of_s`` among its keywords.
        """
        if msg.command != "sleep":
            return
        done_s = float(msg.kwargs.get("done_s", 0.0))
        of_s = float(msg.kwargs.get("of_s", msg.args[0]))
        self.wait(done_s, of_s)

    def wait(self, done_s: float, of_s: float) -> None:
        """Tell how far a wait has come."""
        if of_s >= _LEAST_SLEEP_S:
            self._tell("sleep", done_s, of_s, "s", done_s / of_s, of_s - done_s)

    def _hear(self, *, fraction: float | None = None, **said: Any) -> None:
        """Take Bluesky's progress keywords, whose `fraction` is what remains."""
        if fraction is None or "current" not in said:
            return  # ophyd's plain statuses: no more than a name, and "all" at an end of any kind
        self._tell(
            said.get("name"),
            said["current"],
            said.get("target"),
            said.get("unit"),
            1 - fraction,
            said.get("time_remaining"),
        )

    def _tell(
        self,
        name: str | None,
        current: Any,
        target: Any,
        unit: str | None,
        fraction: float,
        seconds_left: float | None,
    ) -> None:
        self.latest = {
            "name": name,
            "current": current,
            "target": target,
            "unit": unit,
            "fraction": fraction,
            "seconds_left": seconds_left,
        }
        now = time.monotonic()
        if fraction < 1 and now - self._told < _EVERY_S:
            return
        self._told = now
        self._publish("item.progress", item_uid=self._item_uid(), **self.latest)
