"""Pictures for the docs, of the real console on the demo's plant: ``make screenshots``.

Runs the demo (history, training, broker, daemon, a day with faults), and takes
the pictures when the day is over, in a real Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import threading
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "integration")]

from console_rig import Browser, chromium, profile
from PIL import Image
from rich.console import Console
from rig import wait_for

from offbeat_train.demo import Demo

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MAX_BYTES = 150_000
COLOURS = 128
FIT_S = 3600.0  # until there is something to see
DRAWN_S = 3.0  # for a chart to be drawn
WIDE, PHONE = (1280, 800), (390, 780)


class Camera:
    """Takes pictures of pages."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url.rstrip("/")

    def open(self, page: str) -> None:
        self._browser.open(self._url + page)

    def reachable(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/healthz", timeout=5):  # noqa: S310
                return True
        except OSError:
            return False

    def first(self, selector: str, page: str) -> str:
        """Return where a page's first such link leads."""
        self._browser.open(self._url + page)
        target = self._browser.one(selector).get_attribute("href")
        assert target is not None
        return target.removeprefix(self._url)

    def take(
        self, name: str, page: str, *, size: tuple[int, int] = WIDE, dark: bool = False
    ) -> None:
        browser = self._browser
        browser.size(*size)
        browser.prefer(prefers_color_scheme="dark" if dark else "light")
        browser.open(self._url + page)
        time.sleep(DRAWN_S)
        self.save(name)

    def save(self, name: str) -> None:
        """Keep what can be seen, in few colours: it is lines and letters."""
        file = IMAGES / f"{name}.png"
        picture = Image.open(io.BytesIO(self._browser.driver.get_screenshot_as_png()))
        picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)
        assert file.stat().st_size < MAX_BYTES, f"{file}: {file.stat().st_size} bytes"


class Shoot:
    """Takes the fleet while something is wrong, and the rest when the day is over."""

    def __init__(self, out: Path, driver: WebDriver) -> None:
        self._out = out
        self._browser = Browser(driver)
        self._live = threading.Thread(target=self._fleet, daemon=True)
        self._live.start()

    def stay(self, url: str) -> None:
        """Take every picture but the fleet's."""
        self._live.join()
        camera = Camera(self._browser, url)
        alert = camera.first(".alerts .badge.s-anomaly ~ a", "/alerts?show=all")
        asset = camera.first(".alerts td a[href^='/asset']", "/alerts?show=all")
        camera.take("console-asset", asset)
        camera.take("console-alert", alert)
        camera.take("console-alert-dark", alert, dark=True)
        camera.take("console-phone", "/", size=PHONE)

    def _fleet(self) -> None:
        file = self._out / "console.toml"
        wait_for(file.exists, "the console's configuration", timeout_s=FIT_S)
        port = tomllib.loads(file.read_text())["console"]["port"]
        camera = Camera(self._browser, f"http://127.0.0.1:{port}")
        wait_for(camera.reachable, "the console")
        self._browser.size(WIDE[0], 420)
        camera.open("/")
        selector = ".fleet .asset.s-anomaly"
        wait_for(lambda: bool(self._browser.all(selector)), "an anomaly", timeout_s=FIT_S)
        camera.save("console-fleet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    out, home = Path(tempfile.mkdtemp()), profile()
    IMAGES.mkdir(exist_ok=True)
    driver = chromium(home)
    try:
        shoot = Shoot(out, driver)
        console = Console(width=150)
        Demo(out=out, seed=args.seed, console=console, page=True, stay=shoot.stay).run()
    finally:
        driver.quit()
        for folder in (out, home):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
