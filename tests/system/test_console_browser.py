"""The console in a real browser, against a real broker."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from console_rig import SIZE, Browser, Console, Gateway, chromium, profile
from rig import START_MS, Mosquitto, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def driven() -> Iterator[Browser]:
    """One Chromium for the module."""
    folder = profile()
    driver = chromium(folder)
    yield Browser(driver)
    driver.quit()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def browser(driven: Browser) -> Browser:
    driven.driver.delete_all_cookies()
    driven.size(*SIZE)
    driven.prefer(prefers_color_scheme="light")
    driven.errors()
    return driven


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto) -> Iterator[Console]:
    made = Console(tmp_path_factory.mktemp("console"), broker.port).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def gateway(broker: Mosquitto, console: Console) -> Iterator[Gateway]:
    made = Gateway(broker.port)
    for n in range(3):
        made.state("ok", asset=f"p{n}")
    yield made
    made.close()


ROW = "table.fleet tbody tr"
PHONE = (375, 812)  # the narrowest that is still common


def test_the_overview_follows_the_fleet(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    browser.open(console.url)
    browser.wait_text(ROW, "p2")
    gateway.state("sensor_fault", asset="p2", reasons=["heat: stuck"])
    browser.wait_text(f"{ROW}:first-child", "Sensor fault")
    gateway.state("anomaly", asset="p1")
    gateway.alert(asset="p1")
    browser.wait_text(f"{ROW}:first-child", "2.8 times the threshold, most from flow")
    first, second, third = browser.texts(ROW)
    assert "Anomaly" in first
    assert "heat: stuck" in second
    assert "Normal" in third
    assert browser.errors() == []


def test_search_and_filter_cut_the_list(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    browser.open(console.url)
    browser.wait_text(ROW, "p2")
    browser.one("input[type=search]").send_keys("p0")
    wait_for(lambda: len(browser.texts(ROW)) == 1, "one row")
    browser.one("input[type=search]").send_keys("nothing")
    browser.wait_text(".empty h2", "Nothing matches")


def test_a_gateway_that_dies_leaves_its_assets_unwatched(
    browser: Browser, console: Console, broker: Mosquitto
) -> None:
    other = Gateway(broker.port, name="gw7")
    other.state("ok", asset="fan")
    browser.open(console.url)
    browser.wait_text(ROW, "fan")
    other.say("status", b"offline")
    browser.wait_text(ROW, "gw7 is offline")
    other.close()


def test_a_phone_needs_no_sideways_scroll(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    browser.size(*PHONE)
    browser.open(console.url)
    browser.wait_text(ROW, "p0")
    assert browser.run("return document.documentElement.scrollWidth") == PHONE[0]
    nav = "const nav = document.querySelector('.top nav'); return "
    assert browser.run(nav + "nav.scrollWidth <= nav.clientWidth"), "the whole navigation is seen"


def test_on_a_phone_what_to_say_comes_before_the_picture(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    alert = gateway.alert(asset="p1")
    browser.size(*PHONE)
    browser.open(f"{console.url}/alert/{alert}")
    tops = [browser.one(what).location["y"] for what in ("//button[.='False alarm']", ".trend")]
    assert tops[0] < min(tops[1], PHONE[1])


def test_dark_follows_the_person_and_the_button(browser: Browser, console: Console) -> None:
    def ground() -> str:
        return str(browser.run("return getComputedStyle(document.body).backgroundColor"))

    browser.prefer(prefers_color_scheme="dark")
    browser.open(console.url)
    wait_for(lambda: ground() == "rgb(14, 18, 22)", "a dark page")
    browser.one("#theme").click()
    wait_for(lambda: ground() == "rgb(243, 244, 246)", "a light page")
    browser.open(console.url)
    wait_for(lambda: ground() == "rgb(243, 244, 246)", "a light page after a reload")


def test_nothing_is_asked_of_another_host(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    browser.driver.get_log("performance")  # type: ignore[attr-defined]
    browser.open(console.url)
    browser.wait_text(ROW, "p0")
    entries = browser.driver.get_log("performance")  # type: ignore[attr-defined]
    messages = [json.loads(entry["message"])["message"] for entry in entries]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) > 5
    for url in asked:
        assert url.startswith((console.url, "data:", "blob:")), url


def feedback(gateway: Gateway, alert: str) -> list[dict[str, object]]:
    heard = [json.loads(body) for topic, body in gateway.heard if "/feedback/" in topic]
    return [said for said in heard if said["alert"] == alert]


def test_a_click_on_false_alarm_reaches_the_fleet_and_a_reload_remembers(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    alert = gateway.alert(asset="p0")
    browser.open(f"{console.url}/alert/{alert}")
    browser.wait_text("h1", "2.8 times the threshold")
    assert browser.texts(".parts tbody tr")[0].split() == ["flow", "90", "%", "18.1", "15.77"]
    browser.one("input[name=note]").send_keys("a new impeller")
    browser.one("//button[.='False alarm']").click()
    wait_for(lambda: bool(feedback(gateway, alert)), "the verdict at the broker")
    (said,) = feedback(gateway, alert)
    assert (said["verdict"], said["asset"], said["note"]) == ("false_alarm", "p0", "a new impeller")
    browser.wait_text(".told", "The fleet has been told.")
    browser.open(f"{console.url}/alert/{alert}")
    browser.wait_text(".told", "False alarm, said local. The fleet has been told.")
    browser.wait_text("section p", "Acknowledged by local.")
    assert browser.errors() == []


def test_shelving_hides_an_alarm_until_it_is_taken_back(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    alert = gateway.alert(asset="p2", kind="sensor_fault")
    browser.open(f"{console.url}/alert/{alert}")
    browser.one("//button[.='Shelve']").click()
    browser.wait_text("section p", "Shelved by local")
    browser.open(f"{console.url}/alerts?show=shelved")
    browser.wait_text(".alerts tbody tr", "shelved")
    browser.open(f"{console.url}/alert/{alert}")
    browser.one("//button[.='Take back']").click()
    browser.wait_text("section p", "Nobody has acknowledged it.")


def test_the_chart_draws_what_came_beside_what_was_expected(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    gateway.alert(asset="p1")
    for n in range(80):
        gateway.score(0.5 + n / 100, asset="p1", time_ms=START_MS + n * 1000)
        gateway.sample("p1", json.dumps({"ts": START_MS + n * 1000, "flow": n}).encode())
    browser.open(f"{console.url}/asset/gw1/p1")
    wait_for(lambda: browser.strips() == {"score": (80, 0), "flow": (80, 80), "heat": (80, 80)},
             "three strips")  # fmt: skip
    gateway.score(2.25, asset="p1", time_ms=START_MS + 80_000)
    wait_for(lambda: browser.strips()["score"] == (81, 0), "one more point")
    browser.wait_text(".big", "2.25")
    browser.wait_text(".alerts tbody tr", "2.8 times the threshold")


def test_maintenance_is_announced_and_taken_back(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    def heard() -> list[bool]:
        told = [json.loads(body) for topic, body in gateway.heard if "/maintenance/p0" in topic]
        return [said["cancelled"] for said in told]

    browser.open(f"{console.url}/maintenance?asset=p0")
    browser.one("//button[.='Announce']").click()
    browser.wait_text(".told", "Announced for p0 until")
    browser.one("//button[.='Cancel']").click()
    browser.wait_text("tbody tr", "cancelled")
    wait_for(lambda: heard() == [False, True], "both words at the broker")


def test_everything_can_be_done_by_keyboard(
    browser: Browser, console: Console, gateway: Gateway
) -> None:
    browser.open(console.url)
    browser.wait_text(ROW, "p0")
    browser.press("\ue004")  # Tab
    assert browser.run("return document.activeElement.innerText") == "Skip to content"
    browser.press("/")
    assert browser.run("return document.activeElement.type") == "search"
    browser.press("p0", "\ue00c")  # Escape leaves the box
    wait_for(lambda: len(browser.texts(ROW)) == 1, "one row")
    browser.press("j", "\ue007")  # Enter
    browser.wait_text("h1", "p0")
    browser.press("g", "a")
    wait_for(lambda: browser.driver.current_url.endswith("/alerts"), "the alerts")
    browser.wait_text("nav a[aria-current]", "Alerts")
    browser.press("?")
    browser.wait_text("dialog[open] h2", "Keyboard")


PAGES = ("/", "/alerts?show=all", "/models", "/maintenance", "/gateways", "/asset/gw1/p1")
# What a screen reader needs, as far as a page can say it of itself.
WRONG = """
const named = (e) => e.getAttribute("aria-label") || e.innerText.trim() || e.title
  || e.labels?.length || e.closest("label");
const seen = (e) => e.checkVisibility({ checkVisibilityCSS: true });
const wrong = [];
const say = (what, e) => wrong.push(what + ": " + e.outerHTML.slice(0, 120));
if (!document.documentElement.lang) wrong.push("no lang");
if (!document.title) wrong.push("no title");
if (document.querySelectorAll("main").length !== 1) wrong.push("not one main");
if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
for (const e of document.querySelectorAll("button, a[href], input, select")) {
  if (seen(e) && !named(e)) say("no name", e);
  if (e.tabIndex > 0) say("order of its own", e);
}
for (const e of document.querySelectorAll("svg"))
  if (!e.closest("[aria-hidden=true]") && !e.getAttribute("aria-label")) say("no name", e);
for (const e of document.querySelectorAll("[role=img]"))
  if (!e.getAttribute("aria-label")) say("no name", e);
for (const e of document.querySelectorAll("table")) {
  if (seen(e) && !e.querySelector("th")) say("no head", e);
}
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("twice: " + id);
return [...new Set(wrong)];
"""


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_named_and_fits_a_phone(
    browser: Browser, console: Console, gateway: Gateway, page: str
) -> None:
    browser.size(*PHONE)
    browser.open(console.url + page)
    browser.one("h1" if "asset" in page else "nav a")
    browser.one(".content *")
    assert browser.run(WRONG) == []
    assert browser.run("return document.documentElement.scrollWidth") == PHONE[0]
    assert browser.errors() == []


def test_a_wrong_password_is_refused_and_the_right_one_opens(
    browser: Browser, broker: Mosquitto, tmp_path: Path
) -> None:
    made = Console(tmp_path, broker.port, name="guarded")
    made.add_user("ana", "correct horse", role="viewer")
    with made as console:
        browser.open(f"{console.url}/alerts")
        browser.one("input[name=name]").send_keys("ana")
        browser.one("input[name=password]").send_keys("wrong one", "\ue007")
        browser.wait_text("[role=alert]", "Name or password is wrong.")
        browser.one("input[name=name]").send_keys("ana")
        browser.one("input[name=password]").send_keys("correct horse", "\ue007")
        browser.wait_text(".who", "ana (viewer)")
        assert browser.driver.current_url == f"{console.url}/alerts"
        browser.one("//button[.='Log out']").click()
        browser.wait_text("h1", "log in")


def test_without_a_broker_the_page_says_where_it_looks_and_goes_on_by_itself(
    browser: Browser, tmp_path: Path
) -> None:
    broker = Mosquitto(tmp_path / "late")
    with Console(tmp_path, broker.port, name="early") as console:
        browser.open(console.url)
        browser.wait_text(".banner", f"No connection to the broker at 127.0.0.1:{broker.port}")
        browser.wait_text(".empty h2", "No assets yet")
        broker.start()
        gateway = Gateway(broker.port)
        gateway.state("ok", asset="fan")
        browser.wait_text(ROW, "fan")
        wait_for(lambda: not any(browser.texts(".banner")), "the banner to go")
        gateway.close()
        broker.kill()


def test_killing_the_console_loses_nothing(
    browser: Browser, broker: Mosquitto, tmp_path: Path
) -> None:
    gateway = Gateway(broker.port, name="gw9")
    with Console(tmp_path, broker.port, name="killed") as console:
        browser.open(f"{console.url}/gateways")
        browser.wait_text("h2", "gw9")
        alert = gateway.alert(asset="press")
        wait_for(lambda: "(1)" in browser.driver.title, "the alert in the title")
        browser.open(f"{console.url}/alert/{alert}")
        browser.one("//button[.='Acknowledge']").click()
        browser.wait_text("section p", "Acknowledged by local.")
        console.kill()
        missed = gateway.alert(asset="press", kind="sensor_fault")
        console.start()
        browser.open(f"{console.url}/alert/{alert}")
        browser.wait_text("section p", "Acknowledged by local.")
        browser.open(f"{console.url}/alerts")
        browser.wait_text(".alerts tbody tr", "Sensor fault")
        browser.open(f"{console.url}/alert/{missed}")
        browser.wait_text("section p", "Nobody has acknowledged it.")
    gateway.close()
