"""Who gets into the console: users, sessions, and the door itself."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from offbeat_console import session, users
from offbeat_console.gate import PERSON, Gate
from offbeat_console.users import Users

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(32)
PASSWORD = "correct horse"  # noqa: S105


class Answer:
    """What came back."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages
        head = messages[0]
        self.status = head.get("status") or head.get("code")
        self.headers = {k.decode(): v.decode() for k, v in head.get("headers", [])}
        self.body = b"".join(m.get("body", b"") for m in messages)


class Door:
    """A gate before an application that says who came in."""

    def __init__(self, folder: Path, *, secure: bool = False) -> None:
        self.users = Users(folder)
        self.now = 1000.0
        self.gate = Gate(
            self._inside, users=self.users, key=KEY, secure=secure, title="Hall <1>",
            clock=lambda: self.now,
        )  # fmt: skip

    async def _inside(self, scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope[PERSON].name.encode()})

    def ask(
        self, path: str = "/", *, method: str = "GET", body: bytes = b"", kind: str = "http",
        **headers: str,
    ) -> Answer:  # fmt: skip
        path, _, query = path.partition("?")
        sent: list[dict[str, Any]] = []
        scope = {
            "type": kind, "method": method, "path": path, "query_string": query.encode(),
            "client": ("10.0.0.7", 1), "headers": [
                (b"host", b"plant:8088"), *((k.encode(), v.encode()) for k, v in headers.items())
            ],
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:  # noqa: ANN401
            sent.append(message)

        asyncio.run(self.gate(scope, receive, send))
        return Answer(sent)

    def login(self, name: str = "ann", given: str = PASSWORD, **headers: str) -> Answer:
        body = urlencode({"name": name, "password": given}).encode()
        return self.ask("/login?next=/alerts", method="POST", body=body, **headers)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    made = Door(tmp_path)
    made.users.put(users.made("ann", "operator", PASSWORD, salt=bytes(16)))
    return made


def cookie(answer: Answer) -> str:
    return answer.headers["set-cookie"].split(";")[0]


def test_without_users_whoever_sits_there_is_in(tmp_path: Path) -> None:
    assert Door(tmp_path).ask().body == b"local"


def test_a_stranger_is_sent_to_the_login_page_and_told_nothing(door: Door) -> None:
    answer = door.ask("/asset/gw1/p1")
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=/asset/gw1/p1")
    assert door.ask("/_nicegui_ws/socket.io/").status == 401
    assert door.ask("/", method="POST").status == 401


def test_the_right_password_opens_and_the_wrong_one_does_not(door: Door) -> None:
    refused = door.login(given="wrong")
    assert refused.status == 401
    assert b"Name or password is wrong." in refused.body
    accepted = door.login()
    assert (accepted.status, accepted.headers["location"]) == (303, "/alerts")
    assert door.ask(cookie=cookie(accepted)).body == b"ann"


def test_an_unknown_name_is_told_the_same_as_a_wrong_password(door: Door) -> None:
    assert door.login(name="bob").body == door.login(given="wrong").body


def test_a_cookie_that_was_touched_is_worth_nothing(door: Door) -> None:
    good = cookie(door.login())
    for bad in (good[:-2] + "AA", good.replace("ann", "bob"), "offbeat_session=", good + "é"):
        assert door.ask(cookie=bad).status == 303


def test_a_session_ends(door: Door) -> None:
    good = cookie(door.login())
    door.now += session.SESSION_S + 1
    assert door.ask(cookie=good).status == 303


def test_a_new_password_or_a_removed_user_ends_every_session(door: Door) -> None:
    good = cookie(door.login())
    door.users.put(users.made("ann", "operator", "another one", salt=bytes(16)))
    assert door.ask(cookie=good).status == 303
    fresh = cookie(door.login(given="another one"))
    assert door.ask(cookie=fresh).status == 200
    door.users.put(users.made("bob", "viewer", PASSWORD, salt=bytes(16)))
    door.users.remove("ann")
    assert door.ask(cookie=fresh).status == 303


def test_attempts_are_slowed_even_with_the_right_password(door: Door) -> None:
    for _ in range(session.FREE_TRIES):
        assert door.login(given="wrong").status == 401
    assert door.login().status == 429
    door.now += session.WAIT_S + 0.1
    assert door.login().status == 303


def test_a_form_from_another_site_is_refused(door: Door) -> None:
    assert door.login(origin="https://evil.example").status == 403
    assert door.login(origin="http://plant:8088").status == 303


def test_a_socket_needs_a_session_and_our_own_page(door: Door) -> None:
    good = cookie(door.login())
    ask = {"path": "/_nicegui_ws/socket.io/", "kind": "websocket"}
    assert door.ask(**ask).status == 4401
    assert door.ask(**ask, cookie=good, origin="https://evil.example").status == 4401
    came = door.ask(**ask, cookie=good, origin="http://plant:8088")
    assert came.messages == [{"type": "websocket.accept"}]


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:1", ""])
def test_a_login_leads_nowhere_else(door: Door, target: str) -> None:
    body = urlencode({"name": "ann", "password": PASSWORD}).encode()
    path = f"/login?{urlencode({'next': target})}"
    assert door.ask(path, method="POST", body=body).headers["location"] == "/"


def test_logout_clears_the_cookie(door: Door) -> None:
    answer = door.ask("/logout", method="POST", cookie=cookie(door.login()))
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_cookies_are_for_our_pages_alone(door: Door, tmp_path: Path) -> None:
    given = door.login().headers["set-cookie"]
    assert "HttpOnly" in given
    assert "SameSite=Lax" in given
    assert "Secure" not in given
    secure = Door(tmp_path, secure=True)
    assert "Secure" in secure.login().headers["set-cookie"]


def test_the_login_page_says_the_title_and_takes_no_markup(door: Door) -> None:
    page = door.ask("/login").body.decode()
    assert "Hall &lt;1&gt;" in page
    assert "<1>" not in page


def test_headers_forbid_what_comes_from_elsewhere(door: Door) -> None:
    headers = door.ask(cookie=cookie(door.login())).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"


def test_secrets_are_ours_alone(tmp_path: Path) -> None:
    Users(tmp_path).put(users.made("ann", "viewer", PASSWORD, salt=bytes(16)))
    key = session.secret(tmp_path)
    assert session.secret(tmp_path) == key
    for name in (users.USERS_FILE, session.SECRET_FILE):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert PASSWORD not in (tmp_path / users.USERS_FILE).read_text()
