"""Prometheus reads the daemon's condition: health as metrics, in base units.

Rules: the HTTP server has a thread of its own and reads what the loop last
put there, never the loop's own objects; labels take few values, none is an
asset's name.  Needs ``offbeat[metrics]``, and only where it is configured.

>>> sorted(family.name for family in families(None, {}))
[]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from offbeat_edge.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.core import Metric

    from offbeat_edge.health import Health

COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
DAY_S = 86_400.0
TOLD = {
    "messages": "MQTT messages taken",
    "qos0": "messages that came at QoS 0: nothing is promised for them",
    "retained": "retained messages",
    "samples": "samples decoded",
    "windows": "windows judged",
    "alerts": "alert events",
    "gaps": "holes in an asset's event time",
    "laps": "golden windows that walked the whole way, which feeds the watchdog",
    "commands": "commands taken",
    "commits": "transactions",
    "published": "alert events that the broker took",
    "clock_steps": "steps of the wall clock",
}


class Exporter(Collector):
    """Serves ``/metrics``.

    Parameters
    ----------
    host, port : where to listen.

    Raises
    ------
    ConfigError : the address cannot be listened on.
    """

    def __init__(self, *, host: str, port: int) -> None:
        self._health: Health | None = None
        self._states: Mapping[str, int] = {}
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        self._commit = Histogram(
            "offbeat_commit_seconds",
            "A transaction, synced to disk",
            buckets=COMMIT_BUCKETS_S,
            registry=registry,
        )
        try:
            self._server, self._thread = start_http_server(port, host, registry=registry)
        except OSError as error:
            got = f"metrics.port: expected a free port on {host}, got {port}: {error.strerror}"
            raise ConfigError([got]) from error
        self.port: int = self._server.server_port

    def update(self, health: Health, states: Mapping[str, int]) -> None:
        """Take the newest condition; ``states`` counts assets by state."""
        self._states = dict(states)
        self._health = health

    def committed(self, seconds: float) -> None:
        """Take the time of one transaction."""
        self._commit.observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Return the families, as prometheus_client asks for them."""
        return families(self._health, self._states)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def families(health: Health | None, states: Mapping[str, int]) -> Iterator[Metric]:
    """Yield health as metric families; none before there is any."""
    if health is None:
        return
    yield InfoMetricFamily(
        "offbeat_build",
        "Versions",
        value={"version": health.version, "python": health.python, **_runtime(health)},
    )
    yield from _gauges(health)
    yield from _counters(health)
    yield _labelled("offbeat_assets", "Assets by state", "state", states)
    yield from _models(health)


def _runtime(health: Health) -> dict[str, str]:
    return {f"runtime_{name}": value for name, value in health.runtime.items()}


def _gauges(health: Health) -> Iterator[Metric]:
    spool, mqtt = health.spool, health.mqtt
    plain: dict[str, tuple[str, float | None]] = {
        "uptime_seconds": ("Since the process started", health.uptime_s),
        "degraded": ("1: some promise does not hold, health says which", bool(health.degraded)),
        "mqtt_connected": ("1: the broker has accepted us", mqtt.version is not None),
        "mqtt_subscribed": ("Filters granted", mqtt.subscribed),
        "mqtt_probe_seconds": ("To the broker and back", _seconds(mqtt.probe_ms)),
        "spool_events": ("Alert events that wait for the broker", spool.events),
        "spool_bytes": ("Their size", spool.bytes),
        "spool_limit_bytes": ("How much may wait", spool.limit_bytes),
        "spool_oldest_seconds": ("Age of the oldest", spool.oldest_s),
        "lag_seconds": ("Wall clock less the newest sample's time", _seconds(health.lag_ms)),
    }
    for name, (told, value) in plain.items():
        if value is not None:
            yield GaugeMetricFamily(f"offbeat_{name}", told, value=float(value))


def _counters(health: Health) -> Iterator[Metric]:
    counters = {name: value for name, value in health.counters.items() if name != "rejects"}
    for name, value in counters.items():
        yield CounterMetricFamily(f"offbeat_{name}", TOLD.get(name, name), value=value)
    yield CounterMetricFamily(
        "offbeat_mqtt_connections", "Times the broker accepted us", value=health.mqtt.connections
    )
    yield CounterMetricFamily(
        "offbeat_mqtt_sessions_lost",
        "Connections on which the broker had forgotten us",
        value=health.mqtt.sessions_lost,
    )
    yield _labelled("offbeat_rejects", "Messages not used", "reason", health.rejects, total=True)
    dropped = health.spool.dropped
    yield _labelled("offbeat_spool_dropped", "Events that had to go", "rank", dropped, total=True)


def _labelled(
    name: str, told: str, label: str, values: Mapping[str, int], *, total: bool = False
) -> Metric:
    kind = CounterMetricFamily if total else GaugeMetricFamily
    family = kind(name, told, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _models(health: Health) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "offbeat_model_degraded", "1: the model does not run", labels=["model", "version"]
    )
    for model in health.models:
        labels = [model.name or model.bundle, model.version]
        family.add_metric(labels, float(model.degraded is not None))
    yield family
    yield from _achieved(health)


def _achieved(health: Health) -> Iterator[Metric]:
    labels = ["model", "version"]
    watched = GaugeMetricFamily(
        "offbeat_watched_seconds", "Event time watched, added up over assets", labels=labels
    )
    anomalies = GaugeMetricFamily("offbeat_anomalies", "Anomalies that opened in it", labels=labels)
    for model in health.models:
        values = [model.name or model.bundle, model.version]
        watched.add_metric(values, model.asset_days * DAY_S)
        anomalies.add_metric(values, model.anomalies)
    yield from (watched, anomalies, _adaptation(health))


def _adaptation(health: Health) -> Metric:
    family = GaugeMetricFamily(
        "offbeat_adaptation",
        "Assets by stage of their warm-up, where there is one",
        labels=["model", "version", "stage"],
    )
    for model in health.models:
        for stage, count in model.adaptation.items():
            family.add_metric([model.name or model.bundle, model.version, stage], count)
    return family


def _seconds(millis: float | None) -> float | None:
    return None if millis is None else millis / 1000
