"""A small cache for values that are dear to compute and never change."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Remembers the results of ``compute`` for the ``capacity`` keys used most recently.

    Safe for any thread. Threads that ask for the same key at the same time share one computation:
    a page asks for its three projections at once and the volume is still read once. A failure goes
    to all that wait for it and is not remembered.
    """

    def __init__(self, compute: Callable[[K], V], capacity: int) -> None:
        self._compute = compute
        self._capacity = capacity
        self._lock = threading.Lock()
        self._results: OrderedDict[K, Future[V]] = OrderedDict()

    def __call__(self, key: K) -> V:
        """Return the value for ``key``, computing it or waiting for another thread to do so."""
        with self._lock:
            result = self._results.get(key)
            if found := result is not None:
                self._results.move_to_end(key)
            else:
                result = self._results[key] = Future()
                if len(self._results) > self._capacity:
                    self._results.popitem(last=False)
        if not found:
            self._fulfil(key, result)
        return result.result()

    def _fulfil(self, key: K, result: Future[V]) -> None:
        try:
            result.set_result(self._compute(key))
        except BaseException as error:
            with self._lock:
                if self._results.get(key) is result:
                    del self._results[key]
            result.set_exception(error)
            raise
