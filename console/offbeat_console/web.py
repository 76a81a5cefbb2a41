"""The web server: the framework's application behind our gate, in our loop.

Rules: one console a process, for the framework keeps its routes in one; all
assets come from the package, nothing from elsewhere; nothing is written
outside the state folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.responses import Response

from offbeat_console import palette, session
from offbeat_console.gate import Gate
from offbeat_console.pages import alert, alerts, asset, fleet, gateways, maintenance, models

if TYPE_CHECKING:
    from offbeat_console.desk import Desk
    from offbeat_console.settings import Settings
    from offbeat_console.users import Users

STATIC = Path(__file__).parent / "static"
HEAD = """
<meta name="theme-color" content="#171c22">
<link rel="stylesheet" href="/static/palette.css">
<link rel="stylesheet" href="/static/console.css">
<script defer src="/static/console.js"></script>
"""
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="6" fill="#15191e"/>'
    '<path d="M3 17h7l3-9 5 16 3-9h8" fill="none" stroke="#ff8c42"'
    ' stroke-width="2.6" stroke-linejoin="round"/></svg>'
)
RECONNECT_S = 20.0  # a page keeps its place for so long while its network is away
GRACE_S = 3  # for open pages when we end


def build(desk: Desk, settings: Settings, users: Users) -> Gate:
    """Return the application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    palette_css = palette.css()

    @app.get("/static/palette.css")
    def colours() -> Response:
        return Response(palette_css, media_type="text/css")

    @app.get("/healthz")
    def health() -> Response:
        body = msgspec.json.encode(desk.counters())
        return Response(body, media_type="application/json")

    nicegui_app.add_static_files("/static", str(STATIC))
    ui.add_head_html(HEAD, shared=True)
    for page in (fleet, asset, alert, alerts, models, maintenance, gateways):
        page.register(desk)
    ui.run_with(
        app, title=settings.console.title, favicon=ICON, dark=None, language="en-US",
        reconnect_timeout=RECONNECT_S, tailwind=False, show_welcome_message=False,
        binding_refresh_interval=None,
    )  # fmt: skip
    return Gate(
        app,
        users=users,
        key=session.secret(Path(settings.console.state_dir)),
        secure=settings.https,
        title=settings.console.title,
    )


def server(gate: Gate, settings: Settings) -> uvicorn.Server:
    """Return the server; ``run()`` serves until a signal."""
    page = settings.console
    config = uvicorn.Config(
        gate, host=page.host, port=page.port, log_level="warning", access_log=False, lifespan="on",
        ssl_certfile=page.cert_file or None, ssl_keyfile=page.key_file or None,
        timeout_graceful_shutdown=GRACE_S, server_header=False, ws="websockets-sansio",
    )  # fmt: skip
    return uvicorn.Server(config)
