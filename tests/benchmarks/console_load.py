"""How the console fares with a large fleet: ``python tests/benchmarks/console_load.py``.

A real Mosquitto, a real console process, a real Chromium on its overview.
Every asset says its score and its sample once a second; a click on a filter
is timed until the table shows what was asked for, from inside the page.  Prints
figures and asserts on none.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
for room in ("integration", "system", "unit"):
    sys.path.append(str(HERE.parent / room))

from console_parts import score, told  # noqa: E402
from console_rig import Browser, Console, Gateway, chromium, profile  # noqa: E402
from paho.mqtt.client import Client  # noqa: E402
from paho.mqtt.enums import CallbackAPIVersion  # noqa: E402
from rig import Mosquitto, wait_for  # noqa: E402

SENSORS = 8
CLICKS = 20
# Clicks a chip, and waits until the page says that it is pressed and has drawn.
CLICK = """
const done = arguments[0], chip = document.querySelectorAll(".chip")[1];
const wanted = chip.getAttribute("aria-pressed") !== "true", begun = performance.now();
const look = () => (chip.getAttribute("aria-pressed") === "true") === wanted
  ? requestAnimationFrame(() => done(performance.now() - begun)) : requestAnimationFrame(look);
chip.click();
requestAnimationFrame(look);
"""


def publish(port: int, assets: int, seconds: float) -> None:
    """Say every asset's sample and score once a second, spread over the second."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    begun, tick = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        now_ms = time.time_ns() // 1_000_000
        for n in range(assets):
            name = f"pump-{n:04d}"
            sample = {"ts": now_ms, **{f"s{k}": n + k + tick % 7 for k in range(SENSORS)}}
            client.publish(f"plant/{name}", json.dumps(sample))
            value = 0.3 + (n * 7 + tick) % 50 / 100
            client.publish(
                f"offbeat/gw1/asset/{name}/score", told(score(value, asset=name, time_ms=now_ms))
            )
            if n % 20 == 19:
                time.sleep(max(0.0, begun + tick + n / assets - time.monotonic()))
        tick += 1
    client.disconnect()
    client.loop_stop()


def processor_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def measure(console: Console, browser: Browser, seconds: float) -> dict[str, float]:
    """Watch for a while; click now and then."""
    browser.open(console.url)
    browser.one("table.fleet tbody tr")
    before, begun = console.counters(), time.monotonic()
    spent = processor_s(console.pid)
    clicks = []
    for _ in range(CLICKS):
        time.sleep(seconds / CLICKS)
        clicks.append(float(browser.driver.execute_async_script(CLICK)))  # type: ignore[no-untyped-call]
    passed = time.monotonic() - begun
    after = console.counters()
    return {
        "seconds": passed,
        "messages_per_s": (after["messages"] - before["messages"]) / passed,
        "assets": after["assets"],
        "click_ms_median": statistics.median(clicks),
        "click_ms_worst": max(clicks),
        "processor_share": (processor_s(console.pid) - spent) / passed,
        "resident_mb": resident_mb(console.pid),
        "store_mb": sum(f.stat().st_size for f in console.state.glob("console.db*")) / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    folder, home = Path(tempfile.mkdtemp()), profile()
    broker = Mosquitto(folder / "broker").start()
    driver = chromium(home)
    try:
        with Console(folder, broker.port) as console:
            gateway = Gateway(broker.port)
            for n in range(args.assets):
                gateway.state("ok" if n % 100 else "anomaly", asset=f"pump-{n:04d}")
            more = multiprocessing.Process(
                target=publish, args=[broker.port, args.assets, args.seconds + 30]
            )
            more.start()
            wait_for(lambda: console.counters()["assets"] >= args.assets, "all assets")
            found = measure(console, Browser(driver), args.seconds)
            more.terminate()
            more.join()
            gateway.close()
        for name, value in found.items():
            print(f"{name:16} {value:10.1f}")  # noqa: T201
    finally:
        driver.quit()
        broker.kill()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
