"""``/api/v1/services``: the log of a long-lived service, and its end."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from gateway.database.schema import services as records
from gateway.web import details
from gateway.web.acting import DEFAULT_LOG_BYTES, MAX_LOG_BYTES, piece
from gateway.web.api import describe
from gateway.web.services import Given

router = APIRouter(prefix="/api/v1", tags=["actions"])


@router.get("/services/{service_id}/log", response_class=StreamingResponse)
def service_log(
    services: Given,
    service_id: str,
    size: Annotated[
        int, Query(ge=1, le=MAX_LOG_BYTES, description="bytes from the end of the log")
    ] = DEFAULT_LOG_BYTES,
) -> StreamingResponse:
    """Give the end of the log text of a service."""
    found = describe(services, details.service, "service", service_id)
    return StreamingResponse(
        piece(services.data_dir, found["log"], size, None),
        media_type="text/plain; charset=utf-8",
    )


@router.post("/services/{service_id}/stop")
def stop_service(services: Given, service_id: str) -> dict[str, Any]:
    """End a service as soon as no job needs it; the next job that does starts it anew."""
    describe(services, details.service, "service", service_id)
    with services.database.begin() as connection:
        connection.execute(
            sa.update(records).where(records.c.id == service_id).values(stop_requested=True)
        )
    found: dict[str, Any] = describe(services, details.service, "service", service_id)
    return found
