"""Sessions: opened with a key, kept alive by refreshing, ended with the key."""

from pathlib import Path

import pytest

from gently.core.access import (
    AccessDatabase,
    KeyNotFoundError,
    KeyStore,
    NotAuthenticatedError,
    Principal,
    Scope,
    Sessions,
    TokenExpiredError,
)
from gently.core.access.sessions import ACCESS_S, REFRESH_S
from tests.core.access.conftest import LOCAL_KEY, Clock


@pytest.fixture
def sessions(database: AccessDatabase, keys: KeyStore, clock: Clock) -> Sessions:
    return Sessions(database, keys, clock=clock)


@pytest.fixture
def ada(keys: KeyStore) -> Principal:
    return keys.check(LOCAL_KEY).principal


def test_a_login_gives_a_token_that_stands_for_the_key(sessions: Sessions, ada: Principal) -> None:
    tokens = sessions.open("ada", LOCAL_KEY)
    assert sessions.check(tokens.access_token) == ada
    assert (tokens.expires_in_s, tokens.refresh_token_expires_in_s) == (ACCESS_S, REFRESH_S)


@pytest.mark.parametrize(("name", "key"), [("eve", LOCAL_KEY), ("ada", "wrong"), ("", "")])
def test_a_wrong_name_or_key_is_refused_and_not_said_which(
    sessions: Sessions, name: str, key: str
) -> None:
    with pytest.raises(NotAuthenticatedError, match="Name or key is wrong"):
        sessions.open(name, key)


def test_an_expired_token_is_told_in_the_words_that_clients_look_for(
    sessions: Sessions, clock: Clock
) -> None:
    token = sessions.open("ada", LOCAL_KEY).access_token
    clock.turn(ACCESS_S)
    with pytest.raises(TokenExpiredError, match=r"^Access token has expired"):
        sessions.check(token)


def test_a_session_is_kept_alive_by_refreshing(
    sessions: Sessions, ada: Principal, clock: Clock
) -> None:
    tokens = sessions.open("ada", LOCAL_KEY)
    for _ in range(3):
        clock.turn(REFRESH_S - 1)
        tokens = sessions.refresh(tokens.refresh_token)
        assert sessions.check(tokens.access_token) == ada
    clock.turn(REFRESH_S)
    with pytest.raises(NotAuthenticatedError):
        sessions.refresh(tokens.refresh_token)


def test_one_kind_of_token_is_not_good_for_the_other(sessions: Sessions) -> None:
    tokens = sessions.open("ada", LOCAL_KEY)
    with pytest.raises(NotAuthenticatedError):
        sessions.check(tokens.refresh_token)
    with pytest.raises(NotAuthenticatedError):
        sessions.refresh(tokens.access_token)


@pytest.mark.parametrize("wrong", ["", "x", "0" * 72])
def test_what_was_never_a_token_is_refused(sessions: Sessions, wrong: str) -> None:
    good = sessions.open("ada", LOCAL_KEY).access_token
    for token in (wrong, good[:-1], good[:16] + wrong):
        with pytest.raises(NotAuthenticatedError) as caught:
            sessions.check(token)
        assert not isinstance(caught.value, TokenExpiredError)


def test_a_session_outlives_the_process(
    sessions: Sessions, database: AccessDatabase, clock: Clock, ada: Principal
) -> None:
    tokens = sessions.open("ada", LOCAL_KEY)
    again = Sessions(database, KeyStore(database, LOCAL_KEY, "ada", clock), clock=clock)
    assert again.check(tokens.access_token) == ada
    assert again.refresh(tokens.refresh_token)


def test_a_revoked_session_ends_at_once_with_all_its_tokens(
    sessions: Sessions, ada: Principal
) -> None:
    tokens = sessions.open("ada", LOCAL_KEY)
    (session,) = sessions.of({"local"})

    sessions.revoke(ada, session.session_uid)

    with pytest.raises(NotAuthenticatedError, match="has ended"):
        sessions.check(tokens.access_token)
    with pytest.raises(NotAuthenticatedError, match="has ended"):
        sessions.refresh(tokens.refresh_token)
    assert sessions.of({"local"})[0].revoked


def test_a_session_ends_with_its_key(sessions: Sessions, keys: KeyStore, ada: Principal) -> None:
    key, secret = keys.create(ada, name="owl", scope=Scope.VIEW)
    token = sessions.open("owl", secret).access_token
    keys.revoke(ada, key.first_eight)
    with pytest.raises(NotAuthenticatedError):
        sessions.check(token)


def test_only_an_admin_ends_sessions_of_others(
    sessions: Sessions, keys: KeyStore, ada: Principal
) -> None:
    owl, secret = keys.create(ada, name="owl", scope=Scope.OPERATE)
    sessions.open("ada", LOCAL_KEY)
    sessions.open("owl", secret)
    (hers,), (its,) = sessions.of({"local"}), sessions.of({owl.key_id})
    for session_uid in (hers.session_uid, "nobody"):
        with pytest.raises(KeyNotFoundError):
            sessions.revoke(owl.principal, session_uid)
    sessions.revoke(owl.principal, its.session_uid)
    sessions.revoke(ada, its.session_uid)


def test_no_token_is_on_the_disk_and_old_ones_are_forgotten(
    sessions: Sessions, database: AccessDatabase, clock: Clock, tmp_path: Path
) -> None:
    tokens = sessions.open("ada", LOCAL_KEY)
    for file in tmp_path.iterdir():
        assert tokens.access_token[16:].encode() not in file.read_bytes()
        assert tokens.refresh_token[16:].encode() not in file.read_bytes()
    clock.turn(2 * REFRESH_S + 1)
    sessions.open("ada", LOCAL_KEY)
    assert database.rows("SELECT count(*) FROM token") == [(2,)]
    assert database.rows("SELECT count(*) FROM session") == [(1,)]
