"""The command line: what it understands, how it refuses, and what it completes."""

import contextlib
import math
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gently.agent.commands import (
    BUILTINS,
    BuiltinCommand,
    CommandError,
    needs_catalogue,
    parse,
    suggest,
    write,
)
from gently.wire import PlanCall
from tests.agent.catalogue import DEVICES, PLANS


def refusal(line: str) -> str:
    with pytest.raises(CommandError) as error:
        parse(line, PLANS, DEVICES)
    return str(error.value)


class TestAPlanCommand:
    def test_has_the_types_of_the_schema(self) -> None:
        command = parse("acquire_volume num_slices=50 exposure_ms=5 preview=no", PLANS)
        assert command == PlanCall(
            "acquire_volume", {"num_slices": 50, "exposure_ms": 5.0, "preview": False}
        )
        assert isinstance(command, PlanCall)
        assert type(command.kwargs["num_slices"]) is int
        assert type(command.kwargs["exposure_ms"]) is float

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("center_um=none", None),
            ("center_um=-3.5", -3.5),
            ("center_um=1e2", 100.0),
            ("side=side_b", "side_b"),
            ("note='two words'", "two words"),
            ("note=5", "5"),
            ("note=", ""),
            ("note=a=b", "a=b"),
            ("label=null", None),
            ("label='\"null\"'", "null"),
            ("stages=focus", ["focus"]),
            ("stages=focus,xy_stage", ["focus", "xy_stage"]),
            ("stages='[\"focus\"]'", ["focus"]),
            ("stages=[]", []),
            ('stages=["focus", "xy_stage"]', ["focus", "xy_stage"]),
            ('note={"of": "a b"}', '{"of": "a b"}'),
            ("note='x={} y'", "x={} y"),
            ("note={of", "{of"),
        ],
    )
    def test_reads_each_kind_of_value(self, argument: str, value: Any) -> None:
        name = argument.partition("=")[0]
        assert parse(f"acquire_volume {argument}", PLANS) == PlanCall(
            "acquire_volume", {name: value}
        )

    def test_may_leave_everything_with_a_default_out(self) -> None:
        assert parse("acquire_volume", PLANS) == PlanCall("acquire_volume", {})

    def test_of_an_empty_line_is_none(self) -> None:
        assert parse("   ", PLANS) is None


class TestARefusal:
    @pytest.mark.parametrize(
        ("line", "parts"),
        [
            ("aquire_volume", ["'aquire_volume'", "Did you mean acquire_volume?", "help"]),
            ("acquire_volume num_slice=5", ["num_slice'", "Did you mean num_slices?"]),
            ("acquire_volume zzz=5", ["'zzz'", "It takes num_slices, exposure_ms"]),
            ("acquire_volume 50", ["'50' has no name", "num_slices=50"]),
            ("acquire_volume num_slices = 50", ["without spaces"]),
            ("acquire_volume num_slices=5 10", ["exposure_ms=10"]),
            ("acquire_volume num_slices=5 num_slices=5", ["num_slices is given twice"]),
            ("acquire_volume num_slices=five", ["num_slices", "'five'", "a whole number"]),
            ("acquire_volume num_slices=5.5", ["num_slices", "a whole number (1 to 10000)"]),
            ("acquire_volume num_slices=0", ["num_slices: 0", "1 to 10000"]),
            ("acquire_volume num_slices=10001", ["num_slices: 10001", "1 to 10000"]),
            ("acquire_volume exposure_ms=nan", ["exposure_ms", "nan", "0.1 to 1000 ms"]),
            ("acquire_volume exposure_ms=inf", ["exposure_ms", "inf", "a number"]),
            ("acquire_volume exposure_ms=1e999", ["exposure_ms", "a number"]),
            ("acquire_volume step_um=0", ["step_um: 0.0", "above 0"]),
            ("acquire_volume preview=maybe", ["preview", "true or false"]),
            ("acquire_volume camera=webcam", ["camera", "one of camera, side_camera"]),
            ("acquire_volume stages=focus,piezo", ["stages", "'piezo'", "xy_stage, focus"]),
            ("acquire_volume stages='[\"piezo\"]'", ["stages", "xy_stage, focus"]),
            ("move_stage x_um=5", ["needs y_um, a number (-5000 to 5000)", "move_stage y_um=…"]),
            ("move_stage", ["x_um, a number", "and y_um, a number"]),
            ("move_stage x_um=5001 y_um=-5001", ["x_um: 5001.0", "y_um: -5001.0"]),
            ("read_position 5", ["one argument too many"]),
            ("read_position x=5", ["no parameter 'x'", "It takes none"]),
            ("acquire_volume note='open", ["cannot be read"]),
            ("read", ["needs a device", "camera, focus, xy_stage"]),
            ("read focuss", ["no device 'focuss'", "Did you mean focus?"]),
            ("read focus camera", ["one device only"]),
            ("stop now", ["takes no argument", "'now'"]),
            ("help aquire_volume", ["no plan", "Did you mean acquire_volume?"]),
            ("preflight", ["needs a plan"]),
            ("preflight aquire_volume", ["no plan", "Did you mean acquire_volume?"]),
            ("propose acquire_volume num_slices=0", ["num_slices: 0", "1 to 10000"]),
            ("approve", ["needs a proposal"]),
        ],
    )
    def test_names_the_fact_and_the_remedy(self, line: str, parts: list[str]) -> None:
        message = refusal(line)
        for part in parts:
            assert part in message


class TestABuiltin:
    @pytest.mark.parametrize("name", [n for n, verb in BUILTINS.items() if not verb.required])
    def test_needs_no_argument_unless_it_is_about_one_thing(self, name: str) -> None:
        assert parse(name, PLANS, DEVICES) == BuiltinCommand(name)

    def test_of_the_lineage_needs_a_uid_and_no_catalogue(self) -> None:
        assert parse("lineage 3f2a", {}) == BuiltinCommand("lineage", "3f2a")
        assert not needs_catalogue("lineage 3f2a")
        assert suggest("lineage 3", PLANS, DEVICES) == []
        assert "`lineage` needs a uid" in refusal("lineage")

    def test_takes_its_argument(self) -> None:
        assert parse("read focus", PLANS, DEVICES) == BuiltinCommand("read", "focus")
        assert parse("help move_stage", PLANS, DEVICES) == BuiltinCommand("help", "move_stage")

    @pytest.mark.parametrize("verb", ["preflight", "propose"])
    def test_may_be_about_a_plan_with_arguments(self, verb: str) -> None:
        command = parse(f"{verb} acquire_volume num_slices=5", PLANS)
        assert command == BuiltinCommand(verb, plan=PlanCall("acquire_volume", {"num_slices": 5}))
        assert command is not None
        assert parse(write(command, PLANS), PLANS) == command
        assert needs_catalogue(f"{verb} acquire_volume")

    def test_of_a_proposal_may_be_told_more(self) -> None:
        assert parse("approve p1 d1", {}) == BuiltinCommand("approve", "p1", "d1")
        assert parse("reject p1 too bright", {}) == BuiltinCommand("reject", "p1", "too bright")
        assert not needs_catalogue("approve p1 d1")

    def test_leaves_a_device_to_the_device_layer_if_none_are_known(self) -> None:
        assert parse("read anything", PLANS) == BuiltinCommand("read", "anything")


class TestCompletion:
    @pytest.mark.parametrize(
        ("line", "texts"),
        [
            ("acq", ["acquire_volume"]),
            ("re", ["read", "resume", "reject", "release", "read_position"]),
            ("  st", ["status", "stop"]),
            ("move_stage ", ["x_um=", "y_um="]),
            ("move_stage x_um=5 ", ["y_um="]),
            ("move_stage x_um=5 y_um=5 ", []),
            ("acquire_volume s", ["step_um=", "side=", "stages="]),
            ("acquire_volume side=", ["side_a", "side_b"]),
            ("acquire_volume num_slices=5 side=side_b", ["side_b"]),
            ("acquire_volume preview=t", ["true"]),
            ("acquire_volume stages=focus,x", ["xy_stage"]),
            ("acquire_volume num_slices=", []),
            ("acquire_volume nothing=", []),
            ("read ", DEVICES),
            ("read f", ["focus"]),
            ("read focus ", []),
            ("help mo", ["move_stage"]),
            ("preflight mo", ["move_stage"]),
            ("propose move_stage x_um=5 ", ["y_um="]),
            ("approve ", []),
            ("stop ", []),
            ("unknown ", []),
        ],
    )
    def test_offers_what_may_follow(self, line: str, texts: list[str]) -> None:
        assert sorted(s.text for s in suggest(line, PLANS, DEVICES)) == sorted(texts)

    def test_replaces_what_is_typed_of_the_word(self) -> None:
        (suggestion,) = suggest("acquire_volume stages=focus,x", PLANS, DEVICES)
        assert suggestion.replaces == len("x")

    def test_says_what_a_parameter_wants(self) -> None:
        (suggestion,) = suggest("move_stage x", PLANS, DEVICES)
        assert suggestion.help == "a number (-5000 to 5000)"

    def test_only_offers_what_parses(self) -> None:
        for name in PLANS:
            for suggestion in suggest(f"{name} ", PLANS, DEVICES):
                for value in suggest(f"{name} {suggestion.text}", PLANS, DEVICES):
                    if name == "acquire_volume":
                        parse(f"{name} {suggestion.text}{value.text}", PLANS, DEVICES)


finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.one_of(
    st.text(max_size=20),
    st.text(string.printable, max_size=20),
    st.sampled_from(["null", "none", "5", "true", '"', '""', '"null"', "'", "a b", "[1]", "\\"]),
)
acquisitions = st.fixed_dictionaries(
    {},
    optional={
        "num_slices": st.integers(1, 10_000),
        "exposure_ms": st.floats(0.1, 1000),
        "step_um": st.floats(0, 1e300, exclude_min=True),
        "center_um": st.none() | finite,
        "camera": st.sampled_from(["camera", "side_camera"]),
        "side": st.sampled_from(["side_a", "side_b"]),
        "preview": st.booleans(),
        "note": texts,
        "label": st.none() | texts,
        "stages": st.lists(st.sampled_from(["xy_stage", "focus"])),
    },
)


@given(kwargs=acquisitions)
def test_every_command_can_be_written_and_read_again(kwargs: dict[str, Any]) -> None:
    command = PlanCall("acquire_volume", kwargs)
    assert parse(write(command, PLANS), PLANS) == command


@given(line=st.text(max_size=60) | st.text(string.printable, max_size=60))
def test_any_line_is_a_command_or_refused_and_completion_never_fails(line: str) -> None:
    suggest(line, PLANS, DEVICES)
    suggest(f"acquire_volume {line}", PLANS, DEVICES)
    for text in (line, f"acquire_volume {line}", f"acquire_volume stages={line}"):
        with contextlib.suppress(CommandError):
            command = parse(text, PLANS, DEVICES)
            assert command is None or command.name in {*BUILTINS, *PLANS}


@given(value=finite)
def test_a_number_beyond_its_bounds_is_never_accepted(value: float) -> None:
    line = f"move_stage x_um={value!r} y_um=0"
    if -5000 <= value <= 5000:
        command = parse(line, PLANS)
        assert isinstance(command, PlanCall)
        assert math.isclose(command.kwargs["x_um"], value)  # type: ignore[arg-type]
    else:
        assert "-5000 to 5000" in refusal(line)
