#!/usr/bin/env bash
# Build docker-compose.yml, start all of it, and check that it does what it promises: everybody is
# healthy, an alert reaches the console, what is said of it reaches the lake, the retraining job has
# looked, Prometheus scrapes.  Then take it down, volumes and all, unless KEEP is set.
#
#   tests/containers/up.sh                        any engine with "compose": ENGINE=podman
#   STAND_INS=1 tests/containers/up.sh            no image registry in reach; root, debootstrap
#
# It works under a project name of its own, beside a stack that runs; the ports must be free.
set -euo pipefail
cd "$(dirname "$0")/../.."

ENGINE=${ENGINE:-docker}
SUITE=trixie
export COMPOSE_PROJECT_NAME=offbeat-check
export HISTORY=${HISTORY:-2d} RETRAIN_EVERY_S=${RETRAIN_EVERY_S:-30}
PYTHON=${PYTHON:-.venv/bin/python}
WAIT_S=900

say() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"; }
compose() { "$ENGINE" compose "$@"; }

# stand_ins: images under local names, from a Debian mirror, with this machine's authorities.
stand_ins() {
    export PYTHON_IMAGE=offbeat-standin/python MOSQUITTO_IMAGE=offbeat-standin/mosquitto
    export PROMETHEUS_IMAGE=offbeat-standin/prometheus
    if ! "$ENGINE" image inspect $PYTHON_IMAGE >/dev/null 2>&1; then
        say "stand-ins: Debian $SUITE"
        local root
        root=$(mktemp -d)
        debootstrap --variant=minbase --include=ca-certificates,openssl,python3,python3-pip,python3-venv \
            $SUITE "$root" >/dev/null
        cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
        rm -rf "$root"/var/cache/apt/*
        tar -C "$root" -c . | "$ENGINE" import -c 'ENV PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin' \
            - $PYTHON_IMAGE >/dev/null
        rm -rf "$root"
    fi
    local image
    for image in mosquitto prometheus; do
        "$ENGINE" build -q --build-arg PYTHON_IMAGE=$PYTHON_IMAGE --target "$image" \
            -t "offbeat-standin/$image" -f tests/containers/stand-in.Dockerfile tests/containers >/dev/null
    done
}

# within SECONDS WHAT COMMAND…: until the command succeeds.
within() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $until ]; then
            say "not in time: $what"
            return 1
        fi
        sleep 2
    done
    say "$what"
}

down() {
    local status=$?
    if [ $status -ne 0 ]; then
        compose ps -a
        compose logs --no-color --tail 25
    fi
    [ -n "${KEEP:-}" ] || compose down -v --remove-orphans >/dev/null 2>&1
    exit $status
}

judged() {
    "$PYTHON" tests/containers/look.py "$(compose exec -T console cat /var/lib/offbeat/first-password)"
}
in_lake() { compose exec -T recorder sh -c "find /lake/$1 -name '*.parquet' | grep -q ."; }
looked() { compose logs --no-color retrain | grep -qiE 'not due|is due|champion|challenger|nothing'; }
scraped() {
    curl -fsS 'http://localhost:9090/api/v1/query?query=offbeat_mqtt_connected' | grep -q '"1"'
}

[ -z "${STAND_INS:-}" ] || stand_ins
trap down EXIT
say "build"
compose build -q
"$ENGINE" image inspect -f '{{index .RepoTags 0}} {{.Size}}' offbeat-edge offbeat-console offbeat-train |
    awk '{printf "%s %d MB\n", $1, $2 / 1e6}'
say "up"
compose up -d
for service in mosquitto edge recorder retrain simulator console prometheus; do
    within $WAIT_S "$service is healthy" sh -c \
        "$ENGINE inspect -f '{{.State.Health.Status}}' \$($ENGINE compose ps -q $service) | grep -qx healthy"
done
judged
say "an alert reached the console, and was judged there"
within 120 "samples are in the lake" in_lake samples
within 120 "alerts are in the lake" in_lake alerts
within 120 "the verdict is in the lake" in_lake feedback
within 300 "the retraining job has looked at it" looked
within 120 "Prometheus scrapes the daemon" scraped
say "all is well"
