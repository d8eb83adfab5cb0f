"""The client: what it says when the device layer is away, refuses, breaks off or is another."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest

from gently.client import (
    ClientError,
    DeviceLayerClient,
    DeviceLayerFault,
    DeviceLayerUnreachable,
    FieldError,
    Item,
    Progress,
    Refused,
)
from tests.scripted_device_layer import ScriptedDeviceLayer, item_state, scripted_device_layer


@pytest.fixture
def server() -> Iterator[ScriptedDeviceLayer]:
    with scripted_device_layer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedDeviceLayer) -> Iterator[DeviceLayerClient]:
    with DeviceLayerClient(server.url) as client:
        yield client


def unused_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def published(seq: int) -> dict[str, object]:
    return {"seq": seq, "time": 0.0, "kind": "volume.published", "uid": f"{seq:032x}"}


class TestAnAddress:
    @pytest.mark.parametrize("url", ["", "localhost:60610", "ftp://x", "http://", "http://[::1"])
    def test_that_is_none_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"write it like http://127\.0\.0\.1:60610"):
            DeviceLayerClient(url)

    def test_may_end_with_a_slash(self, server: ScriptedDeviceLayer) -> None:
        server.answers["GET status"] = {"manager_state": "idle"}
        with DeviceLayerClient(f"{server.url}/") as client:
            assert client.url == server.url
            assert client.status().manager_state == "idle"

    def test_is_reached_without_the_environments_proxy(
        self, server: ScriptedDeviceLayer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
        server.answers["GET status"] = {"manager_state": "idle"}
        with DeviceLayerClient(server.url) as client:
            assert client.status().manager_state == "idle"


class TestNobodyThere:
    def test_names_the_address_and_the_command_that_helps(self) -> None:
        url = f"http://127.0.0.1:{unused_port()}"
        with (
            DeviceLayerClient(url) as client,
            pytest.raises(DeviceLayerUnreachable) as error,
        ):
            client.status()
        assert url in str(error.value)
        assert "python start_device_layer.py" in str(error.value)
        assert error.value.url == url

    def test_is_also_one_that_never_answers(self) -> None:
        with (
            closing(socket.create_server(("127.0.0.1", 0))) as listener,
            DeviceLayerClient(
                f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.1
            ) as client,
        ):
            with pytest.raises(DeviceLayerUnreachable, match="no answer in time"):
                client.status()
            # Whether the plan was accepted is not known, and not pretended to be.
            with pytest.raises(DeviceLayerUnreachable, match="whether the request was accepted"):
                client.execute("snap")


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
            client.execute("move_stage", x_um=9999.0, y_um=0.0)
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
        assert client.execute("snap", exposure_ms=5.0) == Item(
            item_uid="i1", name="snap", kwargs={"exposure_ms": 5.0}
        )
        assert server.asked == [("POST queue/item/execute", {"item": item})]

    def test_carry_what_the_documents_shall_say_beside_any_argument(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        answer = {"success": True, "item": {"item_uid": "i1", "name": "note"}}
        server.answers |= {"POST queue/item/execute": answer, "POST queue/item/add": answer}
        client.execute("note", {"session_id": "s"}, meta="an argument of the plan")
        client.enqueue("note", {"session_id": "s"}, name="another")
        assert [(body["item"]["meta"], body["item"]["kwargs"]) for _, body in server.asked] == [
            ({"session_id": "s"}, {"meta": "an argument of the plan"}),
            ({"session_id": "s"}, {"name": "another"}),
        ]

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
            client.execute("snap", exposure_ms=float("nan"))
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

    def test_survives_a_device_layer_that_comes_back_in_time(self) -> None:
        port = unused_port()
        with DeviceLayerClient(f"http://127.0.0.1:{port}") as client:
            waiting = threading.Thread(target=lambda: ends.append(client.wait("i1").state))
            ends: list[str] = []
            waiting.start()
            back = ScriptedDeviceLayer(port)
            back.answers["GET items/i1"] = item_state("completed", result={})
            with back:
                waiting.join()
        assert ends == ["completed"]

    def test_ends_when_the_device_layer_stays_away(self) -> None:
        with (
            DeviceLayerClient(f"http://127.0.0.1:{unused_port()}") as client,
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

    def test_wait_for_a_device_layer_that_is_not_there_yet(self) -> None:
        port = unused_port()
        lost: list[ClientError] = []
        away = threading.Event()

        def note(error: ClientError) -> None:
            lost.append(error)
            away.set()

        found: list[int] = []
        with DeviceLayerClient(f"http://127.0.0.1:{port}") as client:
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

    def test_end_at_once_when_closed_from_another_thread(self, client: DeviceLayerClient) -> None:
        connected = threading.Event()
        events = client.events(on_connect=connected.set)
        seen: list[int] = []
        reading = threading.Thread(target=lambda: seen.extend(e.seq for e in events))
        reading.start()
        connected.wait()
        events.close()
        reading.join(timeout=5)
        assert not reading.is_alive()
        assert seen == []

    def test_that_are_closed_before_they_begin_are_none(
        self, server: ScriptedDeviceLayer, client: DeviceLayerClient
    ) -> None:
        events = client.events()
        events.close()
        assert list(events) == []
        assert server.last_event_ids == []

    def test_give_up_after_their_patience(self) -> None:
        with (
            DeviceLayerClient(f"http://127.0.0.1:{unused_port()}") as client,
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

    def test_are_not_taken_from_another_program(self, server: ScriptedDeviceLayer) -> None:
        with (
            DeviceLayerClient(f"{server.url}/elsewhere") as stranger,
            stranger.events(patience_s=0) as events,
            pytest.raises(DeviceLayerFault, match="another program"),
        ):
            next(events)
