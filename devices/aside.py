"""What may hang is done aside: on a thread of its own, for which nobody waits for ever."""

import threading
from collections.abc import Callable

__all__ = ["Aside"]


class Aside:
    """Something that is done on a thread of its own, because it may hang.

    Parameters
    ----------
    name
        Of the thread.
    work
        What is done.
    """

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        """What went wrong, once it has ended."""
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def has_ended(self, timeout_s: float) -> bool:
        """Wait for its end; False if it did not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - the top of a thread
            self.error = error
