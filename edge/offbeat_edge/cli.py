"""The command ``offbeat``: one table of subcommands, each loaded when used.

A device pays for argparse and for the one command it runs.  A command module
offers ``add_arguments(parser)`` and ``run(args) -> int``, an exit code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, NamedTuple

from offbeat_edge import __version__, lean
from offbeat_edge.errors import ConfigError, OffbeatError

if TYPE_CHECKING:
    from types import ModuleType

USAGE = 2
UNAVAILABLE = 69
INTERNAL = 70
INTERRUPTED = 130


class Command(NamedTuple):
    """A subcommand: where it lives, what it does, which extra brings it."""

    module: str
    help: str
    extra: str | None = None


# Edge never imports the other rooms; it only knows the names of their doors.
COMMANDS = {
    "demo": Command("offbeat_train.demo_command", "the whole loop on a simulated plant", "train"),
    "simulate": Command("offbeat_broker.simulate_command", "a plant of pumps, with faults"),
    "fit": Command("offbeat_train.fit_command", "normal history in, a bundle out", "train"),
    "replay": Command("offbeat_train.replay_command", "what would have fired?", "train"),
    "benchmark": Command("offbeat_train.benchmark_command", "how good, beside others?", "train"),
    "sign": Command("offbeat_edge.sign_command", "vouch for a bundle", "provision"),
    "record": Command("offbeat_train.record_command", "the fleet's history, into a lake", "train"),
    "import": Command("offbeat_train.import_command", "recorded history, into a lake", "train"),
    "explain": Command("offbeat_train.explain_command", "an alert, run again", "train"),
    "init": Command("offbeat_edge.init.init_command", "a configuration, from what is heard"),
    "inspect": Command("offbeat_edge.inspect_command", "explain a bundle"),
    "check-config": Command("offbeat_edge.check_command", "all problems of a configuration"),
    "run": Command("offbeat_edge.run_command", "the daemon"),
    "reshard": Command("offbeat_edge.reshard_command", "share assets among more or fewer daemons"),
    "control-log": Command("offbeat_edge.control_log_command", "what people said, to replay"),
    "feedback": Command("offbeat_edge.announce.feedback_command", "say what an alert was"),
    "maintenance": Command(
        "offbeat_edge.announce.maintenance_command", "announce work on an asset"
    ),
    "sparkplug": Command(
        "offbeat_edge.sparkplug.sparkplug_command", "a gateway as a Sparkplug node", "sparkplug"
    ),
    "bench": Command("offbeat_edge.bench.bench_command", "what this device can do"),
    "console": Command("offbeat_console.console_command", "a web page of the fleet", "console"),
    "notify": Command(
        "offbeat_console.notify.notify_command", "alerts by mail, chat or webhook", "notify"
    ),
    "broker": Command("offbeat_broker.broker_command", "an MQTT broker for one machine", "broker"),
    "retrain": Command("offbeat_train.retrain_command", "is a better model due?", "train"),
    "keys": Command("offbeat_train.delivery.keys_command", "who may sign models", "publish"),
    "publish": Command(
        "offbeat_train.delivery.publish_command", "signed models to the fleet", "publish"
    ),
    "rollback": Command(
        "offbeat_train.delivery.rollback_command", "a model back to one that ran before", "publish"
    ),
    "rollout": Command(
        "offbeat_train.rollout.rollout_command", "a new model, step by step", "publish"
    ),
    "provision": Command(
        "offbeat_broker.provision_command", "who may connect, and how", "provision"
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    name = next((w for w in words if not w.startswith("-")), None)
    if name not in COMMANDS or words[0] != name:
        return _usage(_parser(), words)
    command = COMMANDS[name]
    try:
        lean.load()
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        return _missing(name, command, error)
    args = _arguments(name, module, words[1:])
    try:
        return int(module.run(args))
    except BrokenPipeError:
        # The reader went away; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last to hear: each has its exit code
        return _failed(name, error)


def _arguments(name: str, module: ModuleType, words: list[str]) -> argparse.Namespace:
    """Read a subcommand's words; its parser is gone when a daemon runs for months."""
    parser = argparse.ArgumentParser(prog=f"offbeat {name}", description=module.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    module.add_arguments(parser)
    return parser.parse_args(words)


def _failed(name: str, error: Exception) -> int:
    """Say what went wrong: in a line if it is the user's to mend, else all we know."""
    if isinstance(error, OffbeatError):
        return _told(name, error)
    if isinstance(error, OSError) and error.filename is not None:
        print(f"offbeat {name}: {error.filename}: {error.strerror}", file=sys.stderr)
        return UNAVAILABLE
    traceback.print_exception(error)
    return INTERNAL


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:{width}}  {c.help}" for name, c in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="offbeat",
        description="Learns the beat of your machines and says when one falls off it.",
        epilog=f"commands:\n{table}\n\noffbeat COMMAND --help tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"offbeat {__version__}")
    parser.add_argument("command", choices=list(COMMANDS), metavar="COMMAND")
    return parser


def _usage(parser: argparse.ArgumentParser, words: list[str]) -> int:
    if not words:
        parser.print_help()
        return USAGE
    parser.parse_args(words[:1])
    return USAGE


def _missing(name: str, command: Command, error: ModuleNotFoundError) -> int:
    missing = (error.name or "").split(".")[0]
    if command.extra is None or missing.startswith("offbeat"):
        raise error
    print(
        f"offbeat {name} needs {missing}, which is not installed: "
        f"pip install 'offbeat[{command.extra}]'",
        file=sys.stderr,
    )
    return UNAVAILABLE


def _told(name: str, error: OffbeatError) -> int:
    problems = error.problems if isinstance(error, ConfigError) else [str(error)]
    for problem in problems:
        print(f"offbeat {name}: {problem}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
