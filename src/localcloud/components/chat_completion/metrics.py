"""Reports metrics of a step to its own run and to the pipeline's, through MLflow's REST address on loopback."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SECONDS = 30.0


@dataclass
class Metrics:
    """Where metrics go; without an address they only stand in the log. A lost metric never fails a fine-tune."""

    address: str | None = None
    runs: tuple[str, ...] = ()
    sent: set[tuple[int, str]] = field(default_factory=set)
    _warned: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Metrics:
        """From what the job runner sets: the address, the step's run and the pipeline's run."""
        runs = [environment.get("AZUREML_RUN_ID"), environment.get("AZUREML_ROOT_RUN_ID")]
        return cls(environment.get("LOCALCLOUD_METRICS_URL"), tuple(dict.fromkeys(run for run in runs if run)))

    def recall(self, step: int) -> None:
        """Take what an earlier start logged after this step for sent: those steps run again, and are the same."""
        if self.address is None or not self.runs:
            return
        known = self._call(f"runs/get?run_id={self.runs[0]}").get("run") or {}
        for name in {metric["key"] for metric in (known.get("data") or {}).get("metrics") or ()}:
            place = urllib.parse.urlencode({"run_id": self.runs[0], "metric_key": name})
            points = self._call(f"metrics/get-history?{place}").get("metrics") or ()
            steps = (int(point.get("step") or 0) for point in points)
            self.sent.update((done, name) for done in steps if done > step)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log each value once per (step, name); values that are no numbers are dropped."""
        fresh = {
            name: float(value)
            for name, value in values.items()
            if math.isfinite(value) and (step, name) not in self.sent
        }
        self.sent.update((step, name) for name in fresh)
        print(f"step {step}: " + ", ".join(f"{name}={value:.6g}" for name, value in values.items()), flush=True)
        if self.address is None or not fresh:
            return
        now = int(time.time() * 1000)
        batch = [{"key": name, "value": value, "timestamp": now, "step": step} for name, value in fresh.items()]
        for run in self.runs:
            self._call("runs/log-batch", {"run_id": run, "metrics": batch})

    def _call(self, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The answer's object; an empty one, and a line in the log, where there is none."""
        sent = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self.address}/{path}", sent, {"Content-Type": "application/json"})
        # the job's environment names a proxy, which loopback must not go through
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_SECONDS) as response:
                found: dict[str, Any] = json.loads(response.read() or b"{}")
                return found
        except (OSError, ValueError) as error:
            if not self._warned:
                print(f"Metrics cannot be recorded at {self.address}: {error}", file=sys.stderr, flush=True)
            self._warned = True
            return {}
