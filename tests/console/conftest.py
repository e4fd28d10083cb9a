"""One gateway with a morning's work and one browser for every test of the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.console_browser import CONSOLE, Screen, chromium, screen
from tests.support.console_world import PEOPLE, World, console_world
from tests.support.programs import missing

OpenScreen = Callable[..., Screen]


@pytest.fixture(scope="session")
def built() -> Path:
    """The built console; skips where nobody could build it."""
    static = CONSOLE.parent / "static"
    if not (static / "index.html").is_file():
        missing("the console is not built: make console (needs Node.js)")
    return static


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Iterator[World]:
    """The gateway, with a user of each role."""
    with console_world(tmp_path_factory.mktemp("console")) as found:
        found.add_people()
        yield found


@pytest.fixture(scope="session")
def cookies(world: World) -> dict[str, list[dict[str, Any]]]:
    """What signs each user in."""
    return {name: world.cookies(name) for name in PEOPLE}


@pytest.fixture
def see(
    browser: Browser, world: World, cookies: dict[str, list[dict[str, Any]]]
) -> Iterator[OpenScreen]:
    """Open a window as a user (None = nobody); no request may leave the host, no page complain."""
    with ExitStack() as stack:
        opened: list[Screen] = []

        def opening(user: str | None = "mei", **extra: Any) -> Screen:
            signed = cookies[user] if user is not None else None
            window: AbstractContextManager[Screen] = screen(
                browser, world.url, cookies=signed, **extra
            )
            opened.append(stack.enter_context(window))
            return opened[-1]

        yield opening
        for one in opened:
            assert one.strangers == []
