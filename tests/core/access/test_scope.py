"""Scopes are ordered, and not by their letters."""

import pytest

from gently.core.access import Scope


def test_each_scope_includes_those_below() -> None:
    assert Scope.VIEW < Scope.PROPOSE < Scope.OPERATE < Scope.ADMIN
    assert sorted(Scope) == [*Scope]
    assert min(Scope) is Scope.VIEW
    assert Scope.ADMIN >= Scope.ADMIN > Scope.VIEW <= Scope.VIEW


def test_a_scope_compares_with_its_name_as_with_itself() -> None:
    assert Scope.ADMIN > "view"
    assert Scope("operate") == "operate"


def test_what_is_no_scope_is_not_compared() -> None:
    with pytest.raises(ValueError, match="everything"):
        assert Scope.ADMIN < "everything"
