"""A small cache for values that are dear to compute and never change."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Remembers the results of ``compute`` for the keys used most recently.

    Safe for any thread. Threads that ask for the same key at the same time share one computation:
    a page asks for its three projections at once and the volume is still read once. A failure goes
    to all that wait for it and is not remembered.

    Parameters
    ----------
    compute
        Called without a lock held.
    capacity
        What the remembered results may weigh together.
    weigh
        What a result weighs; by default each weighs 1.
    """

    def __init__(
        self, compute: Callable[[K], V], capacity: int, weigh: Callable[[V], int] = lambda _: 1
    ) -> None:
        self._compute = compute
        self._capacity = capacity
        self._weigh = weigh
        self._lock = threading.Lock()
        self._asked: dict[K, Future[V]] = {}
        self._results: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0

    def __call__(self, key: K) -> V:
        """Return the value for ``key``, computing it or waiting for another thread to do so."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key][0]
            asked = self._asked.get(key)
            if first := asked is None:
                asked = self._asked[key] = Future()
        if first:
            self._fulfil(key, asked)
        return asked.result()

    def _fulfil(self, key: K, asked: Future[V]) -> None:
        try:
            value = self._compute(key)
        except BaseException as error:
            with self._lock:
                del self._asked[key]
            asked.set_exception(error)
            raise
        with self._lock:
            del self._asked[key]
            self._remember(key, value)
        asked.set_result(value)

    def _remember(self, key: K, value: V) -> None:
        self._results[key] = value, self._weigh(value)
        self._weight += self._results[key][1]
        while self._weight > self._capacity:
            _, (_, weight) = self._results.popitem(last=False)
            self._weight -= weight
