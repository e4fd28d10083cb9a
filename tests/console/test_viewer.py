"""The viewer in a real Chromium: what the AI drew is seen where it belongs, by everybody who may.

Pixels are read from the canvas as it is shown.  Pictures are small: they are drawn in software.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from gateway.demo.phantom import Options, write_series
from tests.support.console_browser import Screen, screen
from tests.support.site import Site, application, deriving, rule
from tests.support.viewing import Shown, shown_lungs

Pixels = npt.NDArray[np.int16]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "user-guide"
FIRST_PLANE_SECONDS = 3.0
WIDTH, HEIGHT = 400, 300


@pytest.fixture(scope="module")
def lungs(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Iterator[Shown]:
    """A gateway with a lung-density result that the render server shows."""
    with shown_lungs(tmp_path_factory.mktemp("viewer")) as found:
        yield found


@pytest.fixture
def look(browser: Browser, lungs: Shown) -> Iterator[Any]:
    """Open the viewer; nothing may leave the host, no page complain."""
    with ExitStack() as stack:
        opened: list[Screen] = []

        def opening(dataset: str, small: bool = True, **extra: Any) -> Screen:
            window = stack.enter_context(screen(browser, lungs.url, **extra))
            opened.append(window)
            window.open(f"/view/{dataset}")
            if small:
                _shrink(window.page)
            whole(window.page)
            return window

        yield opening
        for one in opened:
            assert one.strangers == []
            assert one.failures == []
            assert complaints(one) == []


def complaints(window: Screen) -> list[str]:
    """What the page complained about, but for the software renderer's own slowness."""
    return [text for text in window.complaints if "GPU stall due to ReadPixels" not in text]


def whole(page: Page) -> None:
    """Wait until the finest level is shown."""
    page.locator('.stage[data-level="full"]').wait_for(timeout=60_000)


def _shrink(page: Page) -> None:
    page.evaluate(
        "([w, h]) => {const s = document.querySelector('.stage').style;"
        "s.width = `${w}px`; s.height = `${h}px`}",
        [WIDTH, HEIGHT],
    )


def pixels(page: Page) -> Pixels:
    """The canvas as it is seen: row, column, channel."""
    shot = page.locator(".stage").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"), dtype=np.int16)


def until(page: Page, fits: Callable[[Pixels], object]) -> Pixels:
    """The picture once ``fits`` says so: drawing takes its time on a busy machine."""
    deadline = time.monotonic() + 20
    while True:
        picture = pixels(page)
        if fits(picture):
            return picture
        assert time.monotonic() < deadline, "the picture did not become what it should"


def axial(page: Page) -> Pixels:
    """The axial plane alone."""
    page.locator(".stage").press("a")
    page.get_by_role("button", name="Axial").and_(page.locator("[aria-pressed=true]")).wait_for()
    # Alone it is wider than a quarter of the canvas.
    return until(page, lambda p: blue(p).sum() > 1500 and np.ptp(np.nonzero(blue(p))[0]) > 100)


def orange(picture: Pixels) -> npt.NDArray[np.bool_]:
    """Where the right lung's colour is."""
    return (picture[..., 0] - picture[..., 2] > 60) & (picture[..., 0] > 90) & ~amber(picture)


def blue(picture: Pixels) -> npt.NDArray[np.bool_]:
    """Where the left lung's colour is, and not the thin cross."""
    found = (picture[..., 2] - picture[..., 0] > 60) & (picture[..., 2] > 90)
    return found & (picture[..., 1] < 160)


def amber(picture: Pixels) -> npt.NDArray[np.bool_]:
    """Where letters are."""
    return (picture[..., 0] > 225) & (picture[..., 2] < 70)


def ruler(picture: Pixels) -> int:
    """How much of a measurement is seen."""
    green = (picture[..., 1] > 200) & (picture[..., 2] < 140) & (picture[..., 0] < 160)
    return int(green.sum())


def centre(mask: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Column and row of the middle of a mask."""
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


def read(page: Page) -> str:
    """What the page says of the cross."""
    return page.locator(".reading").inner_text()


def click_at(page: Page, place: tuple[float, float]) -> str:
    """Put the cross there; what is said of it then."""
    before = read(page)
    page.locator(".stage").click(position={"x": place[0], "y": place[1]})
    page.wait_for_function(
        "before => document.querySelector('.reading').innerText !== before", arg=before
    )
    return read(page)


def test_the_lungs_are_where_the_patient_has_them(look: Any, lungs: Shown) -> None:
    page = look(f"j{lungs.job}").page
    picture = axial(page)
    right, left = orange(picture), blue(picture)
    assert right.sum() > 1500
    assert left.sum() > 1500
    # The patient's right is on the left of the screen.
    assert centre(right)[0] + 40 < WIDTH / 2 < centre(left)[0] - 40
    # Outside of the patient nothing is coloured; the letters stand in the middle of the edges.
    for rows in (slice(4, 40), slice(-40, -4)):
        for columns in (slice(4, 150), slice(-150, -4)):
            corner = picture[rows, columns]
            assert not orange(corner).any()
            assert not blue(corner).any()
    # The page says the same as the picture.
    told = click_at(page, centre(right))
    assert "Right lung" in told
    assert re.search(r"\bR \d", told), told
    told = click_at(page, centre(left))
    assert "Left lung" in told
    assert re.search(r"\bL \d", told), told
    told = click_at(page, (WIDTH / 2, 20))
    assert "lung" not in told
    assert re.search(r"\bA \d", told), told


def test_the_letters_agree_with_the_picture(look: Any, lungs: Shown) -> None:
    page = look(f"j{lungs.job}").page
    picture = axial(page)
    letters = amber(picture)
    rows, columns = np.nonzero(letters)
    middle = (columns.min() + columns.max()) / 2
    low = (rows > HEIGHT / 3) & (rows < 2 * HEIGHT / 3)
    at_left = np.count_nonzero(low & (columns < middle - 60))
    at_right = np.count_nonzero(low & (columns > middle + 60))
    assert at_right > 10
    # An R has more ink than an L.
    assert at_left > 1.25 * at_right
    assert np.count_nonzero(rows < HEIGHT / 3) > 10
    assert np.count_nonzero(rows > 2 * HEIGHT / 3) > 10


def test_segments_can_be_hidden_coloured_and_faded(look: Any, lungs: Shown) -> None:
    page = look(f"r{lungs.result}").page
    before = axial(page)
    page.get_by_label("Right lung", exact=True).uncheck()
    hidden = until(page, lambda p: orange(p).sum() < orange(before).sum() / 50)
    assert blue(hidden).sum() > 0.9 * blue(before).sum()
    column, row = (round(place) for place in centre(blue(before)))

    def strength(picture: Pixels) -> int:
        return int(picture[row, column, 2] - picture[row, column, 0])

    page.get_by_label("Opacity of Left lung").fill("20")
    until(page, lambda p: 0 < strength(p) < strength(before) / 1.5)
    page.get_by_label("Right lung", exact=True).check()
    page.get_by_label("Colour of Right lung").fill("#00ff00")
    until(page, lambda p: ((p[..., 1] - p[..., 0] > 60) & (p[..., 1] > 90)).sum() > 1500)


def test_windows_planes_keys_and_measuring(look: Any, lungs: Shown) -> None:
    page = look(f"j{lungs.job}").page
    stage = page.locator(".stage")
    lung = axial(page)
    stage.press("3")
    until(page, lambda p: np.abs(p - lung).mean() > 5)
    assert page.get_by_role("button", name="Bone").get_attribute("aria-pressed") == "true"
    stage.press("1")
    until(page, lambda p: np.abs(p - lung).mean() < 1)
    before = read(page)
    stage.press("PageUp")
    page.wait_for_function(
        "before => document.querySelector('.reading').innerText !== before", arg=before
    )
    stage.press("m")
    measure = page.get_by_role("button", name="Measure", exact=True)
    assert measure.get_attribute("aria-pressed") == "true"
    box = stage.bounding_box()
    assert box is not None
    bare = ruler(pixels(page))
    x, y = box["x"] + WIDTH / 2 - 60, box["y"] + HEIGHT / 2 - 30
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y + 40, steps=4)
    page.mouse.up()
    until(page, lambda p: ruler(p) > bare + 80)
    page.get_by_role("button", name="Clear measurements").click()
    until(page, lambda p: ruler(p) <= bare + 10)
    for key, name in (("c", "Coronal"), ("s", "Sagittal"), ("v", "3-D"), ("f", "All")):
        stage.press(key)
        pressed = page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed")
        assert pressed == "true"


def test_the_job_leads_to_the_viewer(browser: Browser, lungs: Shown) -> None:
    with screen(browser, lungs.url) as window:
        page = window.open(f"/jobs/{lungs.job}")
        page.get_by_role("link", name="View images").click()
        page.locator(".stage").wait_for()
        assert page.url.endswith(f"/view/j{lungs.job}")
        # No name, no number of the patient.
        assert not any("PHANTOM" in url or "ACC-1" in url for url in window.requests)


@pytest.mark.parametrize(("language", "theme"), [("en", "light"), ("zh-Hant", "dark")])
def test_the_viewer_is_for_everybody(look: Any, lungs: Shown, language: str, theme: str) -> None:
    window = look(f"j{lungs.job}", language=language, theme=theme)
    assert window.axe() == []
    assert "{" not in window.page.locator("main").inner_text()
    policy = window.page.request.get(lungs.url).headers["content-security-policy"]
    assert "unsafe" not in policy


def test_what_is_not_there_is_said(browser: Browser, lungs: Shown) -> None:
    with screen(browser, lungs.url) as window:
        page = window.page
        page.goto(f"{lungs.url}/view/j{'0' * 32}")
        page.get_by_text("There is no such data set.").wait_for()


@pytest.mark.prove
def test_viewer_screenshots_of_the_user_guide(look: Any, lungs: Shown) -> None:
    for language, theme, suffix in (("en", "light", ""), ("zh-Hant", "dark", "-zh-hant-dark")):
        window = look(
            f"j{lungs.job}", small=False, language=language, theme=theme, size=(1280, 860)
        )
        window.page.wait_for_timeout(1_500)
        shot = Image.open(io.BytesIO(window.page.screenshot())).convert("RGB")
        shot.quantize(colors=192).save(GUIDE / f"viewer{suffix}.png", optimize=True)


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_first_plane_of_a_large_volume(browser: Browser, built: Path, tmp_path: Path) -> None:
    """512 x 512 x 275 voxels: seconds from the address to the first plane, nothing prepared."""
    site = Site(
        tmp_path,
        pipelines=[deriving()],
        applications=[application(rule(destinations=["PACS"]))],
        destinations=[{"name": "PACS", "folder": str(tmp_path / "pacs")}],
    )
    (tmp_path / "pacs").mkdir()
    series = write_series(tmp_path / "sent", Options(slices=275, matrix=512))
    try:
        site.start()
        site.send(series.files)
        site.wait(lambda: [job["state"] for job in site.items("jobs")] == ["STOPPED"], 170)
        (job,) = site.items("jobs")
        url = f"http://127.0.0.1:{site.ports['http']}"
        seconds = []
        for _ in range(3):
            shutil.rmtree(site.data / "render", ignore_errors=True)
            with screen(browser, url, size=(800, 640)) as window:
                began = time.perf_counter()
                window.page.goto(f"{url}/view/j{job['id']}")
                window.page.locator('.stage[data-ready="true"]').wait_for(timeout=120_000)
                seconds.append(time.perf_counter() - began)
                window.page.locator('.stage[data-level="full"]').wait_for(timeout=240_000)
                full = time.perf_counter() - began
        told = ", ".join(f"{each:.2f}" for each in seconds)
        sys.stderr.write(f"\nfirst plane after {told} s; the last one whole after {full:.1f} s\n")
        assert min(seconds) <= FIRST_PLANE_SECONDS
    finally:
        site.stop()
