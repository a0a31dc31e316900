"""Autoscale settings: how many instances a deployment may have, by rule or by schedule.

Kept and checked, but no instance is added or taken by them. A setting outlives its target, as on Azure.
"""

from __future__ import annotations

from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.tracked import TrackedResources, TrackedType
from localcloud.store import Body

SETTINGS = "Microsoft.Insights/autoscaleSettings"
MOST_PROFILES, MOST_RULES = 20, 10


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _TYPE).routes()]


# -- model -----------------------------------------------------------------------------------------------------


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    sent = body.get("properties") or {}
    profiles = sent.get("profiles") or []
    if not 1 <= len(profiles) <= MOST_PROFILES:
        raise _bad(f"An autoscale setting has 1 to {MOST_PROFILES} profiles, not {len(profiles)}.")
    for profile in profiles:
        _check_profile(profile)
    target = sent.get("targetResourceUri")
    if not target:
        return
    if old is None and cloud.store.get(target) is None:
        raise ArmError(404, "ResourceNotFound", f"The target resource '{target}' was not found.")
    for other in cloud.store.beneath("/subscriptions", SETTINGS):
        same = str(other["properties"].get("targetResourceUri")).lower() == target.lower()
        if same and other["id"].lower() != wanted.lower():
            raise ArmError(
                409, "Conflict", f"The resource '{target}' already has the autoscale setting '{other['name']}'."
            )


def _check_profile(profile: Body) -> None:
    name, capacity = profile.get("name"), profile.get("capacity") or {}
    try:
        least, normal, most = (int(capacity[part]) for part in ("minimum", "default", "maximum"))
    except (KeyError, ValueError):
        raise _bad(f"The capacity of profile '{name}' needs minimum, default and maximum, whole numbers.") from None
    if not least <= normal <= most:
        raise _bad(
            f"The capacity of profile '{name}' is not in order: minimum {least}, default {normal}, maximum {most}."
        )
    rules = profile.get("rules") or []
    if len(rules) > MOST_RULES:
        raise _bad(f"The profile '{name}' has {len(rules)} rules; at most {MOST_RULES} are allowed.")
    for rule in rules:
        if not rule.get("metricTrigger") or not rule.get("scaleAction"):
            raise _bad(f"A rule of profile '{name}' lacks its 'metricTrigger' or its 'scaleAction'.")


def _shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent = body.get("properties") or {}
    return {
        "name": sent.get("name") or wanted.rpartition("/")[2],
        # The contract's default is true, azure-native's false: what is sent counts.
        "enabled": sent.get("enabled") is not False,
        "notifications": sent.get("notifications") or [],
        "targetResourceLocation": sent.get("targetResourceLocation") or body.get("location"),
    }


_TYPE = TrackedType(
    SETTINGS,
    r"[^<>%&#.,?\\:/]{1,260}",
    waits=False,
    required=("properties.profiles",),
    members=(
        *("enabled", "name", "notifications", "predictiveAutoscalePolicy", "profiles", "targetResourceLocation"),
        "targetResourceUri",
    ),
    check=_check,
    shape=_shape,
)
