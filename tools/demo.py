"""Runs the story of README.md, line by line as it stands there, and measures it.

Run inside `localcloud run --`, as `make demo` does: the lines are those for Azure, only the environment differs.
The last step is followed by a summary, which is written to `report.html` and `report.json` as well.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from localcloud import client

ROOT = Path(__file__).parent.parent
END = "\x1e"
MEANINGFUL = 100  # conversations; a verdict on fewer is a demonstration's (docs/evaluation.md)
LOOP = f'while IFS= read -r line <&"$1"; do eval "$line"; printf "{END}%d\\n" "$?"; done'


@dataclass
class Step:
    """One headline of the story, its lines, and what running them gave."""

    title: str
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0
    handle: str = ""


class Failed(Exception):
    """A line of the story ended with another status than 0."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(f"'{line}' ended with {status}")
        self.status = status


def story(page: str) -> list[Step]:
    """The steps in the block of the README that is marked as the story: `# Title` opens one."""
    block = re.search(r"<!-- story -->\n```sh\n(.*?)```", page, re.DOTALL)
    if block is None:
        raise SystemExit("error: README.md has no block marked '<!-- story -->'.")
    steps: list[Step] = []
    for line in block.group(1).splitlines():
        if line.startswith("# "):
            steps.append(Step(line[2:]))
        elif line.strip():
            steps[-1].lines.append(line.strip())
    return steps


class Shell:
    """One bash for all lines, so that `data=$(…)` of one line is there in the next."""

    def __init__(self, variables: dict[str, str]) -> None:
        reader, self._writer = os.pipe()
        self._bash = subprocess.Popen(
            ["bash", "-c", LOOP, "story", str(reader)],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[reader],
        )
        os.close(reader)

    def run(self, line: str) -> str:
        """Run a line, show what it prints, and return its last line (or the value that it assigned)."""
        os.write(self._writer, (line + "\n").encode())
        last = self._read(line, show=True)
        assigned = re.match(r"(\w+)=\$\(", line)
        if assigned:
            os.write(self._writer, f'printf "%s\\n" "${assigned.group(1)}"\n'.encode())
            last = self._read(line, show=True)
        return last

    def _read(self, line: str, *, show: bool) -> str:
        assert self._bash.stdout
        last = ""
        for text in self._bash.stdout:
            before, end, status = text.rstrip("\n").partition(END)
            if before:
                last = before
                if show:
                    print(before, flush=True)
            if end:
                if status != "0":
                    raise Failed(line, int(status))
                return last
        raise Failed(line, self._bash.wait())

    def close(self) -> None:
        os.close(self._writer)
        self._bash.wait()


class Memory(threading.Thread):
    """Samples the resident memory of a process and all below it; `peak` is in GiB."""

    def __init__(self, root: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._root, self._stop_now, self.peak = root, threading.Event(), 0.0

    def run(self) -> None:
        while not self._stop_now.wait(0.5):
            total = 0
            for process in [self._root, *self._root.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, total / 2**30)

    def stop(self) -> None:
        self._stop_now.set()
        self.join()


def losses(job: str, state: Path) -> tuple[float, float] | None:
    """Held-out loss of the base model and the lowest after training, from the job's MLflow run; None without one."""
    history = mlflow(state, f"metrics/get-history?run_id={job}&metric_key=eval_loss").get("metrics", [])
    values = {int(metric["step"]): float(metric["value"]) for metric in history}
    return (values[0], min(values.values())) if 0 in values and len(values) > 1 else None


def gate(job: str, state: Path) -> str | None:
    """The gate's verdict on the test split and the bounds that decided, from the job's MLflow run; None without."""
    data = mlflow(state, f"runs/get?run_id={job}")["run"]["data"]
    tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
    found = {metric["key"]: float(metric["value"]) for metric in data.get("metrics", [])}
    if "eval_verdict" not in tags:
        return None
    clusters = int(found["eval_clusters"])
    return (
        f"{tags['eval_verdict']}: gain at least {found['eval_gain_lower']:.3f}, "
        f"regression at most {found['eval_regression_upper']:.3f} nats a token, {clusters} conversations"
        + (", a demonstration" if clusters < MEANINGFUL else "")
    )


def mlflow(state: Path, question: str) -> dict[str, Any]:
    port = client.find(state).addresses.mlflow
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/2.0/mlflow/{question}", timeout=30) as response:
        found: dict[str, Any] = json.load(response)
    return found


def summarise(console: Console, steps: Sequence[Step], facts: dict[str, Any]) -> None:
    table = Table(title="the story", title_justify="left")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    table.add_column("handle", overflow="fold")
    for step in steps:
        table.add_row(step.title, f"{step.seconds:.1f}", step.handle)
    table.add_section()
    table.add_row("all", f"{sum(step.seconds for step in steps):.1f}", "")
    console.print(table)
    for name, value in facts.items():
        console.print(f"{name:>24}  {value}", highlight=False, soft_wrap=True)


def main() -> int:
    state = client.state_folder()
    variables = {
        "STACK": "local",
        "RECIPE": "pipelines/finetune/smollm2-local.yml",
        "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
        # On Azure, Pulumi shows the plan and asks; here there is nobody to ask and nothing to pay.
        "PULUMI_SKIP_CONFIRMATIONS": "true",
        "PULUMI_OPTION_SKIP_PREVIEW": "true",
    }
    steps = story((ROOT / "README.md").read_text())
    console = Console(stderr=True)
    parent = psutil.Process().parent()
    memory = Memory(parent if parent and "localcloud" in " ".join(parent.cmdline()) else psutil.Process())
    memory.start()
    shell = Shell(variables)
    facts: dict[str, Any] = {}
    try:
        for number, step in enumerate(steps, 1):
            console.rule(f"[bold]{number}. {step.title}", align="left")
            began = time.monotonic()
            for line in step.lines:
                console.print(f"[dim]$ {line}", highlight=False, soft_wrap=True)
                said = shell.run(line)
                step.handle = said if "=$(" in line or line.startswith("scripts/") else step.handle
            step.seconds = time.monotonic() - began
            console.print(f"[green]{step.seconds:.1f} s[/]  {step.handle}", highlight=False, soft_wrap=True)
            if any("submit_finetune" in line for line in step.lines):
                found = losses(step.handle, state)
                if found is None:
                    raise SystemExit(f"error: job '{step.handle}' has no held-out loss before and after training.")
                facts["held-out loss"] = f"{found[0]:.3f} base, {found[1]:.3f} tuned"
                verdict = gate(step.handle, state)
                if verdict is None:
                    raise SystemExit(f"error: job '{step.handle}' has no verdict of the gate.")
                facts["gate"] = verdict
    except Failed as error:
        console.print(f"error: {error}; the lines above say why. The state is in '{state}'.", style="red")
        return error.status
    except KeyboardInterrupt:
        console.print(f"interrupted; the state is in '{state}'.", style="red")
        return 130
    finally:
        shell.close()
        memory.stop()
    report = state.parent / "report"
    facts["peak memory"] = f"{memory.peak:.1f} GiB resident, the sum over all processes"
    port = client.find(state).addresses.mlflow
    shown = os.path.relpath(state, ROOT)
    facts["MLflow page"] = f"http://127.0.0.1:{port} while a server runs on this state:"
    facts[""] = f"LOCALCLOUD_STATE={shown} localcloud up"
    facts["report"] = f"{os.path.relpath(report, ROOT)}.html"
    recorder = Console(record=True, stderr=True, width=110)
    summarise(recorder, steps, facts)
    recorder.save_html(f"{report}.html", clear=False)
    recorder.save_svg(f"{report}.svg", title="make demo")
    figures = {"steps": [asdict(step) for step in steps], **facts}
    Path(f"{report}.json").write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
