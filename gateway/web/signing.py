"""``/api/v1/session``: signing in and out, and who somebody is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.web.accounts.accounts import Accounts
from gateway.web.accounts.passwords import LONGEST
from gateway.web.accounts.roles import Identity, Role, Via
from gateway.web.accounts.sessions import COOKIE
from gateway.web.records import shown

router = APIRouter(prefix="/api/v1/session", tags=["signing in"])


def _accounts(request: Request) -> Accounts:
    found: Accounts = request.app.state.accounts
    return found


def _identity(request: Request) -> Identity:
    """Who asks, as the gate found it; nobody where it did not matter."""
    found: Identity | None = getattr(request.state, "identity", None)
    return found or Identity(None, None, Via.SIGN_IN)


TheAccounts = Annotated[Accounts, Depends(_accounts)]
Who = Annotated[Identity, Depends(_identity)]


class Body(BaseModel):
    """A body that holds what is named and nothing else."""

    model_config = ConfigDict(extra="forbid")


Password = Annotated[str, Field(min_length=1, max_length=LONGEST)]


class Credentials(Body):
    """Who wants to sign in."""

    user: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password


class NewPassword(Body):
    """A user's own wish for another password."""

    current: Password
    password: Password


class Session(BaseModel):
    """Who asks and what they may do."""

    user: str | None
    role: Role | None
    csrf: str | None
    """What ``X-CSRF-Token`` of a changing call must hold; null = none is needed."""
    open: bool
    """The gateway has no users: whoever reaches it may do everything."""
    setup: bool
    """No user exists, and this gateway is not open: make one on its machine."""
    expires_at: str | None


@router.get("")
def who_am_i(accounts: TheAccounts, who: Who) -> Session:
    """Tell who asks; somebody who is not signed in has no role."""
    return _told(who, setup=who.role is None and accounts.missing())


@router.post("")
def sign_in(
    request: Request, response: Response, accounts: TheAccounts, given: Credentials
) -> Session:
    """Sign in: the answer sets the cookie; 401 when user and password do not belong together."""
    address = str(request.client.host)[:64] if request.client else ""
    secret, who = accounts.sign_in(given.user, given.password, address)
    response.set_cookie(
        COOKIE, secret, path="/", httponly=True, samesite="strict", secure=_secure(request)
    )
    return _told(who)


@router.delete("", status_code=204)
def sign_out(request: Request, accounts: TheAccounts, who: Who) -> Response:
    """Sign out: the session is gone."""
    accounts.sign_out(who)
    return _forgotten(request)


@router.put("/password", status_code=204)
def change_password(
    request: Request, accounts: TheAccounts, who: Who, given: NewPassword
) -> Response:
    """Change one's own password; all sessions of the user end, this one too."""
    accounts.change_own_password(who, given.current, given.password)
    return _forgotten(request)


def _told(who: Identity, *, setup: bool = False) -> Session:
    times = shown({"expires_at": who.expires_at})
    return Session(
        user=who.user,
        role=who.role,
        csrf=who.csrf,
        open=who.via is Via.OPEN,
        setup=setup,
        expires_at=times["expires_at"],
    )


def _forgotten(request: Request) -> Response:
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="strict", secure=_secure(request)
    )
    return response


def _secure(request: Request) -> bool:
    return bool(request.url.scheme == "https")
