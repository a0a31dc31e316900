"""Every role that `infra` hands out is needed: without it the step that is named beside it fails, with it it works.

The program says which roles there are, `roles_table` what each is for, and the local cloud, with the real engine's
stack in it, whether that is so. The words of the refusals are Azure's where its documents have them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import pytest
import requests
import yaml

from infra.access import Role
from localcloud import principals
from localcloud.permissions import ASSIGNMENTS
from localcloud.runner.execution import runner_of
from localcloud.runner.runs import runs_of
from localcloud.services.entra import issue_token
from localcloud.serving.router import Router
from localcloud.serving.upkeep import Upkeep
from tests.conftest import HANG_SECONDS
from tests.infra.conftest import ROOT, Run, stack_file
from tests.infra.live_stack import LiveStack, live_stack
from tests.infra.roles_table import TABLE, Line

OPERATOR = principals.ThrowAway("operator")
ML, STORAGE = "https://management.azure.com", "https://storage.azure.com"
VERSION = "?api-version=2024-10-01"
ENVIRONMENT = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112"
STACKS = {"local": "local", "dev": "dev", "prod": "prod", "shared": "shared"}
OPERATORS = {"tunestack:operators": json.dumps([f"ServicePrincipal:{OPERATOR.object_id}"])}
SCORE = "def init(): pass\ndef run(raw): return raw\n"


# -- the table is whole ----------------------------------------------------------------------------------------


def declared(run: Run, stack: str) -> set[tuple[str, str, str]]:
    """(identity, role, where) of every assignment that the program asks for, from its logical names."""
    name = "local" if stack == "local" else f"local-{stack}"
    subscription = "00000000-0000-0000-0000-000000000000"
    program = run({**stack_file(stack), **OPERATORS}, stack=name, subscription=subscription)
    found = set()
    for assignment in program.of("authorization:RoleAssignment"):
        role = Role(assignment.inputs["roleDefinitionId"].rpartition("/")[2])
        before, _, where = assignment.name.partition(f"-{role.name.lower().replace('_', '-')}-on-")
        assert where, assignment.name
        found.add((_identity(before), role.name, where))
    return found


def _identity(name: str) -> str:
    """Whose name this is, of an identity or of an assignment to it."""
    (found,) = {line.identity for line in TABLE if f"-{line.identity}-" in f"-{name}-"}
    return found


def test_every_role_that_the_program_hands_out_is_in_the_table_and_no_other(run: Run) -> None:
    program = set().union(*(declared(run, stack) for stack in STACKS))
    assert program == {line.key for line in TABLE}


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "roles.md").read_text()
    for line in TABLE:
        role = f"`{line.role}`"
        assert f"| {line.identity} | {role} | {line.where} | {line.step} | `{line.words}` |" in page, line
    rows = [row for row in page.splitlines() if row.startswith("| ") and "`" in row and row.count("|") == 6]
    assert len(rows) == len(TABLE)


# -- a stack to take roles away from ---------------------------------------------------------------------------


class Steps:
    """What the scripts, the jobs and the deployments of a stack do; each returns how it was refused, or nothing."""

    def __init__(self, stack: LiveStack) -> None:
        self.stack, self.cloud = stack, stack.cloud
        found = self.cloud.environment
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.proxies = {"https": found["HTTPS_PROXY"]}
        self._session.verify = found["REQUESTS_CA_BUNDLE"]

    @cached_property
    def workspace(self) -> str:
        return self.stack.workspace

    # -- calls -------------------------------------------------------------------------------------------------

    def call(
        self, method: str, url: str, body: Any = None, *, audience: str = ML, owner: bool = False, **headers: str
    ) -> requests.Response:
        """As the operator unless as the owner; `url` may be a path of Resource Manager's."""
        who = {} if owner else {"oid": OPERATOR.object_id, "appid": principals.client_id(OPERATOR.name)}
        token = issue_token(self.cloud.cloud, audience, **who)
        url = url if url.startswith("https://") else f"{ML}{url}{VERSION}"
        if "sig=" not in url:
            headers["Authorization"] = f"Bearer {token}"
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.request(method, url, headers=named, timeout=HANG_SECONDS, **sent)

    def refusal(self, *arguments: Any, **more: Any) -> str:
        answer = self.call(*arguments, **more)
        return answer.text if answer.status_code in (400, 403) else _nothing(answer)

    # -- the operators' own ------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        properties = self.stack.get(self.workspace)["properties"]
        return str(properties["storageAccount"].rpartition("/")[2])

    def store(self) -> str:
        datastore = self.stack.get(f"{self.workspace}/datastores/workspaceblobstore")["properties"]
        return f"https://{self.account}.blob.core.windows.net/{datastore['containerName']}"

    def upload(self, name: str = "data.txt", text: str = "x") -> str:
        return self.refusal(
            "PUT", f"{self.store()}/{name}", text.encode(), audience=STORAGE, x_ms_blob_type="BlockBlob"
        )

    def open_share(self) -> str:
        answer = self.call("GET", f"https://{self.account}.file.core.windows.net/code", audience=STORAGE)
        return answer.text if answer.status_code == 403 else ""

    def shift(self) -> str:
        live = self.stack.get(self.stack.endpoint)
        return self.refusal("PUT", self.stack.endpoint, live)

    def metrics(self) -> str:
        url = f"{ML}{self.stack.endpoint}/providers/Microsoft.Insights/metrics?api-version=2024-02-01"
        return self.refusal("GET", url)

    # -- jobs --------------------------------------------------------------------------------------------------

    def job(self, environment: str = ENVIRONMENT) -> str:
        """A job that reads a file of the workspace's storage and writes to it; the error with which it ended."""
        assert self.upload() == ""
        name = f"job-{uuid.uuid4().hex[:8]}"
        body = {
            "jobType": "Command",
            "command": "cp ${{inputs.data}} ${{outputs.made}}/copy.txt",
            "environmentId": environment,
            "computeId": f"{self.workspace}/computes/{self.stack.outputs.cpu_cluster}",
            "inputs": {"data": {"jobInputType": "uri_file", "uri": f"{self.store()}/data.txt"}},
            "outputs": {"made": {"jobOutputType": "uri_folder"}},
        }
        said = self.refusal("PUT", f"{self.workspace}/jobs/{name}", {"properties": body})
        if said:
            return said
        self.cloud.call(runner_of(self.cloud.cloud).wait(self.workspace, name))
        ended = runs_of(self.cloud.cloud).find(self.workspace, name)
        assert ended
        return json.dumps(ended.error) if ended.status == "Failed" else ""

    def own_environment(self) -> str:
        path = f"{self.workspace}/environments/own/versions/1"
        if self.call("GET", path).status_code == 404:
            self.call("PUT", path, {"properties": {"image": "mcr.microsoft.com/azureml/curated/base:1"}})
        return path

    def own_job(self) -> str:
        return self.job(self.own_environment())

    def artifact(self) -> str:
        """Writing an artifact of a run takes an address that the workspace's identity has signed."""
        place = f"https://eastus.api.azureml.ms/history/v1.0{self.workspace}/experimentids/0/runs/mine/artifacts"
        asked = self.call("POST", f"{place}/batch/metadata", {"paths": [{"path": "a.txt"}]})
        url = asked.json()["artifactContentInformation"]["a.txt"]["contentUri"]
        return self.refusal("PUT", url, b"x", x_ms_blob_type="BlockBlob")

    # -- the workspace's own -----------------------------------------------------------------------------------

    def change_workspace(self) -> str:
        return self.refusal("PUT", self.workspace, self.stack.get(self.workspace), owner=True)

    def keyed_datastore(self) -> str:
        secret = {"secretsType": "AccountKey", "key": base64.b64encode(b"key").decode()}
        body = {
            "datastoreType": "AzureBlob",
            "accountName": self.account,
            "containerName": "elsewhere",
            "credentials": {"credentialsType": "AccountKey", "secrets": secret},
        }
        path = f"{ML}{self.workspace}/datastores/keyed{VERSION}&skipValidation=true"
        return self.refusal("PUT", path, {"properties": body})

    # -- deployments -------------------------------------------------------------------------------------------

    def deploy(self) -> str:
        """A deployment of a script that lies in the workspace's storage; the error with which its PUT ended."""
        assert self.upload("code/score.py", SCORE) == ""
        code = f"{self.workspace}/codes/{uuid.uuid5(uuid.NAMESPACE_URL, 'code')}/versions/1"
        self.call("PUT", code, {"properties": {"codeUri": f"{self.store()}/code"}})
        path = f"{self.stack.endpoint}/deployments/blue"
        body = {
            "location": "eastus",
            "sku": {"name": "Default", "capacity": 1},
            "properties": {
                "endpointComputeType": "Managed",
                "instanceType": "Standard_DS3_v2",
                "codeConfiguration": {"codeId": code, "scoringScript": "score.py"},
                "environmentVariables": {"TRY": uuid.uuid4().hex},
            },
        }
        said = self.refusal("PUT", path, body)
        if said:
            return said
        self.cloud.call(self.cloud.cloud.part(Upkeep, lambda: Upkeep(self.cloud.cloud)).wait(path))
        operations = [one for _, one in self.cloud.cloud.store.records("operation") if one["resource"] == path]
        return json.dumps(operations[-1].get("error")) if operations[-1]["status"] == "Failed" else ""

    def counted(self) -> str:
        """A request, and whether the endpoint's metrics have it."""
        if self.call("GET", f"{self.stack.endpoint}/deployments/blue").status_code == 404:
            assert self.deploy() == ""
        url = self.stack.get(self.stack.endpoint)["properties"]["scoringUri"]
        before = self._requests()
        answer = self.call("POST", url, {"a": 1}, azureml_model_deployment="blue")
        assert answer.status_code == 200, answer.text
        self.cloud.call(asyncio.wait_for(self._answered(), HANG_SECONDS))
        return "" if self._requests() > before else "no requests counted"

    async def _answered(self) -> None:
        """A request is counted when its answer has gone out, which its caller may know a moment before."""
        router = self.cloud.cloud.part(Router, lambda: Router(self.cloud.cloud))
        while any(router._in_flight.values()):
            await asyncio.sleep(0.02)

    def _requests(self) -> float:
        query = "metricnames=RequestsPerMinute&aggregation=Total,Average&api-version=2024-02-01"
        found = self.call("GET", f"{ML}{self.stack.endpoint}/providers/Microsoft.Insights/metrics?{query}", owner=True)
        points = [point for one in found.json()["value"] for line in one["timeseries"] for point in line["data"]]
        return sum(point.get("total") or point.get("average") or 0 for point in points)


def _nothing(answer: requests.Response) -> str:
    assert answer.status_code < 300, answer.text
    return ""


STEPS: dict[str, Callable[[Steps], str]] = {
    "the workspace is made or changed": Steps.change_workspace,
    "an artifact of a run is written": Steps.artifact,
    "a datastore with a key is registered": Steps.keyed_datastore,
    "a job reads its input": Steps.job,
    "a job runs in an environment of the workspace": Steps.own_job,
    "an image is built for a job": Steps.own_job,
    "a model is deployed": Steps.deploy,
    "a request to the endpoint is counted": Steps.counted,
    "a job is submitted": Steps.job,
    "data is uploaded": Steps.upload,
    "a file share is opened": Steps.open_share,
    "traffic is shifted": Steps.shift,
    "a canary's metrics are read": Steps.metrics,
}
REGISTRY = next(line for line in TABLE if line.where == "registry" and line.identity == "operators")
OF_WORKSPACES = [line for line in TABLE if line.step in STEPS]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    """The widest stack, as of production, with one operator who has nothing but what the stack gives."""
    with live_stack(tmp_path_factory, "local-roles") as stack:
        path = stack.folder / "Pulumi.local-roles.yaml"
        dials = {
            "tunestack:owner": "tests",
            "tunestack:registrySku": "Premium",
            "tunestack:privateNetwork": True,
            "tunestack:operators": [f"ServicePrincipal:{OPERATOR.object_id}"],
        }
        kept = yaml.safe_load(path.read_text()) if path.exists() else {}
        path.write_text(yaml.safe_dump({**(kept or {}), "config": dials}))
        stack.up()
        yield Steps(stack)


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    """The registry that models are promoted through, with the same operator."""
    with live_stack(tmp_path_factory, "local-registry") as stack:
        (stack.folder / "Pulumi.local-registry.yaml").write_text(
            yaml.safe_dump(
                {
                    "encryptionsalt": yaml.safe_load((ROOT / "Pulumi.local.yaml").read_text())["encryptionsalt"],
                    "config": {
                        "tunestack:purpose": "registry",
                        "tunestack:owner": "tests",
                        "tunestack:operators": [f"ServicePrincipal:{OPERATOR.object_id}"],
                    },
                }
            )
        )
        stack.up()
        yield Steps(stack)


def assignment(steps: Steps, line: Line) -> dict[str, Any]:
    """The assignment of a line of the table, as it stands in the cloud."""
    role = Role[line.role]
    store = steps.cloud.cloud.store
    principal = OPERATOR.object_id
    if line.identity != "operators":
        identities = store.beneath("/subscriptions", "microsoft.managedidentity/userassignedidentities")
        (principal,) = [
            one["properties"]["principalId"] for one in identities if _identity(one["name"]) == line.identity
        ]
    (found,) = [
        one
        for one in store.beneath("/subscriptions", ASSIGNMENTS)
        if one["properties"]["principalId"] == principal and one["properties"]["roleDefinitionId"].endswith(role)
    ]
    return found


def without(steps: Steps, line: Line, step: Callable[[Steps], str]) -> None:
    """The step fails without the role, and works with it."""
    found = assignment(steps, line)
    steps.cloud.arm("DELETE", f"{found['id']}{VERSION}")
    try:
        assert line.words in step(steps)
    finally:
        kept = ("roleDefinitionId", "principalId", "principalType")
        body = {"properties": {name: found["properties"][name] for name in kept}}
        steps.cloud.arm("PUT", f"{found['id']}{VERSION}", body)
    assert step(steps) == ""


def test_without_its_role_the_registry_is_closed(registry: Steps) -> None:
    def models(steps: Steps) -> str:
        (found,) = steps.cloud.cloud.store.beneath("/subscriptions", "microsoft.machinelearningservices/registries")
        return steps.refusal(
            "GET", f"https://eastus.api.azureml.ms/mferp/managementfrontend{found['id']}/models{VERSION}"
        )

    without(registry, REGISTRY, models)


@pytest.mark.parametrize("line", OF_WORKSPACES, ids=lambda line: f"{line.identity}-{line.role}-on-{line.where}")
def test_without_the_role_its_step_fails_and_with_it_works_again(steps: Steps, line: Line) -> None:
    without(steps, line, STEPS[line.step])


def test_the_operator_has_no_right_beyond_the_stack(steps: Steps) -> None:
    """Neither clusters nor roles nor another group: what the program's docstrings promise."""
    cluster = f"{steps.workspace}/computes/{steps.stack.outputs.cpu_cluster}"
    assert "computes/write" in steps.refusal("PUT", cluster, steps.stack.get(cluster))
    assert "computes/delete" in steps.refusal("DELETE", cluster)
    assert "workspaces/write" in steps.refusal("PUT", steps.workspace, steps.stack.get(steps.workspace))
    group = steps.workspace.partition("/providers/")[0]
    assert "resourceGroups/delete" in steps.refusal("DELETE", group)
    name = f"{steps.workspace}/providers/{ASSIGNMENTS}/{uuid.uuid4()}"
    body = {"roleDefinitionId": f"/x/{Role.AI_ADMINISTRATOR}", "principalId": OPERATOR.object_id}
    assert "roleAssignments/write" in steps.refusal("PUT", name, {"properties": body})
