#!/bin/sh
# Install offbeat's daemon on a device, upgrade it, remove it.
#
#   sudo ./install-device.sh install --config edge.toml --bundle pump.offbeat --keys gateway/gw1
#   sudo ./install-device.sh install                       # again: nothing changes but the program
#   sudo ./install-device.sh uninstall
#
#   --from WHAT     the program: a wheel, a folder of wheels (nothing is fetched then), or a checkout;
#                   default: the folder of this script
#   --extras LIST   such as delivery,metrics
#   --config FILE   becomes /etc/offbeat/edge.toml; one that is there stays
#   --bundle FILE   goes to /etc/offbeat, over one of that name; may be repeated
#   --keys DIR      ca.pem, cert.pem and key.pem, as offbeat provision gateway made them
#
# Raspberry Pi OS and Debian, Bookworm (Python 3.11) and Trixie (3.13), on aarch64 and x86_64; on
# armv7l Bookworm only.  Each run makes the program anew beside the old one and then changes a link,
# so that a power cut leaves one that works.  Configuration, bundles, keys and state are data: they
# stay through upgrades, and after an uninstall.  Without a running systemd (an image being built) the
# service is enabled and starts with the next boot.
set -eu

PROGRAM=/opt/offbeat
DATA=/etc/offbeat
STATE=/var/lib/offbeat
USER_NAME=offbeat
UNIT=offbeat.service
COMMAND=/usr/local/bin/offbeat
HERE=$(cd "$(dirname "$0")" && pwd)

say() { printf 'install-device: %s\n' "$*"; }
die() {
    code=$1
    shift
    printf 'install-device: %s\n' "$*" >&2
    exit "$code"
}

main() {
    [ $# -gt 0 ] || usage
    act=$1
    shift
    from=$HERE extras='' config='' keys='' bundles=''
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || usage
        case $1 in
            --from) from=$2 ;;
            --extras) extras="[$2]" ;;
            --config) config=$2 ;;
            --keys) keys=$2 ;;
            --bundle) bundles="$bundles
$2" ;;
            *) usage ;;
        esac
        shift 2
    done
    [ "$(id -u)" -eq 0 ] || die 2 "expected root (sudo), got user $(id -un)"
    case $act in
        install) install_all ;;
        uninstall) uninstall ;;
        *) usage ;;
    esac
}

usage() {
    sed -n '4,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

install_all() {
    check_machine
    check_given
    make_user
    make_program
    forget_old
    put_data
    put_unit
    tell
}

# ------------------------------------------------------------------ before anything is changed

check_machine() {
    command -v systemctl >/dev/null || die 69 "expected systemd, found no systemctl"
    command -v python3 >/dev/null || die 69 "expected python3: apt install python3-venv"
    version=$(python3 -c 'import sys; print("%d.%02d" % sys.version_info[:2])')
    machine=$(uname -m)
    case $machine in
        x86_64 | aarch64)
            python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
                die 69 "expected Python 3.11 or later (Bookworm, Trixie), got $version" ;;
        armv7l | armv8l)
            # The last TFLite runtime for 32-bit ARM is for 3.11.  A 64-bit kernel may run a 32-bit system.
            [ "$version" = 3.11 ] || die 69 "expected Python 3.11 on $machine (Bookworm), got $version"
            python3 -c 'import numpy' 2>/dev/null || die 69 "expected numpy: apt install python3-numpy" ;;
        *) die 69 "expected aarch64, x86_64 or armv7l, got $machine" ;;
    esac
    python3 -c 'import ensurepip' 2>/dev/null || die 69 "expected ensurepip: apt install python3-venv"
}

check_given() {
    [ -e "$from" ] || die 2 "--from: expected a file or folder, got $from"
    [ -d "$from" ] && [ -z "$(wheels "$from")" ] && [ ! -f "$from/pyproject.toml" ] &&
        die 2 "--from: expected a wheel, a folder of wheels or a checkout, got $from"
    [ -z "$config" ] || [ -f "$config" ] || die 2 "--config: expected a file, got $config"
    for file in ca.pem cert.pem key.pem; do
        [ -z "$keys" ] || [ -f "$keys/$file" ] || die 2 "--keys: expected $file in it, got $keys"
    done
    each_bundle check_bundle
    [ -f "$(unit_source)" ] || die 2 "expected $UNIT beside this script or in edge/systemd, got neither"
}

check_bundle() { [ -f "$1" ] || die 2 "--bundle: expected a file, got $1"; }

# each_bundle COMMAND: with every --bundle.
each_bundle() {
    printf '%s\n' "$bundles" | while IFS= read -r bundle; do
        [ -z "$bundle" ] || "$1" "$bundle" || exit
    done
}

unit_source() {
    if [ -f "$HERE/$UNIT" ]; then echo "$HERE/$UNIT"; else echo "$HERE/edge/systemd/$UNIT"; fi
}

wheels() { find "$1" -maxdepth 1 -name 'offbeat-*.whl' | sort | tail -n 1; }

# ------------------------------------------------------------------ the program

make_user() {
    id $USER_NAME >/dev/null 2>&1 && return
    useradd --system --user-group --no-create-home --home-dir $STATE --shell /usr/sbin/nologin $USER_NAME
    say "user $USER_NAME"
}

make_program() {
    new=$PROGRAM/$(date -u +%Y%m%dT%H%M%S)-$$
    mkdir -p $PROGRAM
    trap 'rm -rf "$new"' EXIT
    # 32-bit ARM takes numpy from the distribution.
    site=''
    [ "$machine" = x86_64 ] || [ "$machine" = aarch64 ] || site=--system-site-packages
    python3 -m venv $site "$new"
    fill
    "$new/bin/offbeat" --version >/dev/null || die 70 "the new program does not start; nothing was changed"
    before=$(readlink $PROGRAM/current || true)
    switch "$new"
    trap - EXIT
    say "program $("$COMMAND" --version) in $new"
}

fill() {
    if [ -f "$from" ]; then
        pip "$from$extras"
    elif [ -n "$(wheels "$from")" ]; then
        pip --no-index --find-links "$from" "$(wheels "$from")$extras"
    else
        pip "$from$extras"
    fi
}

pip() { "$new/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check "$@"; }

# switch FOLDER: from now on this is the program, at one stroke.
switch() {
    ln -sfn "$1" $PROGRAM/next
    mv -T $PROGRAM/next $PROGRAM/current
    ln -sfn $PROGRAM/current/bin/offbeat $COMMAND
}

# forget_old: of the programs only the one at work and the one before it stay.
forget_old() {
    for folder in "$PROGRAM"/2*; do
        [ "$folder" = "$new" ] || [ "$folder" = "$before" ] || rm -rf "$folder"
    done
}

# ------------------------------------------------------------------ data

put_data() {
    install -d -m 755 $DATA
    if [ -n "$config" ] && [ ! -e $DATA/edge.toml ]; then
        put "$config" $DATA/edge.toml root 644
    elif [ -n "$config" ] && ! cmp -s "$config" $DATA/edge.toml; then
        say "$DATA/edge.toml stays as it is; yours is another: $config"
    fi
    each_bundle put_bundle
    if [ -n "$keys" ]; then
        put "$keys/ca.pem" $DATA/ca.pem root 644
        put "$keys/cert.pem" $DATA/cert.pem root 644
        put "$keys/key.pem" $DATA/key.pem $USER_NAME 600
    fi
}

put_bundle() { put "$1" "$DATA/$(basename "$1")" root 644; }

# put SOURCE TARGET OWNER MODE: whole or not at all; what is the same already is not touched.
put() {
    if cmp -s "$1" "$2"; then return; fi
    install -o "$3" -m "$4" "$1" "$2.new"
    mv "$2.new" "$2"
    say "$2"
}

# ------------------------------------------------------------------ the service

put_unit() {
    put "$(unit_source)" /etc/systemd/system/$UNIT root 644
    if [ ! -e $DATA/edge.toml ]; then
        say "no $DATA/edge.toml yet: offbeat init writes one; then run this again"
        return
    fi
    "$COMMAND" check-config $DATA/edge.toml || die $? "$DATA/edge.toml has mistakes; the service was left alone"
    systemctl --quiet enable $UNIT
    [ -d /run/systemd/system ] || { say "starts with the next boot"; return; }
    systemctl daemon-reload
    systemctl restart $UNIT
    say "running: journalctl -u offbeat -o cat -f"
}

tell() { say "data in $DATA and $STATE; uninstall leaves both"; }

uninstall() {
    if [ -e /etc/systemd/system/$UNIT ]; then
        systemctl --quiet disable $UNIT
        [ ! -d /run/systemd/system ] || systemctl stop $UNIT
        rm -f /etc/systemd/system/$UNIT
        [ ! -d /run/systemd/system ] || systemctl daemon-reload
    fi
    rm -rf $COMMAND $PROGRAM
    say "gone; kept: $DATA, $STATE and the user $USER_NAME, whose they are"
}

main "$@"
