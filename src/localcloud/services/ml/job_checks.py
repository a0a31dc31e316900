"""The form of a job's request, before what it refers to is looked at: name, type, known members, and its token."""

from __future__ import annotations

import re
from typing import Any

from localcloud.arm import ArmError, refuse_unknown
from localcloud.cloud import Cloud
from localcloud.services import entra
from localcloud.store import Body

# The members of the public contract, as the models in the azure-ai-ml wheel have them.
_COMMON = (
    *("componentId", "computeId", "description", "displayName", "experimentName", "identity", "isArchived"),
    *("jobType", "notificationSetting", "properties", "services", "status", "tags", "inputs", "outputs"),
)
KNOWN_MEMBERS = {
    "Command": (
        *_COMMON,
        *("codeId", "command", "distribution", "environmentId", "environmentVariables", "limits", "parameters"),
        *("queueSettings", "resources"),
    ),
    "Pipeline": (*_COMMON, "jobs", "settings", "sourceJobId"),
}
OTHER_TYPES = ("AutoML", "Sweep", "FineTuning", "Labeling", "Spark")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_EXPERIMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ /-]{0,254}")


def check_form(name: str, body: Body, *, strict: bool) -> Body:
    """The `properties` of a job's body, when it has the form of a type that runs here."""
    if not _NAME.fullmatch(name):
        raise ArmError(
            400,
            "UserError",
            f"'{name}' cannot be a job's name: use letters, digits, '-', '_' and '.', a letter or digit first.",
        )
    properties = body.get("properties")
    if not isinstance(properties, dict):
        raise ArmError(400, "UserError", "The body has no 'properties'.")
    kind = properties.get("jobType")
    if kind in OTHER_TYPES:
        raise ArmError(
            501,
            "NotImplemented",
            f"Jobs of type '{kind}' are not in the local cloud; it runs {' and '.join(KNOWN_MEMBERS)} jobs.",
        )
    if kind not in KNOWN_MEMBERS:
        raise ArmError(
            400, "UserError", f"The job type '{kind}' is not one of {', '.join((*KNOWN_MEMBERS, *OTHER_TYPES))}."
        )
    if strict:
        refuse_unknown(body, ("properties", "id", "name", "type", "systemData"), "job")
        refuse_unknown(properties, KNOWN_MEMBERS[kind], "properties")
    experiment = properties.get("experimentName")
    if experiment is not None and not _EXPERIMENT.fullmatch(str(experiment)):
        raise ArmError(400, "UserError", f"'{experiment}' cannot be an experiment's name.")
    return properties


def check_submit_token(cloud: Cloud, token: str | None) -> None:
    """A pipeline runs in the name of its submitter: the client sends a second token for that."""
    if not token:
        raise ArmError(
            400, "UserError", "A pipeline job needs the header 'x-azureml-token' with a token for https://ml.azure.com."
        )
    entra.check_token(cloud, f"Bearer {token}", ("https://ml.azure.com",))


def refuse(problems: list[str]) -> None:
    """One answer for everything that is wrong."""
    if not problems:
        return
    details = [("UserError", problem) for problem in problems]
    message = problems[0] if len(problems) == 1 else f"{len(problems)} things are wrong: " + " ".join(problems)
    raise ArmError(400, "UserError", message, details=details if len(problems) > 1 else ())


def same(value: Any) -> Any:
    """Absent, null and empty mean the same."""
    if isinstance(value, dict):
        return {name: same(inner) for name, inner in value.items() if inner not in (None, {}, [])} or None
    return value or None
