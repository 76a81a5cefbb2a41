"""The stack in docker-compose.yml, as far as it can be checked without an engine,
and its Mosquitto configurations in a real Mosquitto.
"""

from __future__ import annotations

import re
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

from offbeat_broker import access
from offbeat_edge import cli, config

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MOSQUITTO = ROOT / "broker" / "mosquitto"
WAIT = 20.0  # seconds
STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not installed"
)
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


def test_the_stack_is_the_whole_loop() -> None:
    assert set(SERVICES) == {"mosquitto", "train", "edge", "simulator", "recorder", "retrain"}


def test_every_build_and_mounted_file_exists() -> None:
    for service in SERVICES.values():
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in STACK["volumes"] or (ROOT / source).is_file(), source


def test_the_daemon_waits_for_the_bundle_and_the_broker() -> None:
    waits = SERVICES["edge"]["depends_on"]
    assert waits["train"]["condition"] == "service_completed_successfully"
    assert waits["mosquitto"]["condition"] == "service_healthy"
    assert "healthcheck" in SERVICES["mosquitto"]


def test_the_training_job_writes_the_bundle_that_the_daemon_reads() -> None:
    conf = config.load(ROOT / "edge/examples/compose.toml", {})
    bundle = conf.models[0].bundle
    assert f"--out {bundle}" in SERVICES["train"]["command"][-1]
    folder = str(Path(bundle).parent)
    for name in ("train", "edge"):
        assert any(v.split(":")[1] == folder for v in SERVICES[name]["volumes"])


def test_the_daemon_listens_where_the_simulator_speaks() -> None:
    conf = config.load(ROOT / "edge/examples/compose.toml", {})
    words = SERVICES["simulator"]["command"]
    assert words[words.index("--mqtt") + 1] == f"{conf.mqtt.host}:{conf.mqtt.port}"
    assert conf.sources[0].topic == "plant/{asset}"
    assert conf.mqtt.host in SERVICES


def test_the_state_outlives_the_container() -> None:
    conf = config.load(ROOT / "edge/examples/compose.toml", {})
    assert f"edge-state:{conf.gateway.state_dir}" in SERVICES["edge"]["volumes"]


def test_our_containers_are_read_only_and_without_privileges() -> None:
    for name in ("train", "edge", "recorder", "retrain"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["mosquitto"]["ports"])


def test_every_command_in_the_stack_exists() -> None:
    said = [SERVICES["edge"]["command"][0], SERVICES["simulator"]["command"][0]]
    said += re.findall(r"offbeat ([a-z-]+)", SERVICES["train"]["command"][-1])
    assert set(said) <= set(cli.COMMANDS)
    assert len(said) == 4


def test_recorder_and_retraining_job_share_the_lake_and_their_options_are_accepted() -> None:
    import argparse  # noqa: PLC0415

    from offbeat_train import record_command, retrain_command  # noqa: PLC0415

    recorder, job = SERVICES["recorder"], SERVICES["retrain"]
    parser = argparse.ArgumentParser()
    record_command.add_arguments(parser)
    recorded = parser.parse_args(recorder["command"][2:])
    parser = argparse.ArgumentParser()
    retrain_command.add_arguments(parser)
    line = next(line for line in job["command"][-1].splitlines() if "offbeat" in line)
    retrained = parser.parse_args(line.split()[2:])
    assert retrained.lake == recorded.lake
    for service, path in (
        (recorder, recorded.lake),
        (job, retrained.lake),
        (job, str(retrained.registry)),
        (job, str(retrained.champion.parent)),
    ):
        assert any(volume.split(":")[1] == path for volume in service["volumes"])
    assert recorder["environment"]["OFFBEAT_GATEWAY__ID"] == "recorder"


def test_the_simulators_own_options_are_accepted() -> None:
    import argparse  # noqa: PLC0415

    from offbeat_broker import simulate_command  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    simulate_command.add_arguments(parser)
    parser.parse_args(SERVICES["simulator"]["command"][1:])
    line = next(
        line for line in SERVICES["train"]["command"][-1].splitlines() if "simulate" in line
    )
    parser.parse_args(line.split()[2:])


@pytest.mark.parametrize("dockerfile", ["edge/Dockerfile", "train/Dockerfile"])
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
@pytest.mark.parametrize("name", ["mosquitto.conf", "compose.conf"])
def test_more_than_a_thousand_messages_wait_for_an_absent_daemon(name: str, folder: Path) -> None:
    """Mosquitto's defaults keep 1,000 and drop the rest of what they acknowledged."""
    port, count = free_port(), 1500
    conf = folder / "m.conf"
    conf.write_text(placed(name, folder, port))
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


@pytest.mark.parametrize("name", ["mosquitto.conf", "compose.conf"])
def test_queues_are_bounded_by_bytes_as_provisions_are(name: str) -> None:
    lines = (MOSQUITTO / name).read_text().splitlines()
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
    for name in ("run", "runtimes"):
        done = subprocess.run(
            ["bash", "-n", ROOT / ".ci" / name], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
