"""What is left of an item whose process died under it: its runs, its volumes, its unfinished files.

Nothing is guessed: runs are looked for among the documents, volumes in the store, and what was
unfinished is what the store has swept away.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from gently.core.items import Item, Leftovers, Result
from gently.core.lifecycle import Step
from storage import DocumentStore, KeptRun, VolumeStore

__all__ = ["Aftermath", "died_under"]

_COARSE: Final = timedelta(seconds=2)
"""How much earlier than the clock a file system may date a file."""


class Aftermath:
    """Accounts for an item that was interrupted.

    Parameters
    ----------
    documents, store
        Where its runs and its volumes are.
    removed
        The unfinished files that were found, and are no more.
    """

    def __init__(
        self, documents: DocumentStore, store: VolumeStore, removed: Sequence[Path]
    ) -> None:
        self._documents = documents
        self._store = store
        self._removed = tuple(path.name for path in removed)

    def __call__(self, item: Item) -> Result:
        """Return what has become of it; reads the files of all runs since it began."""
        began = datetime.fromtimestamp(item.time_start or 0.0, UTC)
        runs = [
            run
            for run in self._documents.runs(since=began - _COARSE)
            if run.start.get("item_uid") == item.item_uid
        ]
        leftovers = Leftovers(
            open_run_uids=tuple(run.run_uid for run in runs if run.stop is None),
            volume_uids=self._volumes(item, began, "complete"),
            incomplete_uids=self._volumes(item, began, "incomplete"),
            removed=self._removed,
        )
        return died_under(item, runs, leftovers)

    def _volumes(
        self, item: Item, began: datetime, status: Literal["complete", "incomplete"]
    ) -> tuple[str, ...]:
        found = self._store.query(since=began, status=status)
        return tuple(record.uid for record in found if record.spec.item_uid == item.item_uid)


def died_under(
    item: Item,
    runs: Sequence[KeptRun] = (),
    leftovers: Leftovers = Leftovers(),  # noqa: B008 - it is frozen
) -> Result:
    """Return the result of an item whose process has died while it ran."""
    in_order = sorted(runs, key=lambda run: float(run.start["time"]))
    now = time.time()
    return Result(
        exit_status=str(Step.INTERRUPT),
        time_start=item.time_start or now,
        time_stop=now,
        run_uids=tuple(run.run_uid for run in in_order),
        scan_ids=tuple(int(run.start["scan_id"]) for run in in_order),
        msg="The device layer ended while this ran, and found so when it was started. "
        + _words(leftovers),
        leftovers=leftovers,
    )


def _words(left: Leftovers) -> str:
    sentences = {
        "Published before: volume": left.volume_uids,
        "Kept, though incomplete: volume": left.incomplete_uids,
        "Unfinished, and removed:": left.removed,
        "Its documents are cut off: run": left.open_run_uids,
    }
    said = [f"{what} {', '.join(names)}." for what, names in sentences.items() if names]
    return " ".join(said) or "It has left neither volume nor run."
