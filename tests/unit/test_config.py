"""The configuration: strict, all problems at once, the environment over the file."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offbeat_edge import check_command, config
from offbeat_edge.cli import main
from offbeat_edge.config import MAX_S
from offbeat_edge.config_check import is_loopback
from offbeat_edge.errors import ConfigError
from offbeat_edge.schema import AlertRule
from offbeat_edge.signature import generate

if TYPE_CHECKING:
    from pathlib import Path

    from offbeat_edge.config import Config

SECONDS = f"a number of seconds from 0 to {MAX_S}"
MINIMAL = """
[gateway]
id = "gw1"
[[source]]
topic = "plant/{asset}"
[[model]]
bundle = "pump.offbeat"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "offbeat.toml"
    path.write_text(MINIMAL)
    return path


def load(file: Path, text: str = MINIMAL, **environ: str) -> Config:
    file.write_text(text)
    return config.load(file, environ)


def problems(file: Path, text: str, **environ: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ)
    return caught.value.problems


def test_all_problems_come_at_once_with_place_expected_and_got(file: Path) -> None:
    found = problems(
        file,
        """
        [gatway]
        [gateway]
        id = "GW 1"
        [mqtt]
        port = 70000
        protocol = "4"
        pasword = "hunter2"
        tls = "yes"
        [[source]]
        topic = "plant/#"
        [[source]]
        topic = "a/{asset}"
        qos = 2
        values = {speed = "a..b"}
        [[model]]
        bundle = 3
        [[model]]
        bundle = "x"
        digest = "sha256:abc"
        lateness_s = nan
        alert = {clear_ratio = 2}
        """,
    )
    assert found[:-2] == [
        "offbeat.toml: gatway: unknown key, the nearest is 'gateway'",
        "offbeat.toml: gateway.id: expected a name of a-z 0-9 _ . - (64 at most), got 'GW 1'",
        "offbeat.toml: mqtt.pasword: unknown key, the nearest is 'password_file'",
        "offbeat.toml: mqtt.port: expected an integer from 1 to 65535, got 70000",
        "offbeat.toml: mqtt.protocol: expected one of 'auto', '5', '3.1.1', got '4'",
        "offbeat.toml: mqtt.tls: expected true or false, got 'yes'",
        "offbeat.toml: source[1].qos: expected 0 or 1, got 2",
        "offbeat.toml: model[0].bundle: expected a string that is not empty, got 3",
        "offbeat.toml: model[1].digest: expected 'sha256:' and 64 hex digits, got 'sha256:abc'",
        f"offbeat.toml: model[1].lateness_s: expected {SECONDS}, got nan",
        "offbeat.toml: model[1].alert.clear_ratio: expected a number from 0 to 1, got 2",
    ]
    assert found[-2].startswith("offbeat.toml: source[0].topic: expected a literal level, '+', ")
    assert found[-1].startswith("offbeat.toml: source[1].values.speed: expected a path such as")


def test_the_value_of_an_unknown_key_is_never_repeated(file: Path) -> None:
    assert "hunter2" not in "".join(problems(file, MINIMAL + '[mqtt]\npassword = "hunter2"'))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[source]]", "source[0].topic: expected a topic or a preset, got nothing"),
        ("", "gateway: expected a table, got nothing"),
        ("gateway = 1", "gateway: expected a table, got 1"),
        ('[gateway]\nid = "g"', "source: expected one [[source]] at least, got none"),
        ('[gateway]\nid = "g"', "model: expected one [[model]] at least, got none"),
        ("[source]\n[gateway]", "source: expected a list of tables ([[source]]), got {}"),
        ("[gateway", "expected TOML, got: "),
        ("a = " + "[" * 5000, "expected TOML, got "),
        (MINIMAL + '[mqtt]\ncert_file = "x"', "expected cert_file and key_file together"),
        (MINIMAL + '[mqtt]\npassword_file = "x"', "mqtt.username: expected a name beside"),
        (MINIMAL + '[[source]]\ntopic = "plant/{asset...}"', "'plant/{asset...}' and source[0]'s"),
        (MINIMAL + '[[source]]\ntopic = "x"', "source[1]: expected either {asset} in the topic"),
        (MINIMAL + '[[source]]\ntopic = "x/{asset}"\nasset = "id"', "the key asset, got both"),
        (MINIMAL + '[[source]]\ntopic = "x/{asset}"\nformat = "number"', "beside 'number'"),
        (MINIMAL + '[[source]]\ntopic = "x/{asset}/{sensor}"\nformat = "influx"', "no {sensor}"),
        (MINIMAL + '[[source]]\ntopic = "x/{asset}"\nformat = "influx"\nprefix = "a"', "no paths"),
        (MINIMAL + '[[source]]\ntopic = "x/{asset}"\nassets = {A = "A"}', "expected a name of a-z"),
        (
            MINIMAL + '[[source]]\ntopic = "x/{asset}"\nassets = {A = "a", B = "a"}',
            "source[1].assets: 'A' and 'B' are both 'a'",
        ),
    ],
)
def test_what_cannot_work_is_a_problem(file: Path, text: str, problem: str) -> None:
    assert any(problem in line for line in problems(file, text))


def test_a_file_that_is_not_there_or_not_text_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a readable file, got: No such file"):
        config.load(tmp_path / "none.toml", {})
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(ConfigError, match="expected TOML, got: 'utf-8' codec"):
        config.load(tmp_path / "latin.toml", {})


# ------------------------------------------------------------ the environment


def test_the_environment_lies_over_the_file(file: Path) -> None:
    made = load(
        file,
        OFFBEAT_MQTT__PORT="1884",
        OFFBEAT_MQTT__TLS="true",
        OFFBEAT_MODEL__0__BUNDLE="/b/other.offbeat",
        OFFBEAT_MODEL__0__ASSETS="pump*, fan?",
        OFFBEAT_MODEL__0__ALERT__CLEAR_S="2.5",
        OFFBEAT_SOURCE__0__VALUES='{speed = "a.b"}',
        OFFBEAT_SOURCE__1__TOPIC="x/{asset}/{sensor}",
        OFFBEAT_LOG__LEVEL="debug",
        OFFBEAT_DATA="/not/a/setting",
    )
    assert (made.mqtt.port, made.mqtt.tls, made.log.level) == (1884, True, "debug")
    assert made.models[0].bundle == "/b/other.offbeat"
    assert made.models[0].assets == ("pump*", "fan?")
    assert made.models[0].alert.clear_s == 2.5
    assert made.sources[0].values == {"speed": "a.b"}
    assert made.sources[1].topic == "x/{asset}/{sensor}"


def test_tables_are_appended_in_the_order_of_their_numbers(file: Path) -> None:
    more = {f"OFFBEAT_SOURCE__{n}__TOPIC": f"t{n}/{{asset}}" for n in range(1, 12)}
    assert [s.topic for s in load(file, **more).sources[1:]] == list(more.values())


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("OFFBEAT_MQTT__PROT", "unknown key, the nearest is 'PORT'"),
        ("OFFBEAT_MQT__PORT", "unknown key, the nearest is 'MQTT'"),
        ("OFFBEAT_MODEL__7__BUNDLE", "expected a number from 0 to 1 after MODEL, got '7'"),
        ("OFFBEAT_MODEL__X__BUNDLE", "expected a number from 0 to 1 after MODEL, got 'X'"),
        ("OFFBEAT_MODEL__0", "expected a key after MODEL__0, got nothing"),
        ("OFFBEAT_MODEL__0__BUNDLE__X", "expected no more after BUNDLE, got 'X'"),
        ("OFFBEAT_MODEL__0__ALERT", "expected a key after ALERT, got nothing"),
    ],
)
def test_a_variable_that_means_nothing_is_a_problem(
    file: Path, variable: str, problem: str
) -> None:
    assert f"environment: {variable}: {problem}" in problems(file, MINIMAL, **{variable: "x"})


def test_a_wrong_value_names_its_variable(file: Path) -> None:
    (found,) = problems(file, MINIMAL, OFFBEAT_MQTT__PORT="many")
    assert found.endswith("from 1 to 65535, got 'many' (from OFFBEAT_MQTT__PORT)")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60) | st.text("[]{}=\"'\n.a1 #", max_size=40), st.text(max_size=10))
def test_any_text_is_read_or_refused(file: Path, text: str, value: str) -> None:
    file.write_bytes((MINIMAL + text).encode(errors="replace"))
    made, wrong = config.read(
        file,
        {
            "OFFBEAT_MQTT__PORT": value,
            f"OFFBEAT_MODEL__{value}__ALERT": value,
            f"OFFBEAT_{value}__": "",
        },
    )
    assert wrong
    assert made is None or made.gateway.id == "gw1"


# ------------------------------------------------------------ what is resolved


def test_paths_start_at_the_files_folder(file: Path) -> None:
    made = load(file, MINIMAL + '[mqtt]\nca_file = "ca.pem"')
    assert made.models[0].bundle == str(file.parent / "pump.offbeat")
    assert made.mqtt.ca_file == str(file.parent / "ca.pem")


def test_the_home_of_a_user_nobody_knows_is_no_crash(file: Path) -> None:
    loaded = load(file, MINIMAL.replace("pump.offbeat", "~no such user/pump.offbeat"))
    assert loaded.models[0].bundle == str(file.parent / "~no such user/pump.offbeat")


def test_port_and_tls_follow_the_files(file: Path) -> None:
    assert (load(file).mqtt.port, load(file).mqtt.tls) == (1883, False)
    secure = load(file, MINIMAL + '[mqtt]\nca_file = "ca.pem"').mqtt
    assert (secure.port, secure.tls) == (8883, True)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/offbeat:/x", "HOME": "/h"}, "/var/lib/offbeat"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/offbeat/gw1"),
        ({"HOME": "/h"}, "/h/.local/state/offbeat/gw1"),
        ({"OFFBEAT_GATEWAY__STATE_DIR": "/mine", "HOME": "/h"}, "/mine"),
    ],
)
def test_state_has_a_folder_of_its_own(file: Path, environ: dict[str, str], folder: str) -> None:
    assert load(file, **environ).gateway.state_dir == folder


def test_the_first_model_that_matches_has_the_asset(file: Path) -> None:
    made = load(file, OFFBEAT_MODEL__0__ASSETS="hall1.*", OFFBEAT_MODEL__1__BUNDLE="b")
    assert made.model_for("hall1.p1") is made.models[0]
    assert made.model_for("hall2.p1") is made.models[1]
    assert load(file, OFFBEAT_MODEL__0__ASSETS="x").model_for("p1") is None


def test_overrides_leave_the_rest_of_the_bundles_rule(file: Path) -> None:
    made = load(
        file, OFFBEAT_MODEL__0__ALERT__CLEAR_S="2.5", OFFBEAT_MODEL__0__ALERT__COOLDOWN_S="0"
    )
    rule = AlertRule(min_duration_ms=7, clear_ratio=0.8, clear_ms=9, cooldown_ms=11)
    assert made.models[0].alert.over(rule) == AlertRule(
        min_duration_ms=7, clear_ratio=0.8, clear_ms=2500, cooldown_ms=0
    )


def test_the_digest_of_settings_changes_with_what_alerts_depend_on(file: Path) -> None:
    def digest(**environ: str) -> str:
        made = load(file, **environ)
        return made.model_digest(made.models[0])

    same = [{}, {"OFFBEAT_MQTT__HOST": "x"}, {"OFFBEAT_LOG__LEVEL": "debug"}, {"HOME": "/x"}]
    other = [
        {"OFFBEAT_GATEWAY__SITE": "x"},
        {"OFFBEAT_MODEL__0__LATENESS_S": "1"},
        {"OFFBEAT_MODEL__0__ALERT__CLEAR_S": "1"},
        {"OFFBEAT_SOURCE__0__VALUES": '{a = "b"}'},
    ]
    assert len({digest(**environ) for environ in same}) == 1
    assert len({digest(**environ) for environ in [{}, *other]}) == len(other) + 1


# ------------------------------------------------------------ offbeat check-config


def said(file: Path, **environ: str) -> str:
    found = check_command.check(file, environ)
    return "\n".join([*found.problems, "--", *found.warnings])


def test_a_bundle_that_is_not_there_or_none_is_a_problem(file: Path) -> None:
    assert "model[0].bundle: " in said(file).split("--")[0]
    (file.parent / "pump.offbeat").write_bytes(b"PK nonsense")
    assert "model[0].bundle: " in said(file).split("--")[0]


def test_a_files_own_problems_do_not_hide_the_bundles(file: Path) -> None:
    found = said(file, OFFBEAT_MQTT__PORT="x").split("--")[0]
    assert "mqtt.port" in found
    assert "model[0].bundle" in found


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({"OFFBEAT_MQTT__HOST": "broker.plant"}, "mqtt.host: no TLS to broker.plant"),
        ({"OFFBEAT_MQTT__HOST": "broker.plant"}, "mqtt.username: anonymous"),
        (
            {
                "OFFBEAT_MQTT__HOST": "10.0.0.1",
                "OFFBEAT_MQTT__USERNAME": "u",
                "OFFBEAT_MQTT__PASSWORD_FILE": "p",
            },
            "mqtt.password_file: the password goes to 10.0.0.1 in clear",
        ),
        ({"OFFBEAT_SOURCE__0__QOS": "0"}, "source[0].qos: at 0 messages may be lost"),
        ({}, "model[0].digest: not set, and no trust.keys"),
        ({"OFFBEAT_MODEL__1__BUNDLE": "b"}, "model[1].assets: '*' never reached, model[0] "),
    ],
)
def test_what_is_unsafe_or_not_meant_is_a_warning(
    file: Path, environ: dict[str, str], warning: str
) -> None:
    assert warning in said(file, **environ).split("--")[1]


def test_a_model_that_watches_nothing_is_a_problem(file: Path) -> None:
    file.write_text(file.read_text() + "assets = []\n")
    assert "model[0].assets: expected one pattern" in said(file).split("--")[0]


@pytest.mark.parametrize("digest", ["abc", "sha256:abc", "sha256:" + "g" * 64, "md5:" + "0" * 64])
def test_a_digest_that_is_none_is_a_problem(file: Path, digest: str) -> None:
    found = said(file, OFFBEAT_MODEL__0__DIGEST=digest).split("--")[0]
    assert "model[0].digest: expected 'sha256:' and 64 hex digits" in found


def test_a_key_that_is_absent_is_a_problem_and_one_that_is_there_ends_a_warning(file: Path) -> None:
    found = said(file, OFFBEAT_TRUST__KEYS="release.key.pub")
    assert "trust.keys: " in found.split("--")[0]
    assert "digest" not in found.split("--")[1]


def test_a_key_that_anybody_may_replace_is_a_warning(file: Path) -> None:
    generate(file.parent / "release.key")
    public = file.parent / "release.key.pub"
    assert "trust.keys" not in said(file, OFFBEAT_TRUST__KEYS="release.key.pub")
    public.chmod(0o666)
    assert "anybody may write" in said(file, OFFBEAT_TRUST__KEYS="release.key.pub").split("--")[1]


def test_on_loopback_clear_text_is_no_warning(file: Path) -> None:
    assert "mqtt" not in said(file, OFFBEAT_MQTT__HOST="127.0.0.1")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.9", "::1", "[::1]", "a.localhost"])
def test_loopback_is_told_by_its_name(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost.evil.org", "128.0.0.1", ""])  # noqa: S104
def test_elsewhere_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_secret_open_to_others_is_a_warning(file: Path) -> None:
    secret = file.parent / "secret"
    secret.write_text("x\n")
    environ = {"OFFBEAT_MQTT__USERNAME": "u", "OFFBEAT_MQTT__PASSWORD_FILE": "secret"}
    secret.chmod(0o644)
    assert "is open to others (mode 644, expected 600)" in said(file, **environ)
    secret.chmod(0o600)
    assert "open to others" not in said(file, **environ)


def test_files_that_are_missing_empty_or_no_certificates_are_problems(file: Path) -> None:
    assert "mqtt.ca_file: expected a readable file" in said(file, OFFBEAT_MQTT__CA_FILE="ca.pem")
    (file.parent / "ca.pem").write_text("")
    assert "got an empty file" in said(file, OFFBEAT_MQTT__CA_FILE="ca.pem")
    (file.parent / "ca.pem").write_text("no certificate")
    assert "mqtt.ca_file: expected PEM" in said(file, OFFBEAT_MQTT__CA_FILE="ca.pem")


def test_an_encrypted_key_is_a_problem_and_asks_nobody(file: Path) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:secret",
         "-subj", "/CN=x", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=file.parent, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0
    environ = {"OFFBEAT_MQTT__CERT_FILE": "cert.pem", "OFFBEAT_MQTT__KEY_FILE": "key.pem"}
    assert "mqtt.cert_file: expected a certificate and its open key" in said(file, **environ)


def test_the_command_speaks_to_programs_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(file), "--json"]) == 78
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"]
    assert len(found["problems"]) == 1
    assert main(["check-config", str(file)]) == 78
    assert "problem: offbeat.toml: model[0].bundle" in capsys.readouterr().out
