"""A person at the stack's console: logs in, opens an alert, says that it was false.

    python tests/containers/look.py PASSWORD

Ends with 0 when the console says that the fleet has been told.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "system"), str(TESTS / "integration")]

from console_rig import Browser, chromium, profile  # noqa: E402 - the paths come first
from rig import wait_for  # noqa: E402

URL = "https://localhost:8088"
ALERT = ".alerts tbody a"
FIRST_ALERT_S = 600.0


def main(password: str) -> None:
    """Look and click."""
    folder = profile()
    driver = chromium(folder, own_authority=True)
    try:
        judge(Browser(driver), password)
    finally:
        driver.quit()
        shutil.rmtree(folder, ignore_errors=True)


def judge(browser: Browser, password: str) -> None:
    """Log in, wait for an alert, judge it."""
    browser.open(f"{URL}/alerts?show=all")
    browser.one("input[name=name]").send_keys("operator")
    browser.one("input[name=password]").send_keys(password, "\ue007")
    browser.wait_text(".who", "operator")
    wait_for(lambda: browser.all(ALERT), "an alert in the console", timeout_s=FIRST_ALERT_S)
    url = browser.one(ALERT).get_attribute("href")
    assert url is not None
    browser.open(url)
    said = browser.one("h1").text
    browser.one("//button[.='False alarm']").click()
    browser.wait_text(".told", "The fleet has been told.")
    sys.stdout.write(f"{url.removeprefix(URL)}: {said}: said false\n")


if __name__ == "__main__":
    main(sys.argv[1])
