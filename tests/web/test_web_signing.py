"""Signing in and out, sessions, tokens, limits, CSRF, names of hosts, and the audit list."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from gateway.config.http import HttpSettings, HttpTlsSettings, SignInSettings
from gateway.database import schema
from gateway.errors import Refused
from gateway.web.accounts.attempts import Attempts, TooMany
from gateway.web.accounts.passwords import WeakPassword
from gateway.web.accounts.roles import Role
from tests.support.certificates import Authority
from tests.support.console import PASSWORD, House, house, sign_in
from tests.support.databases import on_postgres
from tests.web.conftest import Site

PATIENT = HttpSettings(sign_in=SignInSettings(failures_per_address=3, failures_per_user=3))
ELSEWHERE = "0.0.0.0"  # noqa: S104 - the settings say so; the tests listen on loopback


@pytest.fixture
def home(site: Site) -> Iterator[House]:
    """A gateway on loopback with one administrator."""
    with house(site.services) as made:
        made.user("mei")
        yield made


def audited(home: House) -> list[sa.Row[tuple[object, ...]]]:
    with home.services.database.read() as connection:
        return list(connection.execute(sa.select(schema.audit).order_by(schema.audit.c.id)))


def change(home: House, table: sa.Table, **values: object) -> None:
    with home.services.database.begin() as connection:
        connection.execute(sa.update(table).values(**values))


def test_without_users_on_loopback_everybody_may_and_the_console_knows(site: Site) -> None:
    assert site.client.get("/api/v1/session").json() == {
        "user": None, "role": "administrator", "csrf": None, "open": True, "setup": False,
        "expires_at": None,
    }  # fmt: skip
    assert site.client.post(f"/api/v1/jobs/{site.story.job}/cancel").status_code == 200


def test_the_first_user_closes_it(home: House) -> None:
    with home.caller() as nobody:
        assert nobody.get("/api/v1/session").json()["role"] is None
        answer = nobody.get("/api/v1/jobs")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"
        # Programs of this machine go on.
        for path in ("/health", "/metrics", "/api/tasks/other/pending"):
            assert nobody.get(path).status_code == 200, path
    with home.person("MEI") as mei:
        told = mei.get("/api/v1/session").json()
        assert (told["user"], told["role"], told["open"]) == ("mei", "administrator", False)
        assert mei.get("/api/v1/jobs").status_code == 200


def test_the_cookie_is_for_the_browser_alone(home: House) -> None:
    with home.caller() as client:
        cookie = sign_in(client, "mei").headers["set-cookie"].lower()
    assert cookie.startswith("gateway_session=")
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.split("; "))
    assert "secure" not in cookie
    assert "domain" not in cookie


def test_over_tls_the_cookie_is_secure(site: Site, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("gateway")
    http = HttpSettings(tls=HttpTlsSettings(certificate=own.certificate, key=own.key))
    with house(site.services, http) as made:
        made.user("mei")
        with httpx.Client(base_url=made.url, verify=False, trust_env=False) as client:  # noqa: S501
            assert "; secure" in sign_in(client, "mei").headers["set-cookie"].lower()
            assert client.get("/api/v1/jobs").status_code == 200
        with pytest.raises(httpx.HTTPError), httpx.Client(trust_env=False) as plain:
            plain.get(made.url.replace("https", "http"))


def test_a_changing_call_of_a_session_needs_its_csrf_token(home: House) -> None:
    with home.person("mei") as mei, home.person("mei") as other:
        path = "/api/v1/scheduler/pause"
        mine = mei.headers.pop("X-CSRF-Token")
        assert mei.post(path).status_code == 403
        for wrong in ("", "x", other.headers["X-CSRF-Token"], mine[:-1], "\xff"):
            given = {"X-CSRF-Token": wrong.encode("latin-1")}
            assert mei.post(path, headers=given).status_code == 403, wrong
        assert mei.delete("/api/v1/session").status_code == 403
        assert mei.get("/api/v1/session").json()["csrf"] == mine
        assert mei.post(path, headers={"X-CSRF-Token": mine}).status_code == 200
        # Even with the token: a page of another site must not ask.
        foreign = {"X-CSRF-Token": mine, "Origin": "http://evil.example"}
        assert mei.post(path, headers=foreign).status_code == 403
    with home.script(Role.OPERATOR) as script:
        assert script.post("/api/v1/scheduler/resume").status_code == 200


def test_signing_in_from_a_page_of_another_site_is_refused(home: House) -> None:
    with home.caller(Sec_Fetch_Site="cross-site") as client:
        assert sign_in(client, "mei").status_code == 403


def test_wrong_and_unknown_are_answered_alike(home: House) -> None:
    with home.caller() as client:
        wrong, unknown = sign_in(client, "mei", "no such"), sign_in(client, "nobody", "no such")
        assert wrong.status_code == unknown.status_code == 401
        assert wrong.json() == unknown.json()
        assert "set-cookie" not in wrong.headers
        times: dict[str, list[float]] = {"mei": [], "nobody": []}
        for _ in range(4):
            for name, taken in times.items():
                began = time.perf_counter()
                home.accounts._passwords.matches(
                    None if name == "nobody" else stored(home, name), "no such"
                )
                taken.append(time.perf_counter() - began)
        ratio = statistics.median(times["nobody"]) / statistics.median(times["mei"])
        assert 0.2 < ratio < 5


def stored(home: House, name: str) -> str:
    with home.services.database.read() as connection:
        query = sa.select(schema.users.c.password).where(schema.users.c.name == name)
        found: str = connection.execute(query).scalar_one()
        return found


def test_secrets_are_not_kept(home: House) -> None:
    assert stored(home, "mei").startswith("$argon2id$")
    token = home.token(Role.VIEWER)
    with home.person("mei") as mei:
        secret = mei.cookies["gateway_session"]
    if on_postgres():
        return
    home.services.database.close()
    data = b"".join(path.read_bytes() for path in home.services.data_dir.glob("gateway.db*"))
    assert b"mei" in data
    for text in (PASSWORD, token, secret):
        assert text.encode() not in data


def test_weak_passwords_and_odd_names_are_refused(home: House) -> None:
    for weak in ("short", "aaaaaaaaaaaa", "li-li-1234" * 30, "administrator1"):
        with pytest.raises(WeakPassword):
            home.user("administrator", password=weak)
    with home.person("mei") as mei:
        body = {"role": "viewer", "password": PASSWORD}
        for name in ("", "a b", "../x", "<b>", "x" * 64):
            assert mei.post("/api/v1/users", json={**body, "name": name}).status_code == 422
        given = {**body, "name": "li", "password": "short"}
        assert mei.post("/api/v1/users", json=given).status_code == 422
        assert mei.post("/api/v1/users", json={**body, "name": "MEI"}).status_code == 409


def test_a_session_ends_when_it_is_signed_out_idle_or_over(home: House) -> None:
    with home.person("mei") as mei:
        secret = mei.cookies["gateway_session"]
        gone = mei.delete("/api/v1/session")
        assert gone.status_code == 204
        assert 'gateway_session=""' in gone.headers["set-cookie"]
    with home.caller(Cookie=f"gateway_session={secret}") as thief:
        assert thief.get("/api/v1/jobs").status_code == 401
    with home.person("mei") as mei:
        change(home, schema.sessions, seen_at=time.time() - 1799)
        assert mei.get("/api/v1/jobs").status_code == 200
        # It was used: its idle time begins anew.
        change(home, schema.sessions, expires_at=time.time() + 5)
        assert mei.get("/api/v1/jobs").status_code == 200
        change(home, schema.sessions, expires_at=time.time() - 1)
        assert mei.get("/api/v1/jobs").status_code == 401
    with home.person("mei") as mei:
        change(home, schema.sessions, seen_at=time.time() - 1801)
        assert mei.get("/api/v1/jobs").status_code == 401


def test_a_session_survives_a_restart(home: House) -> None:
    with home.person("mei") as mei:
        cookie = f"gateway_session={mei.cookies['gateway_session']}"
    with house(home.services) as again, again.caller(Cookie=cookie) as client:
        assert client.get("/api/v1/session").json()["user"] == "mei"


def test_another_password_role_or_state_ends_all_sessions(home: House) -> None:
    home.user("li", Role.OPERATOR)
    fresh = "another horse battery"
    with home.person("mei") as mei:
        for body in ({"password": fresh}, {"role": "viewer"}, {"disabled": True}):
            with home.person("li", fresh if body != {"password": fresh} else PASSWORD) as li:
                assert mei.patch("/api/v1/users/li", json=body).status_code == 200
                assert li.get("/api/v1/jobs").status_code == 401
        with home.caller() as client:
            assert sign_in(client, "li", fresh).status_code == 401
        own = {"current": "wrong wrong", "password": fresh}
        assert mei.put("/api/v1/session/password", json=own).status_code == 401
        own["current"] = PASSWORD
        assert mei.put("/api/v1/session/password", json=own).status_code == 204
        assert mei.get("/api/v1/users").status_code == 401
    with home.person("mei", fresh) as mei:
        assert mei.delete("/api/v1/users/li").status_code == 204
        assert [user["name"] for user in mei.get("/api/v1/users").json()["items"]] == ["mei"]
        assert "argon2" not in mei.get("/api/v1/users").text


def test_the_last_administrator_stays(home: House) -> None:
    home.user("li", Role.VIEWER)
    with home.person("mei") as mei:
        assert mei.delete("/api/v1/users/mei").status_code == 409
        assert mei.patch("/api/v1/users/mei", json={"role": "viewer"}).status_code == 409
        assert mei.patch("/api/v1/users/mei", json={"disabled": True}).status_code == 409
    with pytest.raises(Refused):
        home.accounts.remove_user("mei")
    home.accounts.remove_user("mei", last=True)


def test_tokens_are_told_once_expire_and_are_revoked(home: House) -> None:
    with home.person("mei") as mei:
        body = {"name": "nightly", "role": "operator", "days": 1}
        made = mei.post("/api/v1/tokens", json=body)
        assert made.status_code == 201
        assert made.json()["created_by"] == "mei"
        token = made.json()["token"]
        assert token not in mei.get("/api/v1/tokens").text
        assert mei.post("/api/v1/tokens", json=body).status_code == 409
        with home.caller(Authorization=f"bearer {token}") as script:
            assert script.get("/api/v1/jobs").status_code == 200
            assert script.get("/api/v1/users").status_code == 403
            assert script.get("/api/v1/session").json()["user"] == "nightly"
            change(home, schema.tokens, expires_at=time.time() - 1)
            assert script.get("/api/v1/jobs").status_code == 401
            change(home, schema.tokens, expires_at=None)
            assert script.get("/api/v1/jobs").status_code == 200
            assert mei.delete("/api/v1/tokens/nightly").status_code == 204
            assert script.get("/api/v1/jobs").status_code == 401
        assert mei.delete("/api/v1/tokens/nightly").status_code == 404


def test_failures_are_limited_per_user_and_address_and_say_so(site: Site) -> None:
    with house(site.services, PATIENT) as made:
        made.user("mei")
        made.user("li")
        with made.caller() as client:
            assert [sign_in(client, "mei", "wrong").status_code for _ in range(3)] == [401] * 3
            refused = sign_in(client, "mei")
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 300
            # From there nobody may: three users with one guess each are three guesses.
            assert sign_in(client, "li").status_code == 429
        with made.script(Role.VIEWER) as script:
            assert script.get("/api/v1/jobs").status_code == 200


def test_attempts_count_per_address_network_and_user_for_a_while() -> None:
    now = 0.0
    limits = SignInSettings(failures_per_address=5, failures_per_user=2, window_minutes=1)
    attempts = Attempts(limits, lambda: now)
    for _ in range(2):
        attempts.take("10.0.0.1", "Mei")
    with pytest.raises(TooMany) as raised:
        attempts.take("10.9.9.9", "mei")
    assert raised.value.retry_after == 60
    taken = attempts.take("2001:db8::1", "li")
    attempts.give_back("2001:db8::1", "li", taken)
    for n in range(5):
        attempts.take(f"2001:db8::{n}", f"user {n}")
    with pytest.raises(TooMany):
        attempts.take("2001:db8::ffff", "another")
    now = 60.5
    attempts.take("10.0.0.1", "mei")


def test_on_loopback_a_made_up_name_is_refused(site: Site) -> None:
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil", ""):
        for path in ("/", "/health", "/metrics", "/api/v1/jobs", "/api/v1/session"):
            answer = site.client.get(path, headers={"Host": host})
            assert answer.status_code == 421, (host, path)
        assert site.client.get("/health/live", headers={"Host": host}).status_code == 200
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:80", "::1"):
        assert site.client.get("/api/v1/jobs", headers={"Host": host}).status_code == 200, host


def test_names_that_are_set_are_known(site: Site) -> None:
    http = HttpSettings(bind=ELSEWHERE, hosts=["gateway.hospital.example"])
    with house(site.services, http) as made:
        made.user("mei")
        with made.script(Role.VIEWER) as script:
            for host, status in (("gateway.hospital.example:8080", 200), ("other.example", 421)):
                answer = script.get("/api/v1/jobs", headers={"Host": host})
                assert answer.status_code == status


def test_elsewhere_nothing_is_answered_before_there_is_a_user(site: Site) -> None:
    with house(site.services, HttpSettings(bind=ELSEWHERE)) as made, made.caller() as nobody:
        answer = nobody.get("/api/v1/jobs")
        assert answer.status_code == 403
        assert "gateway create user" in answer.json()["detail"]
        told = nobody.get("/api/v1/session").json()
        assert (told["role"], told["setup"], told["open"]) == (None, True, False)
        assert nobody.get("/health/ready").status_code == 200
        with made.script(Role.OPERATOR) as script:
            assert script.get("/api/v1/jobs").status_code == 200


def test_a_proxy_on_this_machine_does_not_open_it(site: Site) -> None:
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        given = {name: "203.0.113.9"}
        assert site.client.get("/api/v1/jobs", headers=given).status_code == 403, name
        assert site.client.get("/metrics", headers=given).status_code == 403, name


def test_machines_need_a_token_where_the_settings_say_so(site: Site) -> None:
    paths = ("/health", "/metrics", "/api/tasks/other/pending")
    for machines, statuses in (("token", {401}), ("open", {200}), ("loopback", {200})):
        http = HttpSettings.model_validate({"bind": ELSEWHERE, "machines": machines})
        with house(site.services, http) as made:
            if not made.accounts.list_users():
                made.user("mei")
            with made.caller() as nobody, made.script(Role.OPERATOR, machines) as script:
                assert {nobody.get(path).status_code for path in paths} == statuses
                assert {script.get(path).status_code for path in paths} == {200}
                given = {"X-Forwarded-For": "203.0.113.9"}
                far = nobody.get("/metrics", headers=given).status_code
                assert far == (200 if machines == "open" else 401)


def test_a_trusted_proxy_tells_the_address_of_the_caller(site: Site) -> None:
    http = HttpSettings(bind=ELSEWHERE, proxies=["127.0.0.1"])
    with house(site.services, http) as made:
        made.user("mei")
        with made.caller(X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https") as client:
            answer = sign_in(client, "mei")
            assert "secure" in answer.headers["set-cookie"].lower()
        assert audited(made)[-1].address == "203.0.113.9"
    with house(site.services, HttpSettings(bind=ELSEWHERE)) as made:
        with made.caller(X_Forwarded_For="203.0.113.9") as client:
            sign_in(client, "mei")
        assert audited(made)[-1].address == "127.0.0.1"


def test_every_change_stands_in_the_audit_list(home: House, site: Site) -> None:
    with home.person("mei") as mei:
        mei.post(f"/api/v1/jobs/{site.story.job}/rerun", params={"operator": "reader"})
        mei.delete(f"/api/v1/payloads/{site.story.payload}")
        body = {"name": "li", "role": "viewer", "password": "super secret words"}
        mei.post("/api/v1/users", json=body)
        mei.get("/api/v1/jobs")
        mei.post("/api/v1/jobs/nothing/cancel")
        listed = mei.get("/api/v1/audit").json()["items"]
        some = mei.get("/api/v1/audit", params={"action": "POST /api/v1/users"}).json()["items"]
    with home.caller() as client:
        sign_in(client, "li", "wrong")
        sign_in(client, "my own password", "mei")
    rows = [(row.user, row.via, row.action, row.target, row.status) for row in audited(home)]
    assert rows == [
        ("mei", "session", "POST /api/v1/session", None, 200),
        ("mei", "session", "POST /api/v1/jobs/{job_id}/rerun", site.story.job, 409),
        ("mei", "session", "DELETE /api/v1/payloads/{payload_id}", site.story.payload, 200),
        ("mei", "session", "POST /api/v1/users", None, 201),
        ("mei", "session", "POST /api/v1/jobs/{job_id}/cancel", "nothing", 404),
        ("li", "sign-in", "POST /api/v1/session", None, 401),
        (None, "sign-in", "POST /api/v1/session", None, 401),
    ]
    assert [item["action"] for item in listed] == [row[2] for row in reversed(rows[:5])]
    assert len(some) == 1
    assert audited(home)[1].data == {"operator": "reader"}
    assert {row.address for row in audited(home)} == {"127.0.0.1"}
    text = repr(audited(home))
    assert "secret" not in text
    assert "my own password" not in text


def test_a_change_is_written_down_before_it_is_done(site: Site) -> None:
    """An entry without a status is what a crash in between leaves."""
    seen = []

    def look(identifier: str) -> None:
        with site.database.read() as connection:
            seen.extend(connection.execute(sa.select(schema.audit)).all())

    object.__setattr__(site.services.actions, "cancel_job", look)
    assert site.client.post(f"/api/v1/jobs/{site.story.job}/cancel").status_code == 200
    assert [(row.action, row.target, row.status) for row in seen] == [
        ("POST /api/v1/jobs/{job_id}/cancel", site.story.job, None)
    ]


def test_old_sessions_of_a_user_make_room(home: House) -> None:
    with home.person("mei") as first:
        for _ in range(20):
            with home.services.database.begin() as connection:
                from gateway.web.accounts import sessions

                sessions.begin(connection, "mei", "10.0.0.1", HttpSettings().sessions)
        assert first.get("/api/v1/jobs").status_code == 401
