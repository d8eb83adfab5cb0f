"""The client: what it says when the device layer is away, refuses, breaks off or is another.

Everything here holds for both clients; what is peculiar to one says so.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pytest

from gently.client import AsyncDeviceLayerClient, DeviceLayerClient
from gently.wire import (
    ClientError,
    ControlLost,
    DeviceLayerFault,
    DeviceLayerUnreachable,
    FieldError,
    Item,
    KeyRefused,
    NotCompleted,
    PlanCall,
    Plans,
    Progress,
    QuietTooLong,
    Refused,
    Result,
    ScopeTooSmall,
    StillRunning,
    WrongArguments,
)
from tests.clients import Clients, clients
from tests.scripted_device_layer import CUT, ScriptedDeviceLayer, item_state, scripted_device_layer


@pytest.fixture(scope="module")
def listening() -> Iterator[ScriptedDeviceLayer]:
    with scripted_device_layer() as server:
        yield server


@pytest.fixture
def server(listening: ScriptedDeviceLayer) -> ScriptedDeviceLayer:
    listening.forget()
    return listening


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Clients]:
    with clients(request.param) as make:
        yield make


@pytest.fixture
def client(make_client: Clients, server: ScriptedDeviceLayer) -> Iterator[DeviceLayerClient]:
    with make_client(server.url) as client:
        yield client


def unused_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def published(seq: int) -> dict[str, object]:
    return {"seq": seq, "time": 0.0, "kind": "volume.published", "uid": f"{seq:032x}"}


class TestAnAddress:
    @pytest.mark.parametrize("url", ["", "localhost:60610", "ftp://x", "http://", "http://[::1"])
    def test_that_is_none_is_refused_at_once(self, make_client: Clients, url: str) -> None:
        with pytest.raises(ValueError, match=r"write it like http://127\.0\.0\.1:60610"):
            make_client(url)

    def test_may_end_with_a_slash(self, make_client: Clients, server: ScriptedDeviceLayer) -> None:
        server.answers["GET status"] = {"manager_state": "idle"}
        with make_client(f"{server.url}/") as client:
            assert client.url == server.url
            assert client.status().manager_state == "idle"

    def test_is_reached_without_the_environments_proxy(
        self, make_client: Clients, server: ScriptedDeviceLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
        server.answers["GET status"] = {"manager_state": "idle"}
        with make_client(server.url) as client:
            assert client.status().manager_state == "idle"


class TestTheKey:
    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.delenv("GENTLY_API_KEY", raising=False)
        monkeypatch.setenv("GENTLY_KEY_FILE", str(tmp_path / "api-key"))
        return tmp_path / "api-key"

    @pytest.fixture(autouse=True)
    def answers(self, server: ScriptedDeviceLayer) -> None:
        server.answers["GET status"] = {"manager_state": "idle"}

    def test_that_is_given_comes_with_each_request(
        self, make_client: Clients, server: ScriptedDeviceLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GENTLY_API_KEY", "that-of-the-environment")
        with make_client(server.url, api_key="the-one-given") as client:
            client.status()
        assert server.authorizations == ["ApiKey the-one-given"]

    def test_of_the_environment_comes_before_that_of_the_file(
        self,
        client: DeviceLayerClient,
        server: ScriptedDeviceLayer,
        file: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        keep(file, "that-of-the-file")
        monkeypatch.setenv("GENTLY_API_KEY", "that-of-the-environment")
        client.status()
        assert server.authorizations == ["ApiKey that-of-the-environment"]

    def test_of_the_file_is_found_even_if_it_is_made_later(
        self, client: DeviceLayerClient, server: ScriptedDeviceLayer, file: Path
    ) -> None:
        client.status()
        keep(file, "that-of-the-file")
        client.status()
        assert server.authorizations == [None, "ApiKey that-of-the-file"]

    def test_is_looked_for_again_when_it_was_refused(
        self, client: DeviceLayerClient, server: ScriptedDeviceLayer, file: Path
    ) -> None:
        keep(file, "that-of-another-day")
        server.answers["GET status"] = [(401, {"detail": "unknown key"}), {"manager_state": "idle"}]
        with pytest.raises(KeyRefused, match="unknown key") as error:
            client.status()
        assert str(file) in str(error.value)
        assert "that-of-another-day" not in str(error.value)
        keep(file, "that-of-today-then")
        client.status()
        assert server.authorizations[-1] == "ApiKey that-of-today-then"

    def test_that_is_nowhere_is_told_with_where_it_was_looked_for(
        self, client: DeviceLayerClient, server: ScriptedDeviceLayer, file: Path
    ) -> None:
        server.answers["GET status"] = (401, {"detail": "who asks?"})
        with pytest.raises(KeyRefused, match="who asks") as error:
            client.status()
        assert str(file) in str(error.value)
        assert "GENTLY_API_KEY" in str(error.value)
        assert "api_key=" in str(error.value)

    def test_that_others_can_read_is_not_sent(
        self, client: DeviceLayerClient, server: ScriptedDeviceLayer, file: Path
    ) -> None:
        file.write_text("a-key-for-everybody")
        file.chmod(0o644)
        if os.name == "posix":
            with pytest.raises(KeyRefused, match="can be read or written by others"):
                client.status()
            assert server.asked == []

    def test_that_is_not_good_for_this_is_refused_with_the_scope(
        self, client: DeviceLayerClient, server: ScriptedDeviceLayer
    ) -> None:
        server.answers["POST re/resume"] = (403, {"detail": "takes a key with the scope operate"})
        with pytest.raises(ScopeTooSmall, match="the scope operate"):
            client.resume()


def keep(file: Path, key: str) -> None:
    file.write_text(f"{key}\n")
    file.chmod(0o600)


class TestNobodyThere:
    def test_names_the_address_and_the_command_that_helps(self, make_client: Clients) -> None:
        url = f"http://127.0.0.1:{unused_port()}"
        with (
            make_client(url) as client,
            pytest.raises(DeviceLayerUnreachable) as error,
        ):
            client.status()
        assert url in str(error.value)
        assert "python start_device_layer.py" in str(error.value)
        assert error.value.url == url

    def test_is_also_one_that_never_answers(self, make_client: Clients) -> None:
        with (
            closing(socket.create_server(("127.0.0.1", 0))) as listener,
            make_client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1) as client,
        ):
            with pytest.raises(DeviceLayerUnreachable, match="no answer in time"):
                client.status()
            # Whether the plan was accepted is not known, and not pretended to be.
            with pytest.raises(DeviceLayerUnreachable, match="whether the request was accepted"):
                client.execute(PlanCall("snap"), patience_s=0.2)


class TestARefusal:
    def test_in_the_blueskys_way_carries_sentence_and_fields(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST queue/item/execute"] = {
            "success": False,
            "msg": "move_stage is refused",
            "errors": [{"field": "x_um", "message": "9999.0 µm; limits −5000 to 5000 µm"}],
            "item": {"name": "move_stage"},
        }
        with pytest.raises(Refused) as error:
            client.execute(PlanCall("move_stage", {"x_um": 9999.0, "y_um": 0.0}))
        assert error.value.msg == "move_stage is refused"
        assert error.value.errors == (
            FieldError(field="x_um", message="9999.0 µm; limits −5000 to 5000 µm"),
        )
        assert "x_um: 9999.0 µm" in str(error.value)

    def test_by_status_code_carries_the_detail(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["GET volumes/x"] = (422, {"detail": "'x' is no uid"})
        with pytest.raises(Refused, match="'x' is no uid") as error:
            client.volume("x")
        assert error.value.status_code == 422

    def test_of_a_stop_is_a_report_that_names_the_device(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST stop"] = {
            "success": False,
            "devices": {"piezo": {"stopped": False, "readings": {}, "error": "no answer"}},
            "item": None,
        }
        report = client.stop()
        assert not report.success
        assert report.devices["piezo"].error == "no answer"


class TestAnswersThatAreNone:
    @pytest.mark.parametrize(
        ("answer", "sentence"),
        [
            ((500, "oops"), "HTTP 500"),
            ((502, {"detail": "x"}), "HTTP 502"),
            ((200, "<html>"), "another program at this address"),
            ((404, "Not Found"), "another program at this address"),
            ((200, [1]), "another program at this address"),
            ((200, {"unexpected": 1}), "same version"),
        ],
    )
    def test_are_a_fault_that_says_so(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient, answer: object, sentence: str
    ) -> None:
        server.answers["GET status"] = answer
        with pytest.raises(DeviceLayerFault, match=sentence):
            client.status()


class TestRequests:
    def test_name_the_plan_and_its_arguments(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        item = {"item_type": "plan", "name": "snap", "kwargs": {"exposure_ms": 5.0}}
        accepted = {"success": True, "msg": "", "item": {**item, "item_uid": "i1"}, "qsize": 0}
        server.answers["POST queue/item/execute"] = accepted
        assert client.execute(PlanCall("snap", {"exposure_ms": 5.0})) == Item(
            item_uid="i1", name="snap", kwargs={"exposure_ms": 5.0}
        )
        assert server.asked == [("POST queue/item/execute", {"item": item})]

    def test_carry_what_the_documents_shall_say_beside_the_arguments(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        answer = {"success": True, "item": {"item_uid": "i1", "name": "note"}}
        server.answers |= {"POST queue/item/execute": answer, "POST queue/item/add": answer}
        plan = PlanCall("note", {"meta": "an argument of the plan"}, {"session_id": "s"})
        client.execute(plan)
        client.enqueue(plan)
        for _, body in server.asked:
            assert body["item"]["meta"] == {"session_id": "s"}
            assert body["item"]["kwargs"] == {"meta": "an argument of the plan"}

    def test_for_a_uid_stay_in_their_place(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        for uid in ("../stop", "a/b", "x?y=1"):
            with pytest.raises(Refused):
                client.volume(uid)
        assert all(key.startswith("GET volumes/") for key, _ in server.asked)

    def test_never_carry_what_json_has_no_word_for(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        with pytest.raises(ValueError, match="JSON"):
            client.execute(PlanCall("snap", {"exposure_ms": float("nan")}))
        assert server.asked == []

    def test_know_that_an_empty_running_item_is_none(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["GET queue/get"] = {"success": True, "items": [], "running_item": {}}
        assert client.queue().running_item is None


class TestWaiting:
    def test_tells_each_change_of_progress_once_and_returns_the_end(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        half = item_state("running", progress={"name": "slices", "fraction": 0.5})
        most = item_state("running", progress={"name": "slices", "fraction": 0.9})
        end = item_state("completed", result={"return_value": {"uid": "u"}})
        server.answers["GET items/i1"] = [item_state("queued"), half, half, most, end]
        seen: list[Progress] = []
        state = client.wait("i1", seen.append)
        assert [progress.fraction for progress in seen] == [0.5, 0.9]
        assert state.state == "completed"
        assert state.result is not None
        assert state.result.return_value == {"uid": "u"}

    @pytest.mark.parametrize("end", ["failed", "aborted", "stopped", "halted", "cancelled"])
    def test_ends_with_every_end(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient, end: str
    ) -> None:
        server.answers["GET items/i1"] = [item_state("paused"), item_state(end, result={})]
        assert client.wait("i1").state == end

    def test_survives_a_device_layer_that_comes_back_in_time(self, make_client: Clients) -> None:
        port = unused_port()
        with make_client(f"http://127.0.0.1:{port}") as client:
            waiting = threading.Thread(target=lambda: ends.append(client.wait("i1").state))
            ends: list[str] = []
            waiting.start()
            back = ScriptedDeviceLayer(port)
            back.answers["GET items/i1"] = item_state("completed", result={})
            with back:
                waiting.join()
        assert ends == ["completed"]

    def test_ends_when_the_device_layer_stays_away(self, make_client: Clients) -> None:
        with (
            make_client(f"http://127.0.0.1:{unused_port()}") as client,
            pytest.raises(DeviceLayerUnreachable),
        ):
            client.wait("i1", patience_s=0.05)

    def test_ends_when_nobody_knows_the_item(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["GET items/i1"] = (404, {"detail": "there is no item 'i1'"})
        with pytest.raises(Refused, match="no item"):
            client.wait("i1")


class TestEvents:
    def test_go_on_after_the_last_one_seen_when_the_connection_breaks(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.streams = [[published(7), published(8)], [published(9)], []]
        with client.events(after=6, kinds=["volume.published", "stop"]) as events:
            found = list(islice(events, 3))
            assert events.last_seq == 9
        assert [event.seq for event in found] == [7, 8, 9]
        assert server.last_event_ids[:2] == ["6", "8"]
        assert server.kinds[0] == "volume.published,stop"
        assert found[0].kind == "volume.published"
        assert found[0].data["uid"] == f"{7:032x}"

    def test_go_on_from_where_they_began_when_it_breaks_before_the_first(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.first_seq = 41
        server.streams = [[], [published(42)], []]
        with client.events() as events:
            assert next(events).seq == 42
        assert server.last_event_ids[:2] == [None, "41"]

    def test_tell_when_the_connection_is_there_and_when_it_is_lost(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.streams = [[published(1)], [published(2)], []]
        story: list[str] = []
        with client.events(
            on_connect=lambda: story.append("there"), on_lost=lambda _: story.append("lost")
        ) as events:
            story.extend(str(event.seq) for event in islice(events, 2))
        assert story == ["there", "1", "lost", "there", "2"]

    def test_wait_for_a_device_layer_that_is_not_there_yet(self, make_client: Clients) -> None:
        port = unused_port()
        lost: list[ClientError] = []
        away = threading.Event()

        def note(error: ClientError) -> None:
            lost.append(error)
            away.set()

        found: list[int] = []
        with make_client(f"http://127.0.0.1:{port}") as client:
            events = client.events(on_lost=note)
            reading = threading.Thread(target=lambda: found.append(next(events).seq))
            reading.start()
            away.wait()
            back = ScriptedDeviceLayer(port)
            back.streams = [[published(3)]]
            with back:
                reading.join()
                events.__exit__(None, None, None)
        assert found == [3]
        assert len(lost) == 1

    def test_give_up_after_their_patience(self, make_client: Clients) -> None:
        with (
            make_client(f"http://127.0.0.1:{unused_port()}") as client,
            client.events(patience_s=0.05) as events,
            pytest.raises(DeviceLayerUnreachable),
        ):
            next(events)

    def test_skip_a_message_that_cannot_be_read(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.streams = [[{"seq": "seven", "kind": "stop"}, published(8)]]
        with client.events() as events:
            assert next(events).seq == 8

    def test_are_not_taken_from_another_program(
        self, make_client: Clients, server: ScriptedDeviceLayer
    ) -> None:
        with (
            make_client(f"{server.url}/elsewhere") as stranger,
            stranger.events(patience_s=0) as events,
            pytest.raises(DeviceLayerFault, match="another program"),
        ):
            next(events)

    def test_say_that_nothing_came_and_go_on_when_asked_again(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.streams = [[published(1)]]
        with client.events(timeout_s=0.1, kinds=["volume.published"]) as events:
            assert next(events).seq == 1
            with pytest.raises(QuietTooLong, match=r"volume\.published.* in 0\.1 s"):
                next(events)
            server.streams = [[published(2)]]
            assert next(events).seq == 2
        assert server.last_event_ids[-1] == "1"


class TestTheEventsOfTheBlockingClient:
    def test_end_at_once_when_closed_from_another_thread(self, server: ScriptedDeviceLayer) -> None:
        connected = threading.Event()
        seen: list[int] = []
        with DeviceLayerClient(server.url) as client:
            events = client.events(on_connect=connected.set)
            reading = threading.Thread(target=lambda: seen.extend(e.seq for e in events))
            reading.start()
            connected.wait()
            events.close()
            reading.join(timeout=5)
            assert not reading.is_alive()
        assert seen == []

    def test_that_are_closed_before_they_begin_are_none(self, server: ScriptedDeviceLayer) -> None:
        with DeviceLayerClient(server.url) as client:
            events = client.events()
            events.close()
            assert list(events) == []
        assert server.last_event_ids == []


def test_a_coroutine_that_follows_events_is_cancelled_at_once(server: ScriptedDeviceLayer) -> None:
    async def follow() -> None:
        async with AsyncDeviceLayerClient(server.url) as client, client.events() as events:
            async for _ in events:
                pass

    async def cancelled() -> None:
        following = asyncio.create_task(follow())
        while not server.last_event_ids:
            await asyncio.sleep(0.01)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    asyncio.run(cancelled())


def test_calls_of_coroutines_overlap(server: ScriptedDeviceLayer) -> None:
    server.answers["GET items/i1"] = [item_state("running")] * 5 + [item_state("completed")]
    server.answers["GET status"] = {"manager_state": "executing_queue"}

    async def overlapping() -> None:
        async with AsyncDeviceLayerClient(server.url) as client:
            waiting = asyncio.create_task(client.wait("i1"))
            assert (await client.status()).manager_state == "executing_queue"
            assert not waiting.done()
            assert (await waiting).state == "completed"

    asyncio.run(overlapping())


SCHEMA = {
    "properties": {
        "num_slices": {"type": "integer", "minimum": 1, "maximum": 10, "description": "How many."},
        "step_um": {"type": "number", "default": 0.5, "x-units": "um"},
    },
    "required": ["num_slices"],
    "additionalProperties": False,
}


class TestThePlans:
    @pytest.fixture
    def plans(self, server: ScriptedDeviceLayer, client: DeviceLayerClient) -> Plans:
        plan = {"name": "scan", "description": "Scan it.", "schema": SCHEMA}
        server.answers["GET plans/allowed"] = {"success": True, "plans_allowed": {"scan": plan}}
        return client.plans()

    def test_are_called_by_name_with_arguments(self, plans: Plans) -> None:
        assert plans.scan(num_slices=5) == PlanCall("scan", {"num_slices": 5})
        assert plans["scan"] is plans.scan
        assert "scan" in dir(plans)

    @pytest.mark.parametrize(
        ("kwargs", "wrong"),
        [
            ({}, "num_slices: is missing; give a whole number (1 to 10)"),
            ({"num_slices": 0}, "num_slices: 0 is refused; give a whole number (1 to 10)"),
            ({"num_slices": "5"}, "give a whole number"),
            ({"num_slices": 5, "step": 1}, "step: is no parameter. Did you mean step_um?"),
        ],
    )
    def test_refuse_what_their_schema_forbids_before_anything_is_sent(
        self, plans: Plans, kwargs: dict[str, Any], wrong: str
    ) -> None:
        with pytest.raises(WrongArguments) as error:
            plans.scan(**kwargs)
        assert wrong in str(error.value)
        assert "It takes scan(num_slices, step_um=0.5)" in str(error.value)

    def test_that_are_not_offered_are_named_with_those_that_are(self, plans: Plans) -> None:
        with pytest.raises(AttributeError, match=r"Did you mean scan\? There are: scan"):
            _ = plans.scann

    def test_show_what_they_take_when_printed(self, plans: Plans) -> None:
        assert repr(plans) == "scan(num_slices, step_um=0.5)"
        assert "num_slices: a whole number (1 to 10); How many." in repr(plans.scan)


class TestAnAnswerThatGotLost:
    ACCEPTED: Final = {"success": True, "item": {"item_uid": "i1", "name": "snap"}}

    def test_is_asked_for_again_with_the_same_key(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST queue/item/execute"] = [CUT, CUT, self.ACCEPTED]
        assert client.execute(PlanCall("snap")).item_uid == "i1"
        assert len(server.keys) == 3
        assert len(set(server.keys)) == 1

    def test_is_given_up_after_the_patience(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST queue/item/add"] = CUT
        with pytest.raises(DeviceLayerUnreachable, match="the connection broke"):
            client.enqueue(PlanCall("snap"), patience_s=0.05)

    def test_of_what_has_its_effect_each_time_is_not_asked_for_again(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST re/resume"] = CUT
        with pytest.raises(DeviceLayerUnreachable, match="the connection broke"):
            client.resume()
        assert len(server.asked) == 1

    def test_leaves_the_next_submission_a_key_of_its_own(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST queue/item/execute"] = self.ACCEPTED
        client.execute(PlanCall("snap"))
        client.execute(PlanCall("snap"))
        assert None not in server.keys
        assert len(set(server.keys)) == 2


class TestRunning:
    @pytest.fixture(autouse=True)
    def accepts(self, server: ScriptedDeviceLayer) -> None:
        item = {"item_uid": "i1", "name": "snap"}
        server.answers["POST queue/item/execute"] = {"success": True, "item": item}

    def test_returns_what_the_plan_returned(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        volume = {"uid": "u", "path": "u.tif", "shape": [1, 2, 3], "dtype": "uint16"}
        end = {"return_value": {**volume, "session_id": "s"}, "run_uids": ["r"]}
        server.answers["GET items/i1"] = [
            item_state("running"),
            item_state("completed", result=end),
        ]
        result = client.run(PlanCall("snap"))
        assert result.run_uids == ("r",)
        assert result.volume is not None
        assert result.volume.shape == (1, 2, 3)
        assert result.volumes == (result.volume,)

    def test_returns_every_volume_of_a_plan_that_took_several(self) -> None:
        volume: dict[str, Any] = {"path": "u.tif", "shape": [1, 2, 3], "dtype": "uint16"}
        both = [{**volume, "uid": uid, "session_id": "s"} for uid in "ab"]
        value: dict[str, Any] = {"acquisition_uid": "c", "volumes": both}
        result = Result(exit_status="completed", return_value=value)
        assert [one.uid for one in result.volumes] == ["a", "b"]
        assert result.volume is None
        assert Result(exit_status="completed", return_value={"volumes": 3}).volumes == ()
        assert Result(exit_status="completed", return_value=[volume]).volumes == ()

    @pytest.mark.parametrize("end", ["failed", "aborted", "cancelled", "interrupted"])
    def test_raises_how_the_plan_ended_if_not_by_completion(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient, end: str
    ) -> None:
        server.answers["GET items/i1"] = item_state(end, result={"msg": "no light"})
        with pytest.raises(NotCompleted, match=f"is {end}: no light") as error:
            client.run(PlanCall("snap"))
        assert error.value.state.state == end

    def test_ends_after_its_time_and_says_that_the_plan_goes_on(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["GET items/i1"] = item_state("paused")
        with pytest.raises(StillRunning, match="goes on as item i1"):
            client.run(PlanCall("snap"), timeout_s=0.05)


class TestControl:
    ADA: Final = {"holder": "ada", "kind": "person", "note": "mosaic"}

    @pytest.fixture(autouse=True)
    def gives(self, server: ScriptedDeviceLayer) -> None:
        server.answers |= {
            "POST control/acquire": {**self.ADA, "number": 7},
            "POST control/renew": {**self.ADA, "number": 7},
            "POST control/release": {"number": 7},
            "POST re/resume": {"success": True},
            "POST stop": {"success": True},
            "GET status": {"manager_state": "idle"},
        }

    def test_is_taken_kept_and_given_back(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        with client.control("mosaic", ttl_s=0.3) as control:
            assert (control.lease.holder, control.lease.number) == ("ada", 7)
            while "POST control/renew" not in [key for key, _ in server.asked]:
                time.sleep(0.01)
            assert control.lost is None
        asked = [key for key, _ in server.asked]
        assert asked[0] == "POST control/acquire"
        assert server.asked[0][1] == {"note": "mosaic", "ttl_s": 0.3, "take_over": False}
        assert asked[-1] == "POST control/release"
        assert ("POST control/renew", "7") in server.leases
        assert server.leases[-1] == ("POST control/release", "7")

    def test_goes_with_every_command_and_with_nothing_else(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        with client.control():
            client.resume()
            client.status()
            client.stop()
        client.resume()
        under = [key for key, _ in server.leases]
        assert under == ["POST re/resume", "POST control/release"]

    def test_that_somebody_else_has_is_refused_and_they_are_named(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        refusal = {"detail": "ben, a person, has the microscope since 10:00:00", "holder": "ben"}
        server.answers["POST control/acquire"] = (409, refusal)
        with pytest.raises(Refused, match="ben, a person, has the microscope"), client.control():
            pass
        client.resume()
        assert server.leases == []

    def test_that_is_taken_over_is_lost_and_commands_nothing_more(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST control/renew"] = (409, {"detail": "ben, a person, has it"})
        with client.control(ttl_s=0.1) as control:
            while control.lost is None:
                time.sleep(0.01)
            with pytest.raises(ControlLost, match="ben, a person, has it"):
                client.resume()
            assert client.status().manager_state == "idle"
            assert client.stop().success
        asked = [key for key, _ in server.asked]
        assert "POST re/resume" not in asked
        assert "POST control/release" not in asked
        client.resume()

    def test_is_lost_when_it_could_not_be_renewed_in_time(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST control/renew"] = CUT
        with client.control(ttl_s=0.2):
            time.sleep(0.25)
            with pytest.raises(ControlLost, match=r"not renewed in 0\.2 s"):
                client.resume()

    def test_tells_who_has_it(self, server: ScriptedDeviceLayer, client: DeviceLayerClient) -> None:
        server.answers["GET control"] = {**self.ADA, "number": 3, "expires": 5.0}
        assert client.lease().holder == "ada"

    def test_does_not_hide_why_its_context_has_ended(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        server.answers["POST control/release"] = CUT
        with pytest.raises(ZeroDivisionError), client.control():
            _ = 1 / 0
