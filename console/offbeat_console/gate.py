"""The door: who is asking, before anything of the console answers.

Rules: plain ASGI, around the whole application, for pages and the socket
alike; only the login page and the framework's own static files are open.  A
socket must come from our own page (its Origin is our Host).  Headers say what
a browser may do with our pages: load nothing from elsewhere, be framed
nowhere.
"""

from __future__ import annotations

import asyncio
import html
import time
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from offbeat_console import session
from offbeat_console.users import ANYBODY, Person, Users, matches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

PERSON = "offbeat.person"  # key in the scope: who asks
MAX_FORM_BYTES = 4096
OPEN = ("/_nicegui/", "/static/", "/favicon.ico", "/healthz")
# The framework builds its components in the page: inline and eval are its way.
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval';"
    b" style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
    b" connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self';"
    b" frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", POLICY),
)
_LOGIN = (Path(__file__).parent / "static" / "login.html").read_text(encoding="utf-8")


class Answer(NamedTuple):
    """A small response."""

    status: int
    body: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Gate:
    """Middleware around ``app``.

    Parameters
    ----------
    app : what is behind the door.
    users : empty means that nobody needs to log in.
    key : signs sessions.
    secure : the cookie travels by HTTPS only.
    title : of the site.
    clock : the wall clock, seconds.
    """

    def __init__(
        self,
        app: App,
        *,
        users: Users,
        key: bytes,
        secure: bool,
        title: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._users = users
        self._key = key
        self._secure = secure
        self._title = title
        self._clock = clock
        self._attempts = session.Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on with the person in the scope."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._http(scope, receive, _guarded(send))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/login":
            await _say(send, await self._login(scope, receive))
            return
        if path == "/logout" and scope["method"] == "POST" and _own(scope):
            await _say(send, self._redirect("/login", self._cookie("", 0)))
            return
        person = self._person(scope)
        if person is not None and not _foreign_socket(scope):
            scope[PERSON] = person
            await self._app(scope, receive, send)
        elif path.startswith(OPEN):
            await self._app(scope, receive, send)
        elif scope["method"] == "GET" and not path.startswith("/_nicegui_ws"):
            await _say(send, self._redirect(f"/login?next={quote(path)}"))
        else:
            await _say(send, Answer(401, "Log in first."))

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        person = self._person(scope)
        if person is None or not _own(scope):
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        scope[PERSON] = person
        await self._app(scope, receive, send)

    def _person(self, scope: Scope) -> Person | None:
        users = self._users.all()
        if not users:
            return ANYBODY
        cookie = _cookies(scope).get(session.COOKIE)
        found = session.opened(self._key, cookie, now_s=self._clock()) if cookie else None
        person = users.get(found[0]) if found else None
        if person is None or found is None or found[1] != person.generation:
            return None
        return person

    async def _login(self, scope: Scope, receive: Receive) -> Answer:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        target = _local(query.get("next", ["/"])[0])
        if scope["method"] != "POST":
            return self._redirect(target) if self._person(scope) else self._form(target)
        if not _own(scope):
            return Answer(403, "Expected a form of our own page.")
        form = parse_qs((await _body(receive)).decode("utf-8", "replace"))
        name, password = (form.get(key, [""])[0] for key in ("name", "password"))
        return await self._try(scope, target, name, password)

    async def _try(self, scope: Scope, target: str, name: str, password: str) -> Answer:
        now = self._clock()
        address = (scope.get("client") or ("",))[0]
        asking = (f"name {name[:64]}", f"from {address}")
        wait = max(self._attempts.wait_s(who, now) for who in asking)
        if wait > 0:
            said = f"Too many attempts. Try again in {wait:.0f} s."
            return self._form(target, said, status=429)
        for who in asking:  # before the hash is made: attempts at one moment count, too
            self._attempts.failed(who, now)
        person = self._users.all().get(name)
        same = await asyncio.to_thread(matches, person, password)
        if person is None or not same:
            return self._form(target, "Name or password is wrong.", status=401)
        for who in asking:
            self._attempts.passed(who)
        until = int(now) + session.SESSION_S
        value = session.sign(self._key, person.name, person.generation, until)
        return self._redirect(target, self._cookie(value, session.SESSION_S))

    def _form(self, target: str, said: str = "", *, status: int = 200) -> Answer:
        page = _LOGIN.replace("{title}", html.escape(self._title))
        page = page.replace("{said}", html.escape(said)).replace("{next}", quote(target))
        return Answer(status, page, ((b"cache-control", b"no-store"),))

    def _redirect(self, target: str, *headers: tuple[bytes, bytes]) -> Answer:
        return Answer(303, "", ((b"location", target.encode("latin-1", "replace")), *headers))

    def _cookie(self, value: str, age_s: int) -> tuple[bytes, bytes]:
        secure = "; Secure" if self._secure else ""
        text = f"{session.COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age_s}{secure}"
        return (b"set-cookie", text.encode())


def _guarded(send: Send) -> Send:
    """Return a ``send`` that adds the security headers."""

    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *SECURITY_HEADERS]
        await send(message)

    return guarded


async def _say(send: Send, answer: Answer) -> None:
    body = answer.body.encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), *answer.headers]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body") or len(body) > MAX_FORM_BYTES:
            return body[:MAX_FORM_BYTES]


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def _cookies(scope: Scope) -> dict[str, str]:
    try:
        jar = SimpleCookie(_header(scope, b"cookie"))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}


def _own(scope: Scope) -> bool:
    """Whether the request comes from one of our own pages; a browser says so."""
    origin = _header(scope, b"origin")
    return not origin or urlsplit(origin).netloc == _header(scope, b"host")


def _foreign_socket(scope: Scope) -> bool:
    """Whether this is the socket's fallback over HTTP, from elsewhere."""
    return bool(scope["path"].startswith("/_nicegui_ws")) and not _own(scope)


def _local(target: str) -> str:
    """Return a path of our own, whatever was asked for."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not target.startswith("/") or target.startswith("//"):
        return "/"
    return quote(parts.path)
