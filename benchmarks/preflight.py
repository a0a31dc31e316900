"""Seconds of an offline preflight, and of `--help` of every script: fresh processes, warm, ten each.

Wall time is what a user waits and what other work on the machine lengthens; CPU time is what the program itself takes.
Run: .venv/bin/python benchmarks/preflight.py [--runs 10]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PREFLIGHT = ("--recipe", "pipelines/finetune/phi-4-ultrachat.yml", "--stack", "dev", "--offline")
MOST_PREFLIGHT, MOST_HELP = 2.0, 0.15  # seconds


@dataclass(frozen=True)
class Figures:
    """Wall and CPU seconds of each run, in order."""

    wall: list[float]
    cpu: list[float]

    def line(self, name: str, most: float) -> str:
        middle = statistics.median(self.wall)
        verdict = "within" if middle <= most else "ABOVE"
        return (
            f"{name:28} wall min {min(self.wall):.3f}  median {middle:.3f}  max {max(self.wall):.3f} s"
            f"   cpu median {statistics.median(self.cpu):.3f} s   {verdict} {most:g} s"
        )


def measured(command: list[str], runs: int) -> Figures:
    """One run to warm the caches, then so many that count; each a process of its own, its output thrown away."""
    found = [_once(command) for _ in range(runs + 1)][1:]
    return Figures([wall for wall, _ in found], [cpu for _, cpu in found])


def _once(command: list[str]) -> tuple[float, float]:
    began = time.perf_counter()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, nowhere, 1), (os.POSIX_SPAWN_DUP2, nowhere, 2)]
    process = os.posix_spawn(command[0], command, dict(os.environ), file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - began
    os.close(nowhere)
    if os.waitstatus_to_exitcode(status) not in (0, 5):
        raise SystemExit(f"error: '{' '.join(command)}' ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--runs", type=int, default=10, help="measured runs of each command")
    runs = flags.parse_args().runs
    os.chdir(ROOT)
    print(f"{runs} runs each, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    offline = measured([sys.executable, "scripts/preflight.py", *PREFLIGHT], runs)
    print(offline.line("preflight --offline", MOST_PREFLIGHT))
    for script in sorted(Path("scripts").glob("*.py")):
        helped = measured([sys.executable, str(script), "--help"], runs)
        print(helped.line(f"{script.name} --help", MOST_HELP))
    return 0


if __name__ == "__main__":
    sys.exit(main())
