"""A real console process, a real headless Chromium, and a gateway that is made up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rig import WAIT_S, free_port, wait_for

sys.path.append(str(Path(__file__).parent.parent / "unit"))

from console_parts import event, score, state, told

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
SIZE = (1280, 900)


class Console:
    """``offbeat console`` as a process of its own."""

    def __init__(self, folder: Path, mqtt_port: int, *, name: str = "console") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.state = folder / "state"
        self.config = folder / "console.toml"
        self.config.write_text(f"""
[console]
port = {self.port}
state_dir = "state"
[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
client_id = "{name}"
[[source]]
topic = "plant/{{asset}}"
qos = 0
""")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "console.log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def counters(self) -> dict[str, float]:
        with urllib.request.urlopen(f"{self.url}/healthz", timeout=10) as answer:  # noqa: S310
            found: dict[str, float] = json.load(answer)
        return found

    def add_user(self, name: str, password: str, *, role: str = "operator") -> None:
        command = [*self._command(), "--add-user", name, "--role", role]
        subprocess.run(command, input=f"{password}\n".encode(), check=True, capture_output=True)

    def start(self) -> Self:
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        wait_for(self._serves, "the console to serve")
        return self

    def __enter__(self) -> Self:  # noqa: D105
        return self.start()

    def __exit__(self, *_: object) -> None:  # noqa: D105
        self.kill()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _command(self) -> list[str]:
        program = "import sys; from offbeat_edge.cli import main; sys.exit(main())"
        return [sys.executable, "-c", program, "console", "--config", str(self.config)]

    def _end(self, number: int) -> int:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(WAIT_S)

    def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log[-2000:]
        try:
            with urllib.request.urlopen(f"{self.url}/login", timeout=5):  # noqa: S310
                return True
        except OSError:
            return False


class Gateway:
    """Says what a daemon would say, and hears what people say back."""

    def __init__(self, port: int, *, name: str = "gw1") -> None:
        self.name = name
        self.heard: list[tuple[str, bytes]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"made-up-{name}")
        self._client.on_connect = lambda client, *_: client.subscribe("offbeat/fleet/#", qos=1)
        self._client.on_message = lambda _c, _d, m: self.heard.append((m.topic, m.payload))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        wait_for(self._client.is_connected, "the gateway to be connected")
        self.say("status", b"online")

    def say(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        info = self._client.publish(f"offbeat/{self.name}/{topic}", payload, qos=1, retain=retain)
        info.wait_for_publish(WAIT_S)

    def state(self, *args: Any, asset: str = "p1", **more: Any) -> None:  # noqa: ANN401
        self.say(f"asset/{asset}/state", told(state(*args, asset=asset, **more)))

    def alert(self, *args: Any, asset: str = "p1", **more: Any) -> str:  # noqa: ANN401
        made = event(*args, asset=asset, gateway=self.name, **more)
        self.say(f"asset/{asset}/alert", told(made), retain=False)
        return made.alert

    def score(self, value: float, *, asset: str = "p1", **more: Any) -> None:  # noqa: ANN401
        self.say(f"asset/{asset}/score", told(score(value, asset=asset, **more)), retain=False)

    def sample(self, asset: str, payload: bytes) -> None:
        self._client.publish(f"plant/{asset}", payload, qos=1).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Browser:
    """Chromium on one page."""

    def __init__(self, driver: WebDriver) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def all(self, selector: str) -> list[WebElement]:
        """Return all elements of a CSS selector, or of an XPath."""
        way = "xpath" if selector.startswith("//") else "css selector"
        return self.driver.find_elements(way, selector)

    def press(self, *keys: str) -> None:
        """Type, wherever the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def strips(self) -> dict[str, tuple[int, int]]:
        """Return how many points each strip of the chart has: what came, what was expected."""
        found: list[list[Any]] = self.run(
            "const e = document.querySelector('.trend');"
            "const strips = (e && getElement(e)?.strips) ?? [];"
            "return strips.map(s => [s.name, s.actual.length, s.expected.length])"
        )
        return {name: (came, expected) for name, came, expected in found}

    def one(self, selector: str) -> WebElement:
        """Wait for an element that can be seen."""
        wait_for(lambda: any(e.is_displayed() for e in self.all(selector)), selector)
        return next(e for e in self.all(selector) if e.is_displayed())

    def texts(self, selector: str) -> list[str]:
        """Return what can be read, at one stroke: rows may change between two looks."""
        found: list[str] = self.driver.execute_script(  # type: ignore[no-untyped-call]
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())",
            selector,
        )
        return found

    def wait_text(self, selector: str, text: str) -> None:
        wait_for(
            lambda: any(text in found for found in self.texts(selector)),
            f"{text!r} in {selector}; {self.texts(selector)[:5]}",
        )

    def run(self, script: str) -> Any:  # noqa: ANN401
        return self.driver.execute_script(script)  # type: ignore[no-untyped-call]

    def size(self, width: int, height: int) -> None:
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )

    def prefer(self, **features: str) -> None:
        """Emulate a person's settings: ``prefers_color_scheme="dark"``."""
        wanted = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self._devtools("Emulation.setEmulatedMedia", {"features": wanted})

    def errors(self) -> list[str]:
        """Return what the page's own console complained about since the last time."""
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[attr-defined]
        return [e["message"] for e in entries if e["level"] == "SEVERE"]

    def _devtools(self, command: str, arguments: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(command, arguments)  # type: ignore[attr-defined]


def chromium(folder: Path, *, own_authority: bool = False) -> WebDriver:
    """Start Debian's Chromium with a profile of its own; skip where there is none.

    ``own_authority``: it takes certificates of an authority that it does not know.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed; .ci/run installs them")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"--user-data-dir={folder}", f"--window-size={SIZE[0]},{SIZE[1]}"):
        options.add_argument(flag)
    options.accept_insecure_certs = own_authority
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver, log_output=os.devnull)
    made: WebDriver = webdriver.Chrome(options=options, service=service)
    made.set_script_timeout(WAIT_S)
    made.set_page_load_timeout(WAIT_S)
    return made


def profile() -> Path:
    """Return a new folder with a short path: Chromium puts sockets there."""
    return Path(tempfile.mkdtemp(prefix="chromium-"))
