"""Every page and every action of the console, in Chromium, on a gateway with real work."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.console.conftest import OpenScreen
from tests.support.console_browser import Screen
from tests.support.console_pages import NAMES, pages
from tests.support.console_world import MARKED_ID, PASSWORD, SCRIPT, World

# Making the world takes a minute where eight others work.
pytestmark = pytest.mark.timeout(400)

COMBINATIONS = [("en", "light"), ("zh-Hant", "dark"), ("en", "dark"), ("zh-Hant", "light")]
CJK = re.compile("[\u4e00-\u9fff]")


def test_pages_list_is_complete(world: World) -> None:
    assert tuple(pages(world)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_page(see: OpenScreen, world: World, name: str) -> None:
    # Each page in one combination here, in all four by `make prove-console`.
    language, theme = COMBINATIONS[NAMES.index(name) % 4]
    check_page(see("mei", language=language, theme=theme), pages(world)[name])


def check_page(window: Screen, path: str) -> None:
    page = window.open(path)
    expect(page.locator("html")).to_have_attribute("lang", window.language)
    assert page.title().endswith("· Gateway")
    assert page.locator(".problem[role=alert]").count() == 0
    nav = page.locator("nav.nav").inner_text()
    assert bool(CJK.search(nav)) == (window.language == "zh-Hant")
    assert window.axe() == []
    assert window.complaints == []
    assert window.failures == []
    assert window.strangers == []


# --- finding a study ---------------------------------------------------------------------------


def test_a_study_is_found_by_accession_number_from_anywhere(see: OpenScreen, world: World) -> None:
    window = see()
    page = window.open("/jobs")
    page.keyboard.press("/")
    page.keyboard.type(world.accession)
    page.keyboard.press("Enter")
    page.locator("tr[data-row]").first.wait_for()
    assert f"accession={world.accession}" in page.url
    page.get_by_label("Called AE title").fill("LUNG_CT")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.locator("tr[data-row] a").first.click()
    page.locator("[data-kind='result/delivered']").wait_for()
    kinds = page.locator(".timeline li").evaluate_all("all => all.map(one => one.dataset.kind)")
    story = ["association/opened", "payload/completed", "rule/matched", "job/created"]
    story += ["operator/started", "job/stopped", "result/registered", "result/delivered"]
    assert [kinds.index(kind) for kind in story] == sorted(kinds.index(kind) for kind in story)


def test_a_study_is_found_by_uid_and_one_that_is_not_there_says_why(
    see: OpenScreen, world: World
) -> None:
    window = see()
    page = window.open("/")
    page.get_by_role("searchbox").first.fill(world.study)
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.get_by_role("searchbox").first.fill("1.2.3.4.5.6.7")
    page.keyboard.press("Enter")
    # STRANGER was turned away: that may be why.
    expect(page.locator(".empty")).to_contain_text("STRANGER")


def test_times_are_local_with_utc_at_hand(see: OpenScreen, world: World) -> None:
    page = see().open("/jobs")
    shown = page.locator("tr[data-row] time").first
    moment = shown.get_attribute("datetime") or ""
    assert shown.get_attribute("title") == moment.replace("T", " ").replace("Z", "") + " UTC"
    hour = (int(moment[11:13]) + 8) % 24
    assert f"{hour:02}{moment[13:19]}" in shown.inner_text()


# --- studies -----------------------------------------------------------------------------------


def test_a_study_without_a_rule_is_evaluated_again(see: OpenScreen, world: World) -> None:
    window = see("otto")
    page = window.open(f"/studies/{world.payload('NOBODY')['id']}")
    page.get_by_role("button", name="Evaluate rules again").click()
    window.confirm("Evaluate rules again")
    window.toast("being evaluated again")


def test_a_conflict_is_released_after_a_question(see: OpenScreen, world: World) -> None:
    held = world.site.items("payloads", state="CONFLICT")[0]
    window = see("otto")
    page = window.open(f"/studies/{held['id']}")
    page.get_by_text("Different Patient IDs stand under one").wait_for()
    page.get_by_role("button", name="Release").click()
    window.confirm("Release")
    window.toast("released")
    world.site.wait(lambda: world.site.get(f"payloads/{held['id']}")["conflict_released"])
    expect(page.get_by_role("button", name="Release")).to_have_count(0)


def test_explain_a_study_of_the_past(see: OpenScreen, world: World) -> None:
    window = see("vera")
    page = window.open(f"/rules?payload={world.payload('LUNG_CT')['id']}")
    page.get_by_role("button", name="Explain", exact=True).click()
    shown = page.locator(".explained").first
    expect(shown).to_contain_text("lung density")
    expect(shown.locator("[data-state=MATCHED]").first).to_be_visible()
    expect(shown).to_contain_text("= true")


def test_explain_a_dropped_file(see: OpenScreen, world: World) -> None:
    window = see("otto")
    page = window.open("/rules")
    page.get_by_label("Called AE title").select_option("LUNG_CT")
    page.locator("input[type=file]").set_input_files(world.files[0])
    expect(page.locator(".explained").first).to_contain_text("lung density")
    before = len(world.site.items("payloads"))
    page.locator("input[type=file]").set_input_files(
        {"name": "no.dcm", "mimeType": "application/dicom", "buffer": b"not DICOM"}
    )
    page.locator(".problem[role=alert]").wait_for()
    assert len(world.site.items("payloads")) == before


# --- jobs --------------------------------------------------------------------------------------


def test_a_failed_job_shows_its_log_as_text(see: OpenScreen, world: World) -> None:
    window = see("vera")
    page = window.open(f"/jobs/{world.job('ODD')['id']}")
    log = page.get_by_role("log")
    expect(log).to_contain_text(SCRIPT)
    expect(log).to_contain_text("cannot tell left from right")
    expect(page.locator(".dag-node[data-state=FAULTED]")).to_be_visible()
    for folder in ("operators", "orient"):
        page.get_by_role("button", name=folder, exact=True).click()
    expect(page.get_by_role("link", name=f"{SCRIPT}.txt")).to_be_visible()
    window.open("/studies?called_ae=ODD")
    expect(page.locator("tr[data-row]")).to_contain_text(MARKED_ID)
    window.open(f"/rules?payload={world.payload('ODD')['id']}")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.locator(".explained").first.wait_for()
    assert "stolen" not in page.title()
    assert page.locator("img").count() == 0
    assert window.complaints == []


def test_a_running_job_is_followed_and_cancelled(see: OpenScreen, world: World) -> None:
    window = see("otto")
    page = window.open(f"/jobs/{world.job('SLOW')['id']}")
    log = page.get_by_role("log")
    expect(log).to_contain_text("still looking")
    seen = log.inner_text().count("\n")
    page.wait_for_function(
        "seen => document.querySelector('[role=log]').textContent.split('\\n').length > seen + 3",
        arg=seen,
    )
    expect(page.locator(".dag-node[data-state=RUNNING]")).to_be_visible()
    page.get_by_role("button", name="Cancel job").click()
    window.confirm("Cancel job")
    # Live: nobody loads the page again.
    expect(page.locator("h1 [data-state=CANCELED]")).to_be_visible(timeout=60_000)


def test_a_waiting_job_gets_another_priority_and_may_be_run_again(
    see: OpenScreen, world: World
) -> None:
    window = see("otto")
    page = window.open("/pipelines")
    card = page.locator(".card", has_text="orient")
    card.get_by_role("button", name="Pause").click()
    window.confirm("Pause")
    expect(card.locator("[data-state=PAUSED]")).to_be_visible()
    job = world.job("ODD")["id"]
    window.open(f"/jobs/{job}")
    page.get_by_role("button", name="Run again").click()
    window.confirm("Run again")
    expect(page.locator("h1 [data-state=PENDING]")).to_be_visible()
    page.get_by_role("button", name="Change priority").click()
    page.locator("dialog select").select_option("immediate")
    window.confirm("Change priority")
    expect(page.locator(".facts")).to_contain_text(["Immediate"])
    assert world.site.get(f"jobs/{job}")["priority"] == "immediate"
    window.open("/pipelines")
    card.get_by_role("button", name="Resume").click()
    world.site.wait(lambda: world.site.get(f"jobs/{job}")["attempt"] == 2)


def test_jobs_are_filtered_and_the_filters_stand_in_the_address(
    see: OpenScreen, world: World
) -> None:
    page = see("vera").open("/jobs")
    page.get_by_label("Pipeline").fill("lung-density")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    assert "pipeline=lung-density" in page.url
    page.get_by_label("Pipeline").fill("nothing")
    expect(page.locator(".empty")).to_contain_text("Change or clear the filters")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator("tr[data-row]").nth(2)).to_be_visible()


def test_why_a_job_started_and_what_it_made(see: OpenScreen, world: World) -> None:
    window = see("vera")
    page = window.open(f"/jobs/{world.job('LUNG_CT')['id']}")
    page.get_by_text("matched revision 1").wait_for()
    page.get_by_text("Values evaluated").click()
    expect(page.get_by_text('"Modality": "CT"')).to_be_visible()
    expect(page.locator(".dag-node[data-state=COMPLETED]")).to_have_count(4)
    page.locator(".dag-node", has_text="lung-density").click()
    expect(page.get_by_role("log")).to_contain_text("volume.chosen")
    for folder in ("operators", "lung-density"):
        page.get_by_role("button", name=folder, exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="measurements.json").click()
    assert "laa950" in Path(waiting.value.path()).read_text().lower().replace("_", "")


# --- pipelines ---------------------------------------------------------------------------------


def test_the_editor_checks_as_one_types_and_saves_a_new_version(
    see: OpenScreen, world: World
) -> None:
    window = see("mei")
    page = window.open("/pipelines/derive/edit")
    page.get_by_text("Valid", exact=True).wait_for()
    text = page.locator(".cm-content")
    text.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("colour: red\n")
    expect(page.locator(".faults")).to_contain_text("colour")
    # The schema marks the place in the text, too, without asking anybody.
    page.locator(".cm-lint-marker-error").first.wait_for()
    expect(page.get_by_role("button", name="Save as new version")).to_be_disabled()
    for _ in range(len("colour: red\n")):
        page.keyboard.press("Backspace")
    page.keyboard.type("description: made in the console\n")
    page.get_by_text("Valid", exact=True).wait_for()
    page.get_by_role("button", name="Save as new version").click()
    window.toast("saved as version 2")
    expect(page.locator(".diff .added")).to_contain_text("made in the console")
    assert world.site.get("pipelines/derive")["version"] == 2
    assert window.complaints == []


# --- delivery ----------------------------------------------------------------------------------


def test_echo_tells_who_answers_and_who_does_not(see: OpenScreen, world: World) -> None:
    window = see("otto")
    page = window.open("/delivery")
    row = page.locator("tr", has_text=f"PACS@127.0.0.1:{world.pacs.port}")
    row.get_by_role("button", name="C-ECHO").click()
    window.toast("PACS answered the C-ECHO in")
    page.locator("tr", has_text="ARCHIVE@").first.get_by_role("button", name="C-ECHO").click()
    page.locator(".toast.bad", has_text="ARCHIVE").wait_for()


def test_a_destination_is_paused_and_resumed(see: OpenScreen, world: World) -> None:
    window = see("otto")
    page = window.open("/delivery")
    row = page.locator("tr", has_text=f"PACS@127.0.0.1:{world.pacs.port}")
    row.get_by_role("button", name="Pause").click()
    window.confirm("Pause")
    expect(row).to_contain_text("paused since")
    row.get_by_role("button", name="Resume").click()
    window.toast("resumed")
    expect(row).not_to_contain_text("paused since")


def test_a_delivered_result_is_sent_again(see: OpenScreen, world: World) -> None:
    result = world.site.items("results", destination="PACS")[0]
    files = world.site.get(f"results/{result['id']}")["files"]
    uid = files[0]["sop_instance_uid"]
    before = len(world.pacs.seen[uid])
    window = see("otto")
    page = window.open(f"/delivery/{result['id']}")
    expect(page.locator("tr[data-row]", has_text="0000H")).to_have_count(len(files))
    page.get_by_role("button", name="Send again").click()
    window.confirm("Send again")
    window.toast("sent again")
    world.site.wait(lambda: len(world.pacs.seen[uid]) == before + 1)
    assert len(set(world.pacs.seen[uid])) == 1


def test_a_waiting_result_is_retried_now(see: OpenScreen, world: World) -> None:
    window = see("otto")
    page = window.open("/delivery?destination=ARCHIVE")
    expect(page.locator("tr[data-state], tr", has_text="takes no connection").first).to_be_visible()
    page.get_by_role("button", name="Retry now").first.click()
    window.toast("tried again now")


def test_a_rejected_association_shows_its_reason(see: OpenScreen) -> None:
    page = see("vera").open("/associations?state=REJECTED")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    expect(page.locator("tr[data-row]")).to_contain_text("no source has the AE title 'STRANGER'")


# --- people ------------------------------------------------------------------------------------


def test_users_and_tokens_are_made_and_every_change_is_audited(
    see: OpenScreen, world: World
) -> None:
    window = see("mei")
    page = window.open("/system/users")
    page.get_by_role("button", name="New user").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_role("textbox", name="User").fill("night.shift")
    dialog.get_by_label("Role").select_option("operator")
    dialog.get_by_label("Password").fill("long enough for a night")
    window.confirm("Save")
    page.locator("tr", has_text="night.shift").get_by_role("button", name="Change").click()
    page.locator("dialog[open]").get_by_label("Disabled: cannot sign in").check()
    window.confirm("Save")
    expect(page.locator("tr", has_text="night.shift")).to_contain_text("Disabled")
    page.locator("tr", has_text="night.shift").get_by_role("button", name="Delete").click()
    window.confirm("Delete")
    expect(page.locator("tr", has_text="night.shift")).to_have_count(0)

    window.open("/system/tokens")
    page.get_by_role("button", name="New token").click()
    dialog = page.locator("dialog[open]")
    dialog.get_by_label("Name").fill("nightly")
    dialog.get_by_role("button", name="Make", exact=True).click()
    secret = dialog.locator(".uid")
    secret.wait_for()
    bearer = {"Authorization": f"Bearer {secret.get_attribute('title')}"}
    assert httpx.get(f"{world.url}/api/v1/jobs", headers=bearer, trust_env=False).status_code == 200
    dialog.get_by_role("button", name="Close").click()
    page.locator("tr", has_text="nightly").get_by_role("button", name="Revoke").click()
    window.confirm("Revoke")
    expect(page.locator("tr", has_text="nightly")).to_have_count(0)
    assert httpx.get(f"{world.url}/api/v1/jobs", headers=bearer, trust_env=False).status_code == 401

    window.open("/system/audit")
    listed = page.locator("tbody").inner_text()
    for action in ("POST /api/v1/users", "DELETE /api/v1/tokens", "mei"):
        assert action in listed


def test_long_lists_are_turned_page_by_page(see: OpenScreen, world: World) -> None:
    for _ in range(60):
        world.site.post("scheduler/resume")  # refused, and audited all the same
    page = see("mei").open("/system/audit")
    rows, pager = page.locator("tr[data-row]"), page.locator(".pager")
    expect(rows).to_have_count(50)
    newest = rows.first.inner_text()
    pager.get_by_role("button", name="Older").click()
    expect(pager).to_contain_text("Page 2")
    expect(rows.first).not_to_have_text(newest)
    pager.get_by_role("button", name="Newer").click()
    expect(pager.get_by_role("button", name="Newer")).to_be_disabled()
    expect(rows).to_have_count(50)


def test_signing_in_wrong_and_right_and_out(see: OpenScreen, world: World) -> None:
    window = see(None)
    page = window.open("/studies")
    assert window.axe() == []
    page.get_by_label("User").fill("vera")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.locator(".problem[role=alert]").wait_for()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator("tr[data-row]").first.wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Password").wait_for()
    page.reload()
    page.get_by_label("Password").wait_for()


def test_a_viewer_sees_no_buttons_that_act(see: OpenScreen, world: World) -> None:
    window = see("vera")
    page = window.open("/delivery")
    assert page.get_by_role("button", name="C-ECHO").count() == 0
    window.open(f"/jobs/{world.job('LUNG_CT')['id']}")
    assert page.get_by_role("button", name="Run again").count() == 0
    window.open("/pipelines")
    assert page.get_by_role("button", name="Pause").count() == 0
    window.open("/system")
    assert page.locator(".tabs a").all_inner_texts() == [
        "Checks",
        "Components and licences",
        "Account",
    ]
    # A link of an administrator leads to words, not to a page of refusals.
    window.open("/system/users")
    expect(page.locator(".empty")).to_be_visible()
    assert window.failures == []


def test_a_change_is_refused_when_its_csrf_token_is_missing(see: OpenScreen, world: World) -> None:
    page = see("otto").open("/")
    status = page.evaluate(
        "url => fetch(url, {method: 'POST'}).then(answer => answer.status)",
        f"/api/v1/jobs/{world.job('LUNG_CT')['id']}/rerun",
    )
    assert status == 403


# --- keys, language, theme ---------------------------------------------------------------------


def test_the_keyboard_reaches_everything(see: OpenScreen) -> None:
    window = see("vera")
    page = window.open("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/jobs")
    page.locator("tr[data-row]").first.wait_for()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr[data-row] a").nth(1)).to_be_focused()
    ring = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    assert window.axe() == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_language_and_theme_are_chosen_and_kept(see: OpenScreen) -> None:
    window = see("vera")
    page = window.open("/")
    page.get_by_label("Language").select_option("zh-Hant")
    expect(page.locator("h1")).to_have_text("總覽")
    page.locator("#theme").click()
    page.locator("#theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("h1")).to_have_text("總覽")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_narrow_window_needs_no_sideways_scrolling(see: OpenScreen) -> None:
    window = see("vera", size=(420, 800))
    for path in ("/", "/jobs", "/rules"):
        page = window.open(path)
        over = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, path
        assert window.axe() == []


def test_the_policy_of_the_page_lets_nothing_inline_in(see: OpenScreen, world: World) -> None:
    answer = httpx.get(f"{world.url}/", trust_env=False)
    policy = answer.headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    page = see("vera").open("/")
    page.evaluate(
        "() => { const made = document.createElement('script');"
        " made.textContent = 'window.stolen = true'; document.body.append(made); }"
    )
    assert page.evaluate("() => window.stolen") is None


# --- last, because it deletes ------------------------------------------------------------------


def test_the_files_of_a_study_are_deleted_after_a_question(see: OpenScreen, world: World) -> None:
    window = see("otto")
    held = world.payload("NOBODY")
    page = window.open(f"/studies/{held['id']}")
    page.get_by_role("button", name="Delete").click()
    window.confirm("Delete")
    expect(page.locator("h1 [data-state=DELETED]")).to_be_visible()
