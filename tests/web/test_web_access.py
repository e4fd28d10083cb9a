"""Every route, called by everybody: the table of access is the one truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from gateway.config.http import HttpSettings
from gateway.web import access
from gateway.web.access import TABLE
from gateway.web.accounts.roles import Role
from gateway.web.application import create_app
from tests.support.console import House, house
from tests.web.conftest import Site

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "console-api.md"
PLACE = re.compile(r"\{[^}]+\}")


@pytest.fixture
def closed(site: Site) -> Iterator[House]:
    """A gateway that does not listen on loopback alone."""
    http = HttpSettings(bind="0.0.0.0", machines="token")  # noqa: S104
    with house(site.services, http) as made:
        made.user("root")
        yield made


def routes(site: Site) -> set[str]:
    app = create_app(site.services)
    found = set()
    for route in iter_route_contexts(app.routes):
        methods = set(route.methods or ()) - {"HEAD"}
        found |= {f"{method} {route.path}" for method in methods}
    return found


def test_every_route_has_a_line_and_every_line_a_route(site: Site) -> None:
    assert routes(site) == set(TABLE)


def status(client: httpx.Client, line: str) -> int:
    method, _, template = line.partition(" ")
    with client.stream(method, PLACE.sub("x", template)) as answer:
        return answer.status_code


def test_every_route_with_every_role_and_none(closed: House) -> None:
    with ExitStack() as stack:
        nobody = stack.enter_context(closed.caller())
        known = {role: stack.enter_context(closed.script(role, role.value)) for role in Role}
        for line, wanted in TABLE.items():
            if wanted.role is None:
                assert status(nobody, line) not in {401, 403} or line == "POST /api/v1/session"
                continue
            assert status(nobody, line) == 401, line
            for role, client in known.items():
                allowed = role.reaches(wanted.role)
                assert (status(client, line) != 403) == allowed, (line, role)
                if allowed:
                    assert status(client, line) != 401, (line, role)


def test_what_no_line_fits_is_for_administrators() -> None:
    for method, path in (
        ("GET", "/api/v1/new"), ("POST", "/api/v1/jobs"), ("GET", "/api/v1/jobs/"),
        ("PUT", "/anything"), ("GET", "//api/v1/users"), ("GET", "/metrics/"), ("TRACE", "/"),
    ):  # fmt: skip
        assert access.call(method, path).access.role is Role.ADMINISTRATOR, path
    assert access.call("HEAD", "/api/v1/users").access.role is Role.ADMINISTRATOR
    assert access.call("GET", "/api/v1/jobs/x/files/../../users").access.role is not None


@pytest.mark.parametrize(
    "path",
    ["/api/v1/users", "//api/v1/users", "/api//v1/users", "/./api/v1/users", "/x/../api/v1/users",
     "/%61pi/v1/users", "/api/v1/users/", "/api/v1/users?x=/health/live", "/API/v1/users",
     "/api/v1/users%2f", "/health/live/../../api/v1/users", "/api/v1/users%00", "/api/v1%2Fusers"],
)  # fmt: skip
def test_no_other_spelling_of_an_address_opens_it(closed: House, path: str) -> None:
    with closed.caller() as nobody:
        request = nobody.build_request("GET", closed.url)
        request.url = request.url.copy_with(raw_path=path.encode())
        answer = nobody.send(request)
    assert "root" not in answer.text
    assert answer.status_code in {307, 401, 403, 404, 422} or "<!doctype html>" in answer.text


def test_the_page_of_the_console_api_tells_only_what_is_there() -> None:
    text = PAGE.read_text("utf-8")
    lines = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/api/v1/[^`?]*)[^`]*`", text)
    assert len(lines) > 40
    known = {PLACE.sub("{}", line) for line in TABLE}
    told = {PLACE.sub("{}", f"{method} {path}") for method, path in lines}
    assert told <= known, told - known
