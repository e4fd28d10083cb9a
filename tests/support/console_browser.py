"""A real Chromium that looks at a running console, and what it saw besides the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.support.programs import program

CONSOLE = Path(__file__).resolve().parents[2] / "gateway" / "web" / "console"
AXE = CONSOLE / "node_modules" / "axe-core" / "axe.min.js"
LOCALES = {"en": "en-GB", "zh-Hant": "zh-TW"}
PATIENCE_MS = 30_000
"""How long a busy machine may take to show something."""


@dataclass
class Screen:
    """One page of the console with everything it asked for and complained about."""

    page: Page
    url: str
    language: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.failures.append(f"{response.status} {response.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def open(self, path: str) -> Page:
        """Load an address and wait for the head of its page and its content."""
        self.page.goto(f"{self.url}{path}")
        return self.settled()

    def settled(self) -> Page:
        """Wait until the page has a head and nothing says that it is loading."""
        try:
            self.page.locator("h1").first.wait_for()
        except PlaywrightTimeout:
            shown = self.page.locator("body").inner_text()
            raise AssertionError(f"no page: {shown!r} {self.failures} {self.complaints}") from None
        self.page.wait_for_function("() => !document.querySelector('.loading')")
        return self.page

    @property
    def strangers(self) -> list[str]:
        """Requests that left the host."""
        own = (self.url, "blob:", "data:")
        return [url for url in self.requests if not url.startswith(own)]

    def axe(self) -> list[str]:
        """What axe-core calls serious or critical, each with the place."""
        self.page.evaluate(AXE.read_text("utf-8"))
        found: dict[str, Any] = self.page.evaluate(
            "() => axe.run(document, {resultTypes: ['violations']})"
        )
        return [
            f"{one['id']}: {one['help']}: {json.dumps([n['html'][:160] for n in one['nodes'][:3]])}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
        ]

    def toast(self, text: str) -> None:
        """Wait for a message that holds ``text``."""
        self.page.locator(".toast", has_text=text).first.wait_for()

    def confirm(self, button: str) -> None:
        """Press the button of the question that is open, and wait until it is gone."""
        dialog = self.page.locator("dialog[open]")
        dialog.get_by_role("button", name=button, exact=True).click()
        dialog.wait_for(state="detached")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium without a window, that can resolve no name but loopback's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium"),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def screen(
    browser: Browser,
    url: str,
    *,
    cookies: list[Any] | None = None,
    language: str = "en",
    theme: Any = "light",
    size: tuple[int, int] = (1360, 900),
) -> Iterator[Screen]:
    """A window of its own, signed in by ``cookies``."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        locale=LOCALES[language],
        timezone_id="Asia/Taipei",
        reduced_motion="reduce",
    )
    try:
        if cookies:
            context.add_cookies(cookies)
        yield Screen(context.new_page(), url, language)
    finally:
        context.close()
