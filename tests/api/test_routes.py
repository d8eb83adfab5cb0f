"""The table of routes is whole, and agrees with the handlers that it names."""

from collections import Counter
from typing import get_args, get_origin, get_type_hints

import pytest
from pydantic import RootModel

from gently.api import ROUTES
from gently.api.models import Answer, Body, OwnBody
from gently.api.routes import ApiRoute, Call
from gently.core.access import Scope

each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


def test_no_route_is_declared_twice() -> None:
    assert set(Counter(route.name for route in ROUTES).values()) == {1}


@each_route
def test_a_handler_takes_the_body_that_its_route_declares(route: ApiRoute) -> None:
    taken = get_type_hints(route.handler)
    calls = [hint for hint in taken.values() if get_origin(hint) is Call]
    assert [get_args(call)[0] for call in calls] == [route.body]


@each_route
def test_a_body_is_frozen_and_an_answer_says_all_that_there_is(route: ApiRoute) -> None:
    assert issubclass(route.body, Body if route.dialect else (Body, OwnBody))
    assert route.body.model_config["frozen"]
    if route.media_type == "application/json":
        assert route.answer is not None
        assert issubclass(route.answer, (Answer, RootModel))


@each_route
def test_who_only_looks_commands_nothing(route: ApiRoute) -> None:
    if route.method == "GET":
        assert not route.is_audited
    if route.commands:
        assert route.scope >= Scope.OPERATE


def test_whoever_may_look_may_stop() -> None:
    (stop,) = (route for route in ROUTES if route.path == "/api/stop")
    assert stop.scope is Scope.VIEW
    assert stop.forgives
    assert stop.is_audited
    assert not stop.commands
    assert stop.locked_by is None
