"""``/api/v1/users``, ``/api/v1/tokens``, ``/api/v1/audit``: what administrators decide and see."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from gateway.web import listing
from gateway.web.accounts.roles import Role
from gateway.web.api import Items, Limit, Text, page_of
from gateway.web.records import all_shown, shown
from gateway.web.services import Given
from gateway.web.signing import Body, Password, TheAccounts, Who

router = APIRouter(prefix="/api/v1", tags=["people"])

Named = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")]
Name = Annotated[str, Path(max_length=64)]


class NewUser(Body):
    """A user to add."""

    name: Named
    role: Role
    password: Password


class UserChange(Body):
    """What is to be another; what is absent stays."""

    role: Role | None = None
    password: Password | None = None
    disabled: bool | None = None


class NewToken(Body):
    """A token to make."""

    name: Named
    role: Role
    days: Annotated[float, Field(gt=0, le=3660)] | None = None
    """Until it ends; absent = never."""


@router.get("/users")
def list_users(accounts: TheAccounts) -> Items:
    """List users."""
    return Items(items=all_shown(accounts.list_users()))


@router.post("/users", status_code=201)
def create_user(accounts: TheAccounts, given: NewUser) -> dict[str, Any]:
    """Add a user."""
    return shown(accounts.create_user(given.name, given.role, given.password))


@router.patch("/users/{name}")
def change_user(accounts: TheAccounts, name: Name, given: UserChange) -> dict[str, Any]:
    """Change a user's role, password or state; all sessions of the user end."""
    return shown(
        accounts.change_user(
            name, role=given.role, password=given.password, disabled=given.disabled
        )
    )


@router.delete("/users/{name}", status_code=204)
def remove_user(accounts: TheAccounts, name: Name) -> Response:
    """Delete a user; the last administrator cannot be deleted here."""
    accounts.remove_user(name)
    return Response(status_code=204)


@router.get("/tokens")
def list_tokens(accounts: TheAccounts) -> Items:
    """List tokens of scripts, without their secrets."""
    return Items(items=all_shown(accounts.list_tokens()))


@router.post("/tokens", status_code=201)
def create_token(accounts: TheAccounts, who: Who, given: NewToken) -> dict[str, Any]:
    """Make a token; the secret stands in this answer and nowhere else."""
    record, secret = accounts.create_token(given.name, given.role, given.days, who.user)
    return {**shown(record), "token": secret}


@router.delete("/tokens/{name}", status_code=204)
def remove_token(accounts: TheAccounts, name: Name) -> Response:
    """Revoke a token."""
    accounts.remove_token(name)
    return Response(status_code=204)


@router.get("/audit")
def list_audit(
    services: Given,
    user: Text = None,
    action: Text = None,
    limit: Limit = listing.DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(pattern=listing.NUMBER_CURSOR)] = None,
) -> Items:
    """List who changed what, newest first."""
    return page_of(services, listing.AUDIT, limit, cursor, user=user, action=action)
