"""The whole loop on a simulated plant, in a few minutes.

Simulates normal history, learns it, starts a broker and the daemon, streams a
day with faults of every kind, and shows the alerts beside what was injected.
Exit code 0: the loop did its job by the rules that it prints; 1: it did not.
"""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from rich.console import Console

from offbeat_edge.errors import ConfigError
from offbeat_train import demo_console
from offbeat_train.demo import Demo

PIPE_WIDTH = 150  # columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seed", type=int, default=7, help="decides everything (%(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo-out"),
        help="what is written goes there (%(default)s)",
    )
    parser.add_argument(
        "--console",
        action=argparse.BooleanOptionalAction,
        help="serve the web console meanwhile (where a terminal is attached and it is installed)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    if args.seed < 0:
        raise ConfigError([f"--seed: expected an integer of at least 0, got {args.seed}"])
    # A file or a pipe has no width; the summary's table needs some.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    page = demo_console.wanted(args.console, terminal=terminal)

    def stay(url: str) -> None:
        if terminal:
            console.print("\nThe day is over: the pumps send no more, and the console says so.")
            console.input(f"What was found: [bold]{url}alerts?show=all[/bold]  Enter ends it. ")

    def served(url: str) -> None:
        if terminal and demo_console.has_display(os.environ):
            webbrowser.open(url)

    demo = Demo(out=args.out, seed=args.seed, console=console, page=page, served=served, stay=stay)
    return 0 if demo.run() else 1
