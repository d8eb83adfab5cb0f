"""A person and an agent at one microscope: who moves it, and what the agent has to ask for."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gently.client import AsyncDeviceLayerClient, DeviceLayerClient
from gently.wire import (
    ControlLost,
    DeviceLayerUnreachable,
    KeyRefused,
    PlanCall,
    Proposal,
    Refused,
    ScopeTooSmall,
)
from tests import AUTHORIZATION
from tests.e2e.conftest import DeviceLayers, Script, device_layers, run_copilot


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    with device_layers(tmp_path_factory.mktemp("layer")) as begin:
        yield begin("demo")


@pytest.fixture
def person(layer: Script) -> Iterator[DeviceLayerClient]:
    with layer.client() as client:
        yield client


def key_of_an_agent(layer: Script, scope: str) -> str:
    """Return a key as an admin makes it for somebody else."""
    answer = httpx.post(
        f"{layer.url}/api/auth/apikey",
        headers=AUTHORIZATION,
        json={"name": "night owl", "kind": "agent", "scopes": [scope]},
    )
    return str(answer.raise_for_status().json()["secret"])


def test_a_person_takes_over_and_the_agent_moves_nothing_more(
    layer: Script, person: DeviceLayerClient
) -> None:
    key = key_of_an_agent(layer, "operate")
    plans = person.plans()

    async def agent() -> None:
        async with (
            AsyncDeviceLayerClient(layer.url, api_key=key) as agent,
            agent.control("night watch", ttl_s=1) as control,
        ):
            assert (await agent.run(plans.sleep(duration_s=0.01))).exit_status == "completed"
            with pytest.raises(Refused, match="night owl, an agent, has the microscope"):
                await asyncio.to_thread(person.execute, plans.sleep(duration_s=0.01))
            await asyncio.to_thread(take_over)
            with pytest.raises((Refused, ControlLost)):  # it may have heard of it already
                await agent.execute(plans.sleep(duration_s=0.02))
            while control.lost is None:
                await asyncio.sleep(0.01)
            with pytest.raises(ControlLost):
                await agent.execute(plans.sleep(duration_s=0.02))
            assert (await agent.stop()).success, "stop is for everybody"

    def take_over() -> None:
        with pytest.raises(Refused, match="night owl"), person.control():
            pass
        with person.control("sample change", take_over=True) as control:
            assert control.lease.note == "sample change"
            assert person.run(plans.sleep(duration_s=0.03)).exit_status == "completed"

    asyncio.run(agent())
    done = [dict(item.kwargs) for item in person.history()]
    assert done == [{"duration_s": 0.01}, {"duration_s": 0.03}]
    assert person.lease().holder is None


def test_what_an_agent_proposes_runs_as_it_was_shown_or_not_at_all(
    layer: Script, person: DeviceLayerClient
) -> None:
    plans = person.plans()
    with DeviceLayerClient(layer.url, api_key=key_of_an_agent(layer, "propose")) as agent:
        with pytest.raises(ScopeTooSmall, match="operate"):
            agent.execute(plans.sleep(duration_s=0.1))
        proposed = agent.propose(plans.sleep(duration_s=0.1), "to let it settle")
        with pytest.raises(ScopeTooSmall):
            agent.approve(proposed)

        assert person.proposals() == [proposed]
        with pytest.raises(Refused, match="not what was proposed"):
            person.approve(with_another_digest(proposed))
        approved = person.approve(proposed, execute=True)
        assert agent.wait(approved.item_uid).state == "completed"
        with pytest.raises(Refused, match="approved"):
            person.approve(proposed, execute=True)

        unwanted = agent.propose(plans.sleep(duration_s=3))
        assert person.reject(unwanted.proposal_uid, "too long").state == "rejected"
        assert agent.proposal(unwanted.proposal_uid).reason == "too long"
        assert person.proposals() == []


def with_another_digest(proposal: Proposal) -> Proposal:
    return proposal.model_copy(update={"digest": "0" * len(proposal.digest)})


def test_a_proposal_is_approved_on_the_command_line_by_its_digest(
    layer: Script, person: DeviceLayerClient
) -> None:
    proposal = person.propose(person.plans().sleep(duration_s=0.1))
    unseen = run_copilot(layer.url, f"approve {proposal.proposal_uid}")
    assert unseen.returncode == 2
    assert person.proposal(proposal.proposal_uid).state == "proposed"
    done = run_copilot(layer.url, f"approve {proposal.proposal_uid} {proposal.digest}")
    assert done.returncode == 0, done.stderr
    assert person.item(proposal.item_uid).state == "completed"


def test_a_wrong_key_is_refused_without_being_told(layer: Script) -> None:
    wrong = "a-key-that-nobody-has-made"
    with (
        DeviceLayerClient(layer.url, api_key=wrong) as stranger,
        pytest.raises(KeyRefused) as error,
    ):
        stranger.status()
    assert wrong not in str(error.value)


def test_control_outlasts_a_restart_and_its_number_rises(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    layer = device_layer("demo", tmp_path / "data")
    port = int(layer.url.rpartition(":")[2])
    with layer.client() as client:
        plans = client.plans()
        with client.control("mosaic", ttl_s=60) as control:
            first = control.lease.number
            layer.kill()
            with pytest.raises(DeviceLayerUnreachable):
                client.execute(plans.sleep(duration_s=0.1))
            device_layer("demo", tmp_path / "data", port)
            assert client.lease().note == "mosaic"
            client.run(plans.sleep(duration_s=0.1))
        with client.control() as control:
            assert control.lease.number > first


def test_what_a_plan_would_do_is_told_before_anything_moves(
    layer: Script, person: DeviceLayerClient
) -> None:
    report = person.preflight(person.plans().acquire_volume(num_slices=5, exposure_ms=1))
    assert report.ok, report
    assert report.is_whole
    assert (report.volumes, report.frames) == (1, 5)
    assert 0 < report.bytes_needed < report.bytes_free
    assert report.seconds > 0
    assert report.light_ms > 0

    far = person.preflight(PlanCall("move_stage", {"x_um": 1e9, "y_um": 0.0}))
    assert not far.ok
    assert [refusal.field for refusal in far.refusals] == ["x_um"]

    told = run_copilot(layer.url, "preflight acquire_volume num_slices=5")
    assert told.returncode == 0
    assert json.loads(told.stdout)["volumes"] == 1
    assert person.volumes() == []
