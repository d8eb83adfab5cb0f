"""Parts of a plan that are alike: two are followed, the others taken to come to the same.

Two, because the first may begin elsewhere; from the second on each begins where one has ended.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from devices import Models, Use

__all__ = ["Alikes"]


@dataclass(frozen=True)
class _Cost:
    """What a part has come to."""

    seconds: float
    messages: int
    uses: dict[str, Use]


class Alikes:
    """Follows the first two parts of each key, and charges the cost of the second for the others.

    Parameters
    ----------
    models
        What the parts are charged to.

    Attributes
    ----------
    messages
        How many were not followed.
    """

    def __init__(self, models: Models) -> None:
        self.messages = 0
        self._models = models
        self._firsts: set[Hashable] = set()
        self._costs: dict[Hashable, _Cost] = {}
        self._begun: dict[Hashable, _Cost] = {}

    def begin(self, key: Hashable, message: int) -> bool:
        """Return whether the part that begins is to be followed; if not, it is charged.

        Parameters
        ----------
        key
            The same for all that are alike.
        message
            The number of the message.
        """
        if (cost := self._costs.get(key)) is not None:
            self._charge(cost)
            return False
        uses = {model.device.name: model.use.copy() for model in self._models}
        self._begun[key] = _Cost(self._models.now_s, message, uses)
        return True

    def end(self, key: Hashable, message: int) -> None:
        """Note what the part has come to that ends."""
        begun = self._begun.pop(key)
        if key not in self._firsts:
            self._firsts.add(key)
            return
        uses = {
            model.device.name: model.use.since(begun.uses.get(model.device.name, Use()))
            for model in self._models
        }
        seconds = self._models.now_s - begun.seconds
        self._costs[key] = _Cost(seconds, message - begun.messages, uses)

    def _charge(self, cost: _Cost) -> None:
        self._models.now_s += cost.seconds
        self.messages += cost.messages
        for model in self._models:
            if use := cost.uses.get(model.device.name):
                model.use.add(use)
