"""Keys: told once, kept as hashes, good for no more than whoever made them."""

from pathlib import Path

import pytest

from gently.core.access import (
    AccessDatabase,
    KeyNotFoundError,
    KeyStore,
    NotAuthenticatedError,
    Principal,
    Scope,
    ScopeError,
)
from gently.core.access import keys as keys_module
from gently.core.errors import WrongStateError
from tests.core.access.conftest import LOCAL_KEY, Clock


@pytest.fixture
def ada(keys: KeyStore) -> Principal:
    return keys.check(LOCAL_KEY).principal


def test_the_key_of_this_machine_is_a_persons_and_good_for_everything(ada: Principal) -> None:
    assert ada == Principal("ada", "local", "person", Scope.ADMIN)


@pytest.mark.parametrize("wrong", ["", "x", LOCAL_KEY[:-1], LOCAL_KEY + " ", "ключ", "0" * 72])
def test_any_other_is_refused_without_being_repeated(keys: KeyStore, wrong: str) -> None:
    with pytest.raises(NotAuthenticatedError, match="not known") as caught:
        keys.check(wrong)
    assert len(wrong) < 2 or wrong not in str(caught.value)


def test_a_new_key_opens_for_whom_it_was_made(keys: KeyStore, ada: Principal) -> None:
    key, secret = keys.create(ada, scope=Scope.PROPOSE, note="night", name="owl", kind="agent")

    found = keys.check(secret)

    assert found.principal == Principal("owl", key.key_id, "agent", Scope.PROPOSE)
    assert secret.startswith(key.first_eight)
    assert (key.note, key.expires, key.latest_activity) == ("night", None, None)
    with pytest.raises(NotAuthenticatedError):
        keys.check(secret[:8] + "0" * 64)


def test_no_key_is_on_the_disk(keys: KeyStore, ada: Principal, tmp_path: Path) -> None:
    secrets = [keys.create(ada)[1] for _ in range(3)]
    keys.close()
    for file in tmp_path.iterdir():
        for secret in (LOCAL_KEY, *secrets):
            assert secret.encode() not in file.read_bytes()
            assert secret[8:24].encode() not in file.read_bytes()


def test_keys_outlive_the_process_and_so_does_their_latest_activity(
    keys: KeyStore, ada: Principal, database: AccessDatabase, clock: Clock
) -> None:
    key, secret = keys.create(ada, name="owl", scope=Scope.VIEW)
    clock.turn(60)
    keys.check(secret)
    keys.close()

    again = KeyStore(database, LOCAL_KEY, "ada", clock)

    assert again.check(secret).principal == key.principal
    used = {key.name: key.latest_activity for key in again.all()}
    assert used == {"ada": clock.now - 60, "owl": clock.now}


def test_a_key_ends_when_it_was_said_to(keys: KeyStore, ada: Principal, clock: Clock) -> None:
    key, secret = keys.create(ada, expires_in_s=60, name="owl")
    clock.turn(59)
    assert keys.check(secret)
    clock.turn(1)
    with pytest.raises(NotAuthenticatedError):
        keys.check(secret)
    assert keys.get(key.key_id) is None
    assert [key.name for key in keys.all()] == ["ada"]


def test_whoever_makes_a_key_for_themselves_gives_no_more_than_they_have(
    keys: KeyStore, ada: Principal, clock: Clock
) -> None:
    owl = keys.create(ada, scope=Scope.PROPOSE, name="owl", kind="agent", expires_in_s=60)[0]

    own, secret = keys.create(owl.principal, expires_in_s=3600)

    assert own.principal == Principal("owl", own.key_id, "agent", Scope.PROPOSE)
    assert own.expires == owl.expires
    with pytest.raises(ScopeError, match="no more than yours, which is propose"):
        keys.create(owl.principal, scope=Scope.OPERATE)
    for other in ({"name": "ada"}, {"kind": "person"}):
        with pytest.raises(ScopeError, match="admin"):
            keys.create(owl.principal, **other)  # type: ignore[arg-type]
    keys.revoke(ada, owl.first_eight)
    with pytest.raises(NotAuthenticatedError):
        keys.check(secret)
    with pytest.raises(NotAuthenticatedError):
        keys.create(owl.principal)


def test_a_key_made_for_somebody_else_does_not_end_with_its_maker(
    keys: KeyStore, ada: Principal
) -> None:
    chief = keys.create(ada, name="grace")[0]
    secret = keys.create(chief.principal, name="owl", scope=Scope.VIEW)[1]
    keys.revoke(ada, chief.first_eight)
    assert keys.check(secret).name == "owl"


def test_a_revoked_key_is_none_any_more(
    keys: KeyStore, ada: Principal, database: AccessDatabase
) -> None:
    key, secret = keys.create(ada, name="owl")
    assert keys.revoke(ada, key.first_eight) == key
    for store in (keys, KeyStore(database, LOCAL_KEY, "ada")):
        with pytest.raises(NotAuthenticatedError):
            store.check(secret)
    with pytest.raises(KeyNotFoundError):
        keys.revoke(ada, key.first_eight)


def test_only_an_admin_revokes_keys_of_others(keys: KeyStore, ada: Principal) -> None:
    owl = keys.create(ada, name="owl", scope=Scope.OPERATE)[0]
    bat = keys.create(ada, name="bat", scope=Scope.OPERATE)[0]
    with pytest.raises(KeyNotFoundError):
        keys.revoke(bat.principal, owl.first_eight)
    keys.revoke(owl.principal, owl.first_eight)
    keys.revoke(ada, bat.first_eight)


def test_the_key_of_this_machine_cannot_be_revoked(keys: KeyStore, ada: Principal) -> None:
    (local,) = keys.all()
    with pytest.raises(KeyNotFoundError, match="its file is deleted"):
        keys.revoke(ada, local.first_eight)


def test_another_key_of_this_machine_ends_what_the_former_had_made_for_itself(
    keys: KeyStore, ada: Principal, database: AccessDatabase
) -> None:
    own = keys.create(ada)[1]
    others = keys.create(ada, name="owl")[1]

    again = KeyStore(database, "another-key-of-this-machine", "ada")

    for secret in (own, LOCAL_KEY):
        with pytest.raises(NotAuthenticatedError):
            again.check(secret)
    assert again.check(others).name == "owl"


def test_nobody_can_fill_the_disk_with_keys(
    keys: KeyStore, ada: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "_MOST", 3)
    owl = keys.create(ada, name="owl", scope=Scope.VIEW)[0]
    keys.create(owl.principal)
    keys.create(owl.principal)
    with pytest.raises(WrongStateError, match="revoke"):
        keys.create(owl.principal)
