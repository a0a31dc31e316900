"""The model that answers most requests of the stack's endpoint today, which a tuned one is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from tunestack.connect import Connection
from tunestack.deployments.endpoint import Deployment, Endpoint
from tunestack.errors import UsageError

WORKSPACE_MODEL = "/models/"


@dataclass(frozen=True)
class Serving:
    """`model` is `azureml:NAME:VERSION`, empty where there is none to compare with; `note` says which, or why not."""

    model: str
    note: str


def find(connection: Connection, base_model: str) -> Serving:
    """The deployment with most traffic, where its model is one of the workspace's and was tuned from `base_model`.

    Losses per token are compared between models of one tokenizer only, so another base rules a model out.
    """
    if not connection.workspace.endpoint_name:
        return Serving("", "no endpoint is known, so the tuned model is compared with its base alone")
    try:
        endpoint = Endpoint(connection)
        weights = {name: weight for name, weight in endpoint.traffic().items() if weight}
    except UsageError as error:
        return Serving("", f"nothing serves: {error.problems[0]}")
    if not weights:
        return Serving("", f"nothing serves at endpoint '{endpoint.name}': no deployment has traffic")
    slot = max(sorted(weights), key=lambda name: weights[name])
    deployment = endpoint.deployment(slot)
    return _of(deployment, base_model) if deployment else Serving("", f"slot '{slot}' has traffic and no deployment")


def _of(deployment: Deployment, base_model: str) -> Serving:
    slot, model = deployment.name, deployment.model
    if model.startswith("azureml://registries/"):
        return Serving("", f"slot '{slot}' serves '{model}', a model of a registry, which is not compared with")
    if WORKSPACE_MODEL not in model:
        return Serving("", f"slot '{slot}' serves '{model}', which is no model of the workspace")
    name, _, version = model.rpartition(WORKSPACE_MODEL)[2].partition("/versions/")
    base = deployment.tags.get("base_model")
    if base != base_model:
        return Serving("", f"slot '{slot}' serves '{name}:{version}' of another base ('{base or 'unknown'}')")
    return Serving(f"azureml:{name}:{version}", f"compared with '{name}:{version}', which serves in slot '{slot}'")
