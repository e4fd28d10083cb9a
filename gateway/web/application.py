"""The web application: every route over one set of services."""

from __future__ import annotations

import time

from fastapi import FastAPI

from gateway.web import (
    acting,
    api,
    datasets,
    description,
    job_views,
    lists,
    overview,
    people,
    pipeline_views,
    problems,
    rule_views,
    serving,
    signing,
    stream,
    system,
    tasks,
    watching,
)
from gateway.web.accounts.accounts import Accounts
from gateway.web.console_files import ConsoleFiles
from gateway.web.gate import Gate
from gateway.web.guard import Guard
from gateway.web.services import Services

DESCRIPTION = (
    'Lists are {"items": […], "next": …}: give `next` as `cursor` for the next page. '
    "Times are RFC 3339. Errors are RFC 9457 problem documents."
)


def create_app(services: Services) -> FastAPI:
    """Build the application; it opens nothing and starts nothing."""
    app = FastAPI(
        title="Gateway",
        version=services.version,
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        # The stock pages load scripts from another host; a hospital's network has none.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    app.state.accounts = Accounts(services.database, services.http)
    app.state.streams = stream.Streams()
    app.state.overview = overview.Overview()
    app.state.started_at = time.time()
    rooms = (
        watching, signing, people, overview, stream, system, pipeline_views, rule_views, job_views,
        api, lists, acting, serving, tasks, datasets,
    )  # fmt: skip
    for room in rooms:
        app.include_router(room.router)
    app.add_route("/api/v1/docs", watching.docs_page, methods=["GET"], include_in_schema=False)
    ConsoleFiles(services.console).install(app)
    problems.install(app, [*app.routes, *(route for room in rooms for route in room.router.routes)])
    description.install(app)
    app.add_middleware(Gate, accounts=app.state.accounts, http=services.http)
    # The last one added is the outermost.
    app.add_middleware(Guard)
    return app
