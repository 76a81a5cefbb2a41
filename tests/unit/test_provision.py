"""Provisioning a folder: what exists stays, what is revoked is listed, keys are private."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("cryptography", reason="the extra `provision` is not installed")

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from offbeat_broker import provision, provision_init, provision_status, registry
from offbeat_broker.authority import LIFE, revoked_serials
from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    provision_init.init(folder, hosts=["broker.plant"], port=8883, now=NOW)
    provision.admit(folder, "gw1", role="gateway", topics=["plant/#"], now=NOW)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def serial(folder: Path, identity: str) -> int:
    return x509.load_pem_x509_certificate(
        (folder / identity / "cert.pem").read_bytes()
    ).serial_number


def listed(folder: Path) -> set[int]:
    return revoked_serials((folder / "broker" / "revoked.pem").read_bytes())


def test_a_second_run_changes_nothing(site: Path) -> None:
    before = contents(site)
    provision_init.init(site, hosts=["broker.plant"], port=8883, now=NOW + timedelta(days=1))
    lines = provision.admit(
        site, "gw1", role="gateway", topics=["plant/#"], now=NOW + timedelta(days=1)
    )
    assert contents(site) == before
    assert lines == ["gw1: gateway, reads plant/#, already here"]


def test_no_file_or_folder_is_open_to_others(site: Path) -> None:
    provision.renew(site, "gw1", now=NOW)
    provision.renew(site, "server", now=NOW)
    provision.revoke(site, "gw1", superseded=True, now=NOW)
    for path in (site, *site.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    for key in site.rglob("key.pem"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_no_key_is_printed_or_kept_twice(tmp_path: Path) -> None:
    site = tmp_path / "site"
    lines = provision_init.init(site, hosts=["broker.plant"], port=8883, now=NOW)
    lines += provision.admit(site, "ana", role="person", now=NOW)
    lines += provision.renew(site, "ana", now=NOW)
    keys = [path.read_bytes() for path in site.rglob("key.pem")]
    assert len(keys) == len(set(keys)) == 4  # authority, server, ana, ana's older one
    for name, data in contents(site).items():
        assert (b"PRIVATE" in data) == name.endswith("key.pem"), name
    assert "PRIVATE" not in "\n".join(lines)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ConfigError, match="a new or an empty folder"):
        provision_init.init(tmp_path, hosts=["broker.plant"], port=8883, now=NOW)
    assert contents(tmp_path) == {"mine": b"precious"}


def test_another_host_for_an_authority_that_is_there_is_an_error(site: Path) -> None:
    before = contents(site)
    with pytest.raises(ConfigError, match=r"got other\.plant, 8883"):
        provision_init.init(site, hosts=["other.plant"], port=8883, now=NOW)
    assert contents(site) == before


def test_an_init_that_was_cut_off_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / ".site.new" / "authority").mkdir(parents=True)
    provision_init.init(tmp_path / "site", hosts=["broker.plant"], port=8883, now=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_issue_that_was_cut_off_can_be_repeated(site: Path) -> None:
    draft = site / "gateway" / ".gw2.new"
    draft.mkdir()
    (draft / "key.pem").write_text("half")
    provision.admit(site, "gw2", role="gateway", topics=["a/#"], now=NOW)
    assert "half" not in (site / "gateway" / "gw2" / "key.pem").read_text()
    assert not draft.exists()


def test_rights_change_only_when_asked_to(site: Path) -> None:
    provision.admit(site, "ana", role="person", rights="operator", now=NOW)
    certificate = serial(site, "person/ana")
    provision.admit(site, "ana", role="person", now=NOW)
    assert registry.load(site).identities["ana"].rights == "operator"
    lines = provision.admit(site, "ana", role="person", rights="viewer", now=NOW)
    assert "cmd" not in (site / "broker" / "acl").read_text().split("user ana")[1].split("user")[0]
    assert lines[0] == "ana: person, viewer, changed"
    assert "reload Mosquitto" in lines[1]
    assert serial(site, "person/ana") == certificate


def test_a_name_has_one_role(site: Path) -> None:
    with pytest.raises(ConfigError, match="it is a gateway"):
        provision.admit(site, "gw1", role="person", now=NOW)


@pytest.mark.parametrize("name", ["fleet", "server", "", ".", "..", "a/b", "GW", "a b", "a" * 65])
def test_a_name_that_reaches_elsewhere_is_refused(site: Path, name: str) -> None:
    before = contents(site)
    with pytest.raises(ConfigError):
        provision.admit(site, name, role="gateway", topics=["plant/#"], now=NOW)
    assert contents(site) == before


def test_renewing_keeps_the_name_and_the_older_certificate(site: Path) -> None:
    old = serial(site, "gateway/gw1")
    provision.renew(site, "gw1", now=NOW + timedelta(days=700))
    assert serial(site, "superseded/gw1-1") == old
    certificate = x509.load_pem_x509_certificate((site / "gateway/gw1/cert.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=gw1"
    assert certificate.not_valid_after_utc == NOW + timedelta(days=700) + LIFE
    assert listed(site) == set()


def test_revoking_lists_all_or_all_but_the_newest(site: Path) -> None:
    first = serial(site, "gateway/gw1")
    provision.renew(site, "gw1", now=NOW)
    second = serial(site, "gateway/gw1")
    provision.revoke(site, "gw1", superseded=True, now=NOW)
    assert listed(site) == {first}
    assert "user gw1" in (site / "broker" / "acl").read_text()
    provision.revoke(site, "gw1", superseded=False, now=NOW)
    assert listed(site) == {first, second}
    assert "user gw1" not in (site / "broker" / "acl").read_text()


def test_revoking_twice_changes_nothing(site: Path) -> None:
    provision.revoke(site, "gw1", superseded=False, now=NOW)
    before = contents(site)
    lines = provision.revoke(site, "gw1", superseded=False, now=NOW + timedelta(days=1))
    assert lines == ["gw1: 0 revoked now, 0 still valid"]
    assert contents(site) == before


def test_a_revoked_gateway_is_admitted_again_by_renewing(site: Path) -> None:
    provision.revoke(site, "gw1", superseded=False, now=NOW)
    old = serial(site, "gateway/gw1")
    provision.renew(site, "gw1", now=NOW)
    assert listed(site) == {old}
    assert "topic read plant/#" in (site / "broker" / "acl").read_text()


def test_the_revocation_list_does_not_expire_before_the_authority(site: Path) -> None:
    crl = x509.load_pem_x509_crl((site / "broker" / "revoked.pem").read_bytes())
    assert crl.next_update_utc == provision_status.lines(site)[0].not_after


def test_the_brokers_certificate_is_not_revoked_as_nobody_would_look(site: Path) -> None:
    with pytest.raises(ConfigError, match="clients read no revocation list"):
        provision.revoke(site, "server", superseded=False, now=NOW)


def test_a_key_moved_to_its_device_is_missed_but_not_made_again(site: Path) -> None:
    (site / "gateway" / "gw1" / "key.pem").unlink()
    lines = provision.admit(site, "gw1", role="gateway", now=NOW)
    assert lines[1:] == ["gw1: its key is no longer here; renew issues another"]
    assert not (site / "gateway" / "gw1" / "key.pem").exists()


def test_the_configuration_is_the_users_once_written(site: Path) -> None:
    conf = site / "broker" / "mosquitto.conf"
    conf.write_text(conf.read_text() + "# mine\n")
    provision.admit(site, "gw2", role="gateway", topics=["plant/#"], now=NOW)
    provision.renew(site, "server", now=NOW)
    assert conf.read_text().endswith("# mine\n")


def test_damaged_broker_files_are_written_again(site: Path) -> None:
    before = (site / "broker" / "acl").read_bytes()
    (site / "broker" / "acl").unlink()
    (site / "broker" / "revoked.pem").unlink()
    provision.admit(site, "gw1", role="gateway", now=NOW)
    assert (site / "broker" / "acl").read_bytes() == before
    assert listed(site) == set()


def test_two_at_once_do_not_mix(site: Path) -> None:
    with registry.locked(site), pytest.raises(ConfigError, match="another offbeat provision"):
        provision.renew(site, "gw1", now=NOW)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema": "2.0", "hosts": [], "port": 1, "server": []}']
)
def test_a_registry_that_cannot_be_read_stops_everything(site: Path, text: str) -> None:
    (site / "registry.json").write_text(text)
    before = contents(site)
    with pytest.raises(ConfigError, match=r"registry\.json: expected"):
        provision.renew(site, "gw1", now=NOW)
    assert contents(site) == before


def test_status_warns_before_the_end_and_says_what_to_do(site: Path) -> None:
    def warnings(days: int) -> list[str]:
        now = NOW + timedelta(days=days)
        told = [
            provision_status.warning(line, folder=site, now=now)
            for line in provision_status.lines(site)
        ]
        return [line for line in told if line]

    assert warnings(0) == []
    assert [line.split(":")[0] for line in warnings(800)] == ["server", "gw1"]
    assert warnings(800)[1] == (
        f"gw1: expires in 25 days, 2028-06-03: offbeat provision renew {site} gw1"
    )
    assert "gw1: expired on 2028-06-03" in warnings(900)[1]
    provision.renew(site, "gw1", now=NOW + timedelta(days=800))
    assert [line.split(":")[0] for line in warnings(800)] == ["server"]
    provision.revoke(site, "gw1", superseded=False, now=NOW)
    assert [line.split(":")[0] for line in warnings(9000)] == ["authority", "server"]


def test_a_pages_certificate_serves_its_hosts_and_opens_nothing_at_the_broker(
    tmp_path: Path,
) -> None:
    site = tmp_path / "site"
    provision_init.init(site, hosts=["broker.plant"], port=8883, now=NOW)
    with pytest.raises(ConfigError, match="expected --host"):
        provision.admit(site, "hall", role="page", now=NOW)
    provision.admit(site, "hall", role="page", now=NOW, hosts=["hall.plant", "10.0.0.7"])
    provision.renew(site, "hall", now=NOW)
    cert = x509.load_pem_x509_certificate((site / "page/hall/cert.pem").read_bytes())
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hall.plant"]
    use = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert "hall" not in (site / "broker/acl").read_text()
    with pytest.raises(ConfigError, match=r"expected the hosts .* got other.plant"):
        provision.admit(site, "hall", role="page", now=NOW, hosts=["other.plant"])
