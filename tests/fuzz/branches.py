"""Which branches corpora reach: ``python tests/fuzz/branches.py CORPUS``.

CORPUS is the folder that ``run.py --corpus`` filled.  Every input in it goes
through its target once, under coverage.py (``pip install coverage``; not
among the house's tools), and a table of branches by module is printed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import coverage

HERE = Path(__file__).parent


def main() -> int:
    """Print module, branches reached, branches, percent; return 0."""
    corpus = Path(sys.argv[1])
    measure = coverage.Coverage(branch=True, source=["offbeat_edge"], data_file=None)
    measure.start()
    wanted = _replayed(corpus)
    measure.stop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.json"
        measure.json_report(outfile=str(path))
        files = json.loads(path.read_text())["files"]
    rows = {_module(name): found["summary"] for name, found in files.items()}
    reached = of = 0
    for name, summary in sorted(rows.items()):
        if name in wanted and summary["num_branches"]:
            reached += summary["covered_branches"]
            of += summary["num_branches"]
            _line(name, summary["covered_branches"], summary["num_branches"])
    _line("all", reached, of)
    return 0


def _module(path: str) -> str:
    """Return a file's name as targets have it: below the package, with dots."""
    parts = Path(path).with_suffix("").parts
    return ".".join(parts[parts.index("offbeat_edge") + 1 :])


def _replayed(corpus: Path) -> set[str]:
    """Run every input; return the names of the modules that the targets are about."""
    sys.path.insert(0, str(HERE))
    from targets import TARGETS  # noqa: PLC0415 - measured on the way in

    for name, target in TARGETS.items():
        for path in sorted((corpus / name).glob("*")):
            target.run(path.read_bytes())
    return {module for target in TARGETS.values() for module in target.modules}


def _line(name: str, reached: int, of: int) -> None:
    sys.stdout.write(f"{name:16} {reached:4} of {of:4}  {100 * reached / of:3.0f} %\n")


if __name__ == "__main__":
    sys.exit(main())
