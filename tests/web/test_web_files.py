"""A job's files to browse and download, and the console's own files: nothing else is ever sent."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from gateway.database import schema
from gateway.web.ranges import disposition
from tests.support.console import house
from tests.web.conftest import Site

DATA = bytes(range(256)) * 4


@pytest.fixture
def folder(site: Site) -> Path:
    """The folder of the story's job, with files of all kinds in it."""
    with site.database.read() as connection:
        query = sa.select(schema.jobs.c.payload_id).where(schema.jobs.c.id == site.story.job)
        payload = connection.execute(query).scalar_one()
    made: Path = site.services.data_dir / "payloads" / payload
    (made / "operators" / "reader" / "out").mkdir(parents=True)
    (made / "input").mkdir()
    (made / "operators" / "reader" / "image.raw").write_bytes(DATA)
    (made / "operators" / "reader" / "empty.txt").touch()
    return made


def url(site: Site, path: str = "") -> str:
    return f"/api/v1/jobs/{site.story.job}/files{path and '/' + path}"


def raw(site: Site, path: str) -> httpx.Response:
    """The answer to exactly this path: no client tidies it up."""
    request = site.client.build_request("GET", url(site))
    request.url = request.url.copy_with(raw_path=(url(site) + path).encode("latin-1"))
    return site.client.send(request)


def test_folders_are_listed(site: Site, folder: Path) -> None:
    assert [item["path"] for item in site.client.get(url(site)).json()["items"]] == [
        "input", "operators",
    ]  # fmt: skip
    told = site.client.get(url(site, "operators/reader")).json()
    assert [(item["name"], item["kind"], item["size"]) for item in told["items"]] == [
        ("out", "folder", None), ("empty.txt", "file", 0), ("image.raw", "file", len(DATA)),
    ]  # fmt: skip
    assert told["path"] == "operators/reader"
    assert told["truncated"] is False


def test_a_file_comes_whole_as_an_attachment(site: Site, folder: Path) -> None:
    answer = site.client.get(url(site, "operators/reader/image.raw"))
    assert answer.content == DATA
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith('attachment; filename="image.raw"')
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    again = site.client.get(
        url(site, "operators/reader/image.raw"), headers={"If-None-Match": headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert site.client.get(url(site, "operators/reader/empty.txt")).content == b""


@pytest.mark.parametrize(
    ("asked", "status", "begin", "end"),
    [
        ("bytes=0-9", 206, 0, 10), ("bytes=1000-", 206, 1000, 1024), ("bytes=-24", 206, 1000, 1024),
        ("bytes=1000-99999", 206, 1000, 1024), ("bytes=1023-1023", 206, 1023, 1024),
        ("bytes=0-", 200, 0, 1024), ("bytes=-99999", 200, 0, 1024), ("bytes=5-2", 200, 0, 1024),
        ("bytes=0-1,5-6", 200, 0, 1024), ("lines=0-1", 200, 0, 1024), ("bytes=-", 200, 0, 1024),
        ("bytes=1024-", 416, 0, 0), ("bytes=-0", 416, 0, 0),
    ],
)  # fmt: skip
def test_a_range_of_a_file(
    site: Site, folder: Path, asked: str, status: int, begin: int, end: int
) -> None:
    answer = site.client.get(url(site, "operators/reader/image.raw"), headers={"Range": asked})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == "bytes */1024"
        return
    assert answer.content == DATA[begin:end]
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/1024"


def test_a_range_of_another_file_is_the_whole(site: Site, folder: Path) -> None:
    given = {"Range": "bytes=0-9", "If-Range": '"another"'}
    answer = site.client.get(url(site, "operators/reader/image.raw"), headers=given)
    assert (answer.status_code, answer.content) == (200, DATA)


def test_no_path_leads_out(site: Site, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("QQSECRETQQ")
    reader = folder / "operators" / "reader"
    (reader / "link.txt").symlink_to(secret)
    (reader / "up").symlink_to(tmp_path)
    (reader / "near").symlink_to("image.raw")
    os.mkfifo(reader / "pipe")
    above = "/".join([".."] * 12)
    for path in (
        "/../../../gateway.db", f"/{above}/etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/gateway.db",
        "/operators/reader/../../../../gateway.db", "/..%2f..%2f..%2fgateway.db",
        f"/operators/reader/{above}{secret}", f"/{secret}", f"//{secret}",
        "/operators/reader/link.txt", "/operators/reader/up/secret.txt", "/operators/reader/up",
        "/operators/reader/near", "/operators/reader/pipe", "/operators//reader",
        "/operators/reader/image.raw/x", "/operators/reader/", "/" + "a/" * 70, "/" + "a" * 300,
        "/operators%5creader", "/%ff%fe",
    ):  # fmt: skip
        answer = raw(site, path)
        # A client that tidies the address up asks for a page of the console.
        page = answer.text.startswith("<!doctype html>")
        assert answer.status_code in {404, 400, 422} or page, path
        assert "root:" not in answer.text
        assert "QQSECRETQQ" not in answer.text
    # Names that the router tidies up mean what lies in the job's own folder.
    assert raw(site, "/operators/reader/image.raw%0a").content == DATA
    assert {item["name"] for item in raw(site, "/./operators").json()["items"]} == {"reader"}
    listed = site.client.get(url(site, "operators/reader")).json()["items"]
    assert {item["name"] for item in listed} == {"out", "image.raw", "empty.txt"}
    assert raw(site, "/%00").status_code == 422


def test_names_of_files_cannot_become_markup_or_headers(site: Site, folder: Path) -> None:
    reader = folder / "operators" / "reader"
    names = ("<script>alert(1)</script>.html", 'a"; filename="b.exe', "x.svg", "肺.json")
    for name in names:
        (reader / name.replace("/", "_")).write_text("<script>alert(1)</script>")
    (reader / "two\nlines").write_text("")
    (reader / os.fsdecode(b"\xff")).write_text("")
    listed = site.client.get(url(site, "operators/reader"))
    assert listed.headers["content-type"] == "application/json"
    shown = {item["name"] for item in listed.json()["items"]}
    assert "two\nlines" not in shown
    for name in names:
        name = name.replace("/", "_")
        assert name in shown
        answer = site.client.get(
            url(site, f"operators/reader/{httpx.URL(path='/' + name).raw_path.decode()[1:]}")
        )
        assert answer.status_code == 200, name
        kind = answer.headers["content-type"]
        assert kind == ("application/json" if name.endswith("json") else "application/octet-stream")
        given = answer.headers["content-disposition"]
        assert given == disposition(name)
        assert given.isascii()
        assert given.count('"') == 2


def test_a_job_without_files_has_an_empty_list(site: Site) -> None:
    assert site.client.get(url(site)).json() == {"path": "", "items": [], "truncated": False}
    assert site.client.get("/api/v1/jobs/nothing/files").status_code == 404


def built(folder: Path) -> None:
    """What the console's build leaves."""
    (folder / "assets").mkdir(parents=True)
    page = '<meta name="csp-nonce" content="__CSP_NONCE__"><script src="/assets/a-1.js"></script>'
    page = "<!doctype html>" + page
    (folder / "index.html").write_text(page)
    (folder / "assets" / "a-1.js").write_text("let a = 1;")
    (folder / "assets" / "a-1.js.gz").write_bytes(gzip.compress(b"let a = 1;"))
    (folder / "assets" / "b-2.css").write_text("a{}")
    (folder / "icon.svg").write_text("<svg/>")


def test_the_console_is_served_strictly(site: Site, tmp_path: Path) -> None:
    console = tmp_path / "static"
    built(console)
    with (
        house(replace(site.services, console=console)) as made,
        made.caller(Accept_Encoding="gzip") as nobody,
    ):
        made.user("mei")
        nonces = set()
        for path in ("/", "/jobs", "/studies/1.2.3", "/jobs/x/y.z"):
            page = nobody.get(path)
            assert page.status_code == 200
            policy = dict(
                part.strip().split(" ", 1)
                for part in page.headers["content-security-policy"].split(";")
            )
            assert policy["script-src"] == "'self'"
            assert policy["default-src"] == "'self'"
            assert policy["frame-ancestors"] == policy["object-src"] == "'none'"
            assert "unsafe" not in page.headers["content-security-policy"]
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["referrer-policy"] == "no-referrer"
            nonce = policy["style-src"].partition("'nonce-")[2].rstrip("'")
            assert f'content="{nonce}"' in page.text
            nonces.add(nonce)
        assert len(nonces) == 4
        script = nobody.get("/assets/a-1.js")
        assert script.text == "let a = 1;"
        assert script.headers["content-encoding"] == "gzip"
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in script.headers["cache-control"]
        again = {"If-None-Match": script.headers["etag"]}
        assert nobody.get("/assets/a-1.js", headers=again).status_code == 304
        plain = nobody.get("/assets/a-1.js", headers={"Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in plain.headers
        assert plain.text == "let a = 1;"
        assert nobody.get("/assets/b-2.css").headers["content-type"].startswith("text/css")
        assert nobody.get("/icon.svg").headers["cache-control"] == "no-cache"
        # An older page asks for what is gone: no HTML in the place of a script.
        assert nobody.get("/assets/a-0.js").status_code == 404
        for path in ("/../services.py", "/assets/../../gateway.db", "/%2e%2e/%2e%2e/etc/passwd"):
            assert nobody.get(path).text.startswith("<!doctype html>") or (
                nobody.get(path).status_code == 404
            )
        assert nobody.post("/jobs").status_code == 401


def test_a_console_that_is_not_built_says_how(site: Site) -> None:
    answer = site.client.get("/")
    assert answer.status_code == 200
    assert "make console" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
