"""The long forms: every page in both languages and themes, and the user guide's pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.console.conftest import OpenScreen
from tests.console.test_console import COMBINATIONS, check_page
from tests.support.console_pages import NAMES, pages
from tests.support.console_world import World

pytestmark = [pytest.mark.prove, pytest.mark.timeout(600)]

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "user-guide"
SHOTS = [(name, "en", "light") for name in NAMES] + [
    (name, "zh-Hant", "dark") for name in ("overview", "study", "job", "rules", "delivery")
]
SETTLE_MS = 1_200
"""Until the graph has found its place and the live mark is lit."""


@pytest.mark.parametrize(("language", "theme"), COMBINATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_console_page_in_every_combination(
    see: OpenScreen, world: World, name: str, language: str, theme: str
) -> None:
    check_page(see("mei", language=language, theme=theme), pages(world)[name])


def test_console_screenshots_of_the_user_guide(see: OpenScreen, world: World) -> None:
    GUIDE.mkdir(exist_ok=True)
    for name, language, theme in SHOTS:
        window = see("mei", language=language, theme=theme, size=(1280, 860))
        page = window.open(pages(world)[name])
        page.wait_for_timeout(SETTLE_MS)
        suffix = "" if language == "en" else f"-{language.lower()}-{theme}"
        _save(page.screenshot(), GUIDE / f"{name}{suffix}.png")
        page.context.close()
    window = see(None, size=(1280, 860))
    page = window.open("/")
    _save(page.screenshot(), GUIDE / "sign-in.png")
    window = see("mei", size=(1280, 860))
    page = window.open("/")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    _save(page.screenshot(), GUIDE / "shortcuts.png")


def _save(picture: bytes, path: Path) -> None:
    """Few colours suffice for a console, and the repository stays small."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(colors=192, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < 200_000
