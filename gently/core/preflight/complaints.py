"""What a plan complains of while it is followed: its warnings."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["Ear"]

# For those who write plans, and not for those who run them.
_FOR_PROGRAMMERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


class Ear:
    """Hears `warnings.warn` of one thread; Python has but one way of warning for all threads."""

    def __init__(self) -> None:
        self._listening = threading.Lock()

    @contextmanager
    def listening(self, hear: Callable[[str], None]) -> Iterator[None]:
        """Call `hear` with each warning of this thread; one thread at a time, so be short."""
        mine = threading.get_ident()

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if threading.get_ident() == mine:
                hear(str(message))
            else:
                others(message, category, filename, lineno, file, line)

        with self._listening, warnings.catch_warnings():
            others = warnings.showwarning
            warnings.simplefilter("always")
            for category in _FOR_PROGRAMMERS:
                warnings.simplefilter("ignore", category)
            warnings.showwarning = show
            yield
