import threading

import anyio
import pytest

from gently.visualization import VolumeFeed


def test_every_subscriber_hears_of_every_volume_in_order() -> None:
    async def main() -> None:
        feed = VolumeFeed()
        with feed.subscribe() as one, feed.subscribe() as other:
            for n in range(3):
                feed.announce({"uid": n})
            for inbox in (one, other):
                assert [(await inbox.receive())["uid"] for _ in range(3)] == [0, 1, 2]

    anyio.run(main)


def test_announcements_may_come_from_any_thread() -> None:
    async def main() -> None:
        feed = VolumeFeed()
        with feed.subscribe() as inbox:
            thread = threading.Thread(target=feed.announce, args=({"uid": "a"},))
            thread.start()
            with anyio.fail_after(10):
                assert await inbox.receive() == {"uid": "a"}
            thread.join()

    anyio.run(main)


def test_a_subscriber_that_falls_behind_gets_its_backlog_and_then_the_end() -> None:
    async def main() -> None:
        feed = VolumeFeed(backlog=2)
        with feed.subscribe() as slow, feed.subscribe() as quick:
            heard = []
            for n in range(5):
                feed.announce({"uid": n})
                heard.append((await quick.receive())["uid"])
            assert heard == [0, 1, 2, 3, 4]
            assert [volume["uid"] async for volume in slow] == [0, 1]

    anyio.run(main)


def test_leaving_ends_the_subscription() -> None:
    async def main() -> None:
        feed = VolumeFeed()
        with feed.subscribe():
            assert feed.subscribers == 1
        assert feed.subscribers == 0
        feed.announce({"uid": "a"})

    anyio.run(main)


def test_closing_ends_open_streams_and_later_ones() -> None:
    async def main() -> None:
        feed = VolumeFeed()
        with feed.subscribe() as before:
            feed.close()
            feed.close()
            with pytest.raises(anyio.EndOfStream):
                await before.receive()
        with feed.subscribe() as after, pytest.raises(anyio.EndOfStream):
            await after.receive()

    anyio.run(main)


def test_an_announcement_that_nobody_hears_does_no_harm() -> None:
    VolumeFeed().announce({"uid": "a"})
