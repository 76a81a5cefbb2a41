"""The stack in docker-compose.yml, as far as it can be checked without an engine,
and its Mosquitto configurations in a real Mosquitto.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
import pytest
import yaml

pytest.importorskip("cryptography", reason="the extra `provision` is not installed")

from offbeat_broker import access, provision_command, provision_init, simulate_command
from offbeat_console import settings
from offbeat_edge import cli, config
from offbeat_train import record_command, retrain_command

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MOSQUITTO = ROOT / "broker" / "mosquitto"
WAIT = 60.0  # seconds; a hang, not a measurement
STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not installed"
)
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


OURS = set(SERVICES) - {"mosquitto", "prometheus"}
ONCE = {"identities", "train"}


def mounts(service: str) -> dict[str, str]:
    """Return path in the container → volume or file."""
    parts = [volume.split(":") for volume in SERVICES[service].get("volumes", [])]
    return {part[1]: part[0] for part in parts}


def parsed(module: Any, words: list[str]) -> argparse.Namespace:  # noqa: ANN401
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(words)


def test_the_stack_is_the_whole_loop() -> None:
    assert set(SERVICES) == {
        "identities", "mosquitto", "train", "edge", "simulator", "recorder", "retrain", "console",
        "prometheus",
    }  # fmt: skip


def test_every_build_and_mounted_file_exists() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        for source in mounts(name).values():
            assert source in STACK["volumes"] or (ROOT / source).is_file(), source
    used = {source for name in SERVICES for source in mounts(name).values()}
    assert set(STACK["volumes"]) <= used


def test_the_daemon_waits_for_the_bundle_and_the_broker() -> None:
    waits = SERVICES["edge"]["depends_on"]
    assert waits["train"]["condition"] == "service_completed_successfully"
    assert waits["mosquitto"]["condition"] == "service_healthy"


def test_what_stays_up_is_watched_and_what_runs_once_ends() -> None:
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (name not in ONCE), name
        assert (service["restart"] == "no") == (name in ONCE), name


def test_every_container_is_read_only_bounded_and_without_privileges() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert not service["user"].startswith("0"), name
        assert service["mem_limit"]
        assert service["pids_limit"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_base_images_are_pinned_by_digest() -> None:
    said = [SERVICES[name]["image"] for name in ("mosquitto", "prometheus")]
    said += [line for path in ROOT.glob("*/Dockerfile") for line in path.read_text().splitlines()
             if line.startswith("ARG PYTHON_IMAGE")]  # fmt: skip
    assert len(said) == 5
    for image in said:
        assert re.search(r":[\d.v]+[a-z-]*@sha256:[0-9a-f]{64}", image), image


def test_the_training_job_writes_the_bundle_that_the_daemon_reads() -> None:
    conf = config.load(ROOT / "edge/examples/compose.toml", {})
    bundle = conf.models[0].bundle
    assert f"--out {bundle}" in SERVICES["train"]["command"][-1]
    folder = str(Path(bundle).parent)
    assert mounts("train")[folder] == mounts("edge")[folder] == mounts("retrain")[folder]


def test_everybody_meets_at_one_broker_that_knows_them_all() -> None:
    conf = config.load(ROOT / "edge/examples/compose.toml", {})
    page = settings.load(ROOT / "console/examples/compose.toml", {})
    assert conf.mqtt.host == page.mqtt.host == "mosquitto"
    assert conf.mqtt.port == page.mqtt.port == provision_init.DEFAULT_PORT
    said = SERVICES["identities"]["command"][-1].replace("$$at", "/site/plant")
    acts = re.findall(r"offbeat provision (.*)", said)
    for act in acts:
        parsed(provision_command, shlex.split(act))
    assert f"--host {conf.mqtt.host}" in acts[0]
    assert {act.split()[0] for act in acts} == {
        "init", "gateway", "source", "trainer", "console", "page", "person",
    }  # fmt: skip
    assert f"gateway /site/plant {conf.gateway.id}" in said


def test_a_container_has_no_keys_but_its_own() -> None:
    held = {name: mounts(name)["/keys"] for name in SERVICES if "/keys" in mounts(name)}
    assert held == {
        "edge": "keys-gw1", "simulator": "keys-simulator", "recorder": "keys-recorder",
        "console": "keys-console",
    }  # fmt: skip
    assert [name for name in SERVICES if "site" in mounts(name).values()] == ["identities"]


def test_the_state_outlives_the_container() -> None:
    conf = config.load(ROOT / "edge/examples/compose.toml", {})
    page = settings.load(ROOT / "console/examples/compose.toml", {})
    assert mounts("edge")[conf.gateway.state_dir] == "edge-state"
    assert mounts("console")[page.console.state_dir] == "console-state"


def test_every_command_in_the_stack_exists() -> None:
    said = [SERVICES[name]["command"][0] for name in ("edge", "simulator")]
    for name in OURS - {"edge", "simulator"}:
        said += re.findall(r"offbeat ([a-z-]+)", " ".join(SERVICES[name]["command"]))
    assert set(said) == {
        "console", "fit", "provision", "record", "retrain", "run", "simulate",
    }  # fmt: skip
    assert set(said) <= set(cli.COMMANDS)


def test_recorder_and_retraining_job_share_the_lake_and_their_options_are_accepted() -> None:
    recorder, job = SERVICES["recorder"], SERVICES["retrain"]
    recorded = parsed(record_command, recorder["command"][2:])
    words = re.search(r"offbeat retrain (.*?) \|\|", job["command"][-1], flags=re.DOTALL)
    assert words is not None
    retrained = parsed(retrain_command, words[1].replace("\\\n", " ").split())
    assert retrained.lake == recorded.lake
    assert mounts("recorder")[recorded.lake] == mounts("retrain")[retrained.lake]
    assert str(retrained.registry) in mounts("retrain")
    assert recorder["environment"]["OFFBEAT_GATEWAY__ID"] == "recorder"


def test_the_simulators_own_options_are_accepted() -> None:
    live = parsed(simulate_command, SERVICES["simulator"]["command"][1:])
    assert live.mqtt in mounts("simulator")
    line = next(
        line for line in SERVICES["train"]["command"][-1].splitlines() if "simulate" in line
    )
    parsed(simulate_command, line.replace('"$$HISTORY"', "7d").split()[2:])


def test_prometheus_reads_the_daemon_and_its_rules() -> None:
    conf = config.load(ROOT / "edge/examples/compose.toml", {})
    scrape = yaml.safe_load((ROOT / "edge/prometheus/compose.yml").read_text())
    target = scrape["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == [f"edge:{conf.metrics.port}"]
    rules = f"/etc/prometheus/{scrape['rule_files'][0]}"
    assert rules in mounts("prometheus")


@pytest.mark.parametrize(
    "dockerfile", ["edge/Dockerfile", "train/Dockerfile", "console/Dockerfile"]
)
def test_images_do_not_run_as_root_and_copy_what_exists(dockerfile: str) -> None:
    lines = (ROOT / dockerfile).read_text().splitlines()
    assert any(re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", line) for line in lines)
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if "!" in line]
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert source in kept, f"{source} is ignored by .dockerignore"


def test_the_edge_image_holds_no_cloud_half() -> None:
    text = (ROOT / "edge/Dockerfile").read_text()
    assert "[train]" not in text
    assert "tensorflow" not in text.lower().replace("no tensorflow", "")


# --------------------------------------------------------------- Mosquitto


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def mosquitto(conf: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a real broker until it listens on ``port``; stop it afterwards."""
    command = ["mosquitto", "-c", str(conf)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as broker:
        try:
            deadline = time.monotonic() + WAIT
            while broker.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert time.monotonic() < deadline, "mosquitto does not listen"
                time.sleep(0.05)
            if broker.poll() is not None:
                assert broker.stderr is not None
                pytest.fail(f"mosquitto refused {conf}: {broker.stderr.read()}")
            yield broker
        finally:
            broker.terminate()
            broker.wait(WAIT)


def placed(name: str, folder: Path, port: int) -> str:
    """Return a shipped configuration with this test's port and folder in it."""
    text = (MOSQUITTO / name).read_text()
    text = re.sub(r"(?m)^listener \d+.*$", f"listener {port} 127.0.0.1", text)
    text = re.sub(r"(?m)^persistence_location .*$", f"persistence_location {folder}/", text)
    text = re.sub(r"/etc/mosquitto/(certs/)?", f"{folder}/", text)
    folder.chmod(0o777)  # a broker started by root changes its user
    return text


def pub(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-q", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)


def sub(port: int, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for parent in (tmp_path, *tmp_path.parents):
        if parent == Path("/tmp"):  # noqa: S108 - up to here the broker's user must come in
            break
        if parent.stat().st_uid == tmp_path.stat().st_uid and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return tmp_path


@needs_mosquitto
def test_more_than_a_thousand_messages_wait_for_an_absent_daemon(folder: Path) -> None:
    """Mosquitto's defaults keep 1,000 and drop the rest of what they acknowledged."""
    port, count = free_port(), 1500
    conf = folder / "m.conf"
    conf.write_text(placed("mosquitto.conf", folder, port))
    session = ("-i", "gw", "-c", "-t", "plant/#")
    with mosquitto(conf, port):
        assert sub(port, *session, "-E").returncode == 0
        lines = "".join(f"{i}\n" for i in range(count))
        subprocess.run(
            ["mosquitto_pub", "-p", str(port), "-h", "127.0.0.1", "-t", "plant/p", "-q", "1", "-l"],
            input=lines, text=True, timeout=60, check=True,
        )  # fmt: skip
        got = sub(port, *session, "-C", str(count))
    assert got.stdout == lines


def test_queues_are_bounded_by_bytes_as_provisions_are() -> None:
    lines = (MOSQUITTO / "mosquitto.conf").read_text().splitlines()
    assert f"max_queued_messages {access.MAX_QUEUED}" in lines


def test_the_acl_gives_the_rights_that_provision_gives() -> None:
    people = {
        "gw1": access.Access("gateway", topics=("plant/#",)),
        "operator": access.Access("person", "operator"),
        "plc1": access.Access("source", topics=("plant/#",)),
    }
    assert rights((MOSQUITTO / "offbeat.acl").read_text()) == rights(access.acl(people))


def rights(acl: str) -> dict[str, set[str]]:
    """Return user → rules, from an ACL file without patterns."""
    assert not re.search(r"(?m)^pattern ", acl)
    blocks = re.split(r"(?m)^user ", acl)[1:]
    return {block.split()[0]: set(re.findall(r"(?m)^topic (.*)$", block)) for block in blocks}


@needs_mosquitto
def test_a_refused_publish_costs_one_message_not_the_connection(folder: Path) -> None:
    port = free_port()
    (folder / "acl").write_text("topic write plant/#\ntopic read #\n")
    (folder / "acl").chmod(0o644)
    conf = folder / "m.conf"
    conf.write_text(placed("mosquitto.conf", folder, port) + f"acl_file {folder}/acl\n")
    with mosquitto(conf, port):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        gone: list[object] = []
        client.on_disconnect = lambda *words: gone.append(words)
        client.connect("127.0.0.1", port)
        client.loop_start()
        for topic in ("offbeat/other/status", "plant/p1"):
            client.publish(topic, b"x", qos=1).wait_for_publish(WAIT)
        assert gone == []
        client.disconnect()
        client.loop_stop()


@needs_mosquitto
def test_a_clean_restart_keeps_what_waits(folder: Path) -> None:
    port = free_port()
    conf = folder / "m.conf"
    conf.write_text(placed("mosquitto.conf", folder, port))
    with mosquitto(conf, port):
        sub(port, "-i", "gw", "-c", "-t", "plant/#", "-E")
        pub(port, "-t", "plant/p", "-m", "waits")
    with mosquitto(conf, port):
        got = sub(port, "-i", "gw", "-c", "-t", "plant/#", "-C", "1")
    assert got.stdout == "waits\n"


@needs_mosquitto
def test_the_clear_listener_is_the_loopback_interface_only() -> None:
    listeners = re.findall(r"(?m)^listener .*$", (MOSQUITTO / "mosquitto.conf").read_text())
    assert listeners == ["listener 1883 127.0.0.1"]


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, capture_output=True, check=True)


def certificate(folder: Path, name: str) -> None:
    """Sign a certificate of ``name`` by the authority ca.crt."""
    openssl(folder, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.crt")  # fmt: skip
    (folder / f"{name}.key").chmod(0o644)


@needs_mosquitto
@needs_openssl
def test_the_tls_listener_knows_its_clients_and_holds_them_to_the_acl(folder: Path) -> None:
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test ca",
            "-days", "2", "-keyout", "ca.key", "-out", "ca.crt")  # fmt: skip
    for name in ("server", "gw1", "gw2", "operator"):
        certificate(folder, name)
    shutil.copy(MOSQUITTO / "offbeat.acl", folder)
    (folder / "offbeat.acl").chmod(0o644)
    port, clear = free_port(), free_port()
    conf = folder / "m.conf"
    conf.write_text(placed("mosquitto.conf", folder, clear) + placed("tls.conf", folder, port))

    def who(name: str) -> tuple[str, ...]:
        at = str(folder)
        return ("--cafile", f"{at}/ca.crt", "--cert", f"{at}/{name}.crt",
                "--key", f"{at}/{name}.key")  # fmt: skip

    with mosquitto(conf, port):
        own = pub(port, *who("gw1"), "-t", "offbeat/gw1/status", "-r", "-m", "online")
        foreign = pub(port, *who("gw2"), "-t", "offbeat/gw1/status", "-r", "-m", "forged")
        nobody = pub(port, "--cafile", f"{folder}/ca.crt", "-t", "offbeat/x", "-m", "y")
        seen = sub(port, *who("operator"), "-t", "offbeat/gw1/status", "-C", "1")
    assert own.returncode == 0, own.stderr
    assert "not authorized" in (foreign.stderr + foreign.stdout).lower()
    assert nobody.returncode != 0
    assert seen.stdout == "online\n"


def test_ci_scripts_are_valid_shell() -> None:
    for path in (
        ".ci/run", ".ci/runtimes", ".ci/containers", ".ci/device", "install-device.sh",
        "tests/containers/up.sh",
    ):  # fmt: skip
        done = subprocess.run(
            ["bash", "-n", ROOT / path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
