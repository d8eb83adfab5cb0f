"""What was typed, and what it caused, goes into the lineage: session → prompt → item."""

import getpass
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import JsonValue

from gently.core.data_store import DataStore
from gently.wire import Item


def now() -> str:
    """Return the time, ISO, UTC."""
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True)
class Prompt:
    """One line given to the copilot.

    Attributes
    ----------
    text : str
        As it was given.
    uid : str
        Its name in the lineage; known before anything is written, so that nobody who wants
        to stop the microscope waits for that.
    asked : str
        ISO time, UTC.
    """

    text: str
    uid: str = field(default_factory=lambda: uuid4().hex)
    asked: str = field(default_factory=now)

    def meta(self, session_id: str | None) -> dict[str, JsonValue]:
        """Return what an item that it causes carries into its documents and files."""
        meta: dict[str, JsonValue] = {"prompt_uid": self.uid}
        return meta if session_id is None else {**meta, "session_id": session_id}


class Journal:
    """Writes one session's prompts into the lineage; may be used from several threads.

    Parameters
    ----------
    data_store : DataStore
        Where.
    session_id : str or None
        The session they belong to, if there is one.
    who : str
        Who types.

    Attributes
    ----------
    session_id : str or None
        As given.
    """

    def __init__(self, data_store: DataStore, session_id: str | None, who: str) -> None:
        self._data_store = data_store
        self.session_id = session_id
        self._who = who

    def record(self, prompt: Prompt, item: Item | None = None) -> None:
        """Record a prompt, and the item that it caused, if it did.

        Raises
        ------
        DataStoreError
            If the lineage cannot be written.
        """
        store, asked = self._data_store, prompt.asked
        origins = [] if self.session_id is None else [self.session_id]
        for uid in origins:
            store.add("session", uid, created=asked)
        text: dict[str, JsonValue] = {"text": prompt.text, "who": self._who}
        store.add("prompt", prompt.uid, text, parents=origins, created=asked)
        if item is not None:
            plan: dict[str, JsonValue] = {"name": item.name, "kwargs": dict(item.kwargs)}
            store.add("item", item.item_uid, plan, parents=[prompt.uid])


def new_session_id() -> str:
    """Return an id for a session that begins now."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:6]}"


def user() -> str:
    """Return the login of whoever runs this process; empty where there is none."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""
