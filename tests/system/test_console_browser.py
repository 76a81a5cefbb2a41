"""The console in a real browser, against a real broker."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from console_rig import SIZE, Browser, Console, Gateway, chromium, profile
from rig import Mosquitto, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    browser.size(390, 800)
    browser.open(console.url)
    browser.wait_text(ROW, "p0")
    assert browser.run("return document.documentElement.scrollWidth") == 390


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
