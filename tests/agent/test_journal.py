"""Every line that was given to the copilot is in the lineage, above what it caused."""

import getpass

import pytest

from gently.agent.journal import Journal, Prompt, new_session_id, user
from gently.core.data_store import DataStore
from gently.wire import Item


def test_a_prompt_is_recorded_between_its_session_and_its_item(data_store: DataStore) -> None:
    prompt = Prompt("snap exposure_ms=2")
    item = Item(item_uid="i1", name="snap", kwargs={"exposure_ms": 2.0})
    Journal(data_store, "s", "ada").record(prompt, item)
    session, recorded = data_store.ancestors("i1")
    assert (session.uid, session.kind) == ("s", "session")
    assert (recorded.uid, recorded.kind) == (prompt.uid, "prompt")
    assert recorded.metadata == {"text": "snap exposure_ms=2", "who": "ada"}
    assert data_store.record("i1").metadata == {"name": "snap", "kwargs": {"exposure_ms": 2.0}}


def test_a_prompt_that_caused_nothing_is_recorded_all_the_same(data_store: DataStore) -> None:
    prompt = Prompt("aquire")
    Journal(data_store, "s", "ada").record(prompt)
    assert [r.uid for r in data_store.children("s")] == [prompt.uid]
    assert data_store.children(prompt.uid) == []


def test_a_prompt_of_no_session_has_no_origin(data_store: DataStore) -> None:
    prompt = Prompt("status")
    Journal(data_store, None, "").record(prompt)
    assert data_store.parents(prompt.uid) == []


def test_an_item_carries_its_prompt_and_the_session_that_was_chosen() -> None:
    prompt = Prompt("snap")
    assert prompt.meta("s") == {"prompt_uid": prompt.uid, "session_id": "s"}
    assert prompt.meta(None) == {"prompt_uid": prompt.uid}


def test_sessions_and_prompts_never_share_an_id() -> None:
    assert len({new_session_id() for _ in range(100)}) == 100
    assert len({Prompt("snap").uid for _ in range(100)}) == 100


def test_a_user_without_a_name_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    assert user() == getpass.getuser()
    monkeypatch.setattr(getpass, "getuser", nameless)
    assert user() == ""
