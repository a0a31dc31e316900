"""How a base model is served: machine, count, probes and time limits, from a YAML in Azure ML's own deployment form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tunestack.errors import UsageError
from tunestack.settings_file import mapping, validated

SLOT = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|-(?!-)){1,30}[A-Za-z0-9]")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Probe(_Strict):
    """All times in seconds; what is left out is Azure's default."""

    initial_delay: int | None = Field(default=None, ge=1)
    period: int | None = Field(default=None, ge=1)
    timeout: int | None = Field(default=None, ge=1)
    failure_threshold: int | None = Field(default=None, ge=1)
    success_threshold: int | None = Field(default=None, ge=1)


class RequestSettings(_Strict):
    """Azure's upper limit for a request is 180 s."""

    request_timeout_ms: int | None = Field(default=None, ge=1, le=180_000)
    max_concurrent_requests_per_instance: int | None = Field(default=None, ge=1)


class Autoscale(_Strict):
    """Machines between `min` and `max`: one more above a threshold of a metric, one less below the other.

    The metric is the deployment's own, averaged over all its machines and `minutes`.
    """

    min: int = Field(ge=1, le=50)
    max: int = Field(ge=1, le=50)
    metric: Literal[
        "CpuUtilizationPercentage", "GpuUtilizationPercentage", "GpuMemoryUtilizationPercentage", "RequestsPerMinute"
    ]
    out_above: float = Field(gt=0)
    in_below: float = Field(ge=0)
    minutes: int = Field(default=5, ge=1, le=720)

    @model_validator(mode="after")
    def _in_order(self) -> Autoscale:
        problems = []
        if self.max < self.min:
            problems.append(f"max is {self.max}, below min, which is {self.min}")
        if self.in_below >= self.out_above:
            problems.append(f"in_below is {self.in_below:g}, not below out_above, which is {self.out_above:g}")
        if self.metric.endswith("Percentage") and self.out_above >= 100:
            problems.append(f"out_above is {self.out_above:g}, which no percentage gets above")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Settings(_Strict):
    """Machine and count decide the cost, so they have no default here."""

    schema_url: str = Field(default="", alias="$schema")
    instance_type: str = Field(min_length=1)
    instance_count: int = Field(ge=1, le=50)
    liveness_probe: Probe = Probe()
    readiness_probe: Probe | None = None
    request_settings: RequestSettings = RequestSettings()
    environment_variables: dict[str, str] = {}
    app_insights_enabled: bool = False
    autoscale: Autoscale | None = None

    @model_validator(mode="after")
    def _count_within(self) -> Settings:
        scale = self.autoscale
        if scale and not scale.min <= self.instance_count <= scale.max:
            raise ValueError(
                f"instance_count is {self.instance_count}, not between autoscale's {scale.min} and {scale.max}"
            )
        return self

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments of `ManagedOnlineDeployment`."""
        from azure.ai.ml.entities import OnlineRequestSettings, ProbeSettings

        probes = {"liveness_probe": self.liveness_probe, "readiness_probe": self.readiness_probe}
        return {
            "instance_type": self.instance_type,
            "instance_count": self.instance_count,
            "app_insights_enabled": self.app_insights_enabled,
            "environment_variables": dict(self.environment_variables),
            "request_settings": OnlineRequestSettings(**self.request_settings.model_dump()),
            **{name: ProbeSettings(**probe.model_dump()) for name, probe in probes.items() if probe},
        }


def read(file: Path) -> Settings:
    return validated(Settings, mapping(file, "deployment"), f"deployment '{file}'")


def for_base(folder: Path, base: str) -> Path:
    """The settings file of a base model: named as it is."""
    file = folder / f"{base}.yml"
    if not base or not file.is_file():
        raise UsageError(
            f"there are no deployment settings for base model '{base or 'unknown'}'",
            fix=f"Write '{file if base else folder}', or name a file with --deployment",
        )
    return file


def slot_name(text: str) -> str:
    """A deployment's name, as Azure takes it."""
    if not SLOT.fullmatch(text):
        raise UsageError(
            f"slot '{text}' is not a deployment name", fix="3 to 32 letters, digits and single dashes, a letter first"
        )
    return text
