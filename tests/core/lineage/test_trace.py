"""A trace is an outline that people and programs can read, however deep."""

import json
from itertools import pairwise
from pathlib import Path

from gently.core.data_store import DataStore, Trace


def lines(trace: Trace) -> list[tuple[int, str]]:
    return [(step.depth, step.record.uid) for step in trace.steps]


def test_it_leads_from_the_first_origin_over_the_record_to_all_that_came_of_it(
    tmp_path: Path,
) -> None:
    with DataStore(tmp_path / "lineage.sqlite") as store:
        store.begin_session("s", title="heat shock")
        store.add("prompt", "p", {"text": "acquire_volume"}, parents=["s"])
        store.add("item", "i", parents=["p", "s"])
        store.add("item", "another", parents=["s"])
        store.add("run", "r", parents=["i"])
        store.add("volume", "v", parents=["r"])
        store.add("volume", "other", parents=["r"])
        store.derive("m", "mask", ["v"])
        store.derive("t", "table", ["m", "v", "other"])
        store.derive("x", "projection", ["v"])
        trace = store.trace("v")
    assert lines(trace) == [
        (0, "s"),
        (1, "p"),
        (2, "i"),
        (3, "r"),
        (4, "v"),
        (5, "m"),
        (6, "t"),
        (5, "x"),
    ]
    told = {step.record.uid: step.parents for step in trace.steps}
    assert told["i"] == ("p", "s")
    assert told["t"] == ("m", "v")


def test_its_depth_can_be_bounded(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(9)]
    with DataStore(tmp_path / "lineage.sqlite") as store:
        store.add("volume", names[0])
        for parent, child in pairwise(names):
            store.derive(child, "mask", [parent])
        assert lines(store.trace("n4", depth=2)) == [(i - 2, f"n{i}") for i in range(2, 7)]


def test_as_json_it_is_flat_and_says_what_is_deleted_and_what_is_missing(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n")
    with DataStore(tmp_path / "lineage.sqlite") as store:
        store.add("volume", "v")
        record = store.derive("0" * 32, "table", ["v"], table, {"rows": 0})
        store.delete("v", "out of focus")
        told = json.loads(json.dumps(store.trace("v").to_json()))
        assert told["uid"] == "v"
        origin, derived = told["lineage"]
        assert (origin["depth"], origin["parents"], origin["reason"]) == (0, [], "out of focus")
        assert (derived["depth"], derived["parents"]) == (1, ["v"])
        assert derived["path"] == str(table)
        assert derived["checksum"] == record.checksum
        assert derived["missing"] is False
        table.unlink()
        told = json.loads(json.dumps(store.trace("v").to_json()))
        assert told["lineage"][1]["missing"] is True


def test_a_thousand_generations_are_no_deeper_for_a_reader_of_json(tmp_path: Path) -> None:
    with DataStore(tmp_path / "lineage.sqlite") as store:
        names = [f"n{i}" for i in range(1000)]
        store.add("volume", names[0])
        for parent, child in pairwise(names):
            store.derive(child, "mask", [parent])
        told = json.loads(json.dumps(store.trace("n500").to_json()))
    assert [line["depth"] for line in told["lineage"]] == list(range(1000))
