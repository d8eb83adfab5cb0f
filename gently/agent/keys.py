"""The keys of the terminal that are no text: Esc twice stops, at the prompt and beside a plan."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from prompt_toolkit.application import Application
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Layout, Window
from prompt_toolkit.output import DummyOutput

ESCAPE_S: Final = 0.05
"""How long to wait for what may follow an Esc: a terminal sends all of an arrow key at once."""

T = TypeVar("T")


def stopping(stop: Callable[[], None]) -> KeyBindings:
    """Return the bindings by which Esc Esc calls `stop`, in a thread of its own."""
    bindings = KeyBindings()

    @bindings.add("escape", "escape", eager=True)
    def _stop(event: KeyPressEvent) -> None:
        event.app.create_background_task(asyncio.to_thread(stop))

    return bindings


async def attending(work: Coroutine[Any, Any, T], stop: Callable[[], None]) -> T | None:
    """Await the work while Esc Esc calls `stop`; None if Ctrl+C came first.

    What else is typed meanwhile goes to the next prompt.
    """
    typed: list[KeyPress] = []
    bindings = stopping(stop)

    @bindings.add("c-c")
    @bindings.add("<sigint>")
    def _leave(event: KeyPressEvent) -> None:
        event.app.exit()

    @bindings.add(Keys.Any)
    def _keep(event: KeyPressEvent) -> None:
        typed.extend(event.key_sequence)

    # Of nothing: the layout that it has by itself leaves on Enter.
    layout = Layout(Window())
    keyboard: Application[None] = Application(layout, key_bindings=bindings, output=DummyOutput())
    keyboard.ttimeoutlen = ESCAPE_S
    working, typing = asyncio.create_task(work), asyncio.create_task(keyboard.run_async())
    try:
        await asyncio.wait({working, typing}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        working.cancel()
        if keyboard.is_running and not typing.done():
            keyboard.exit()
        await asyncio.wait({working, typing})
        store_typeahead(keyboard.input, typed + get_typeahead(keyboard.input))
