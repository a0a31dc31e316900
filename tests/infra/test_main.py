"""The whole program under mocks: what stands in the drawing, how it is secured, and what it puts out."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields

import pulumi
import pytest

from infra.settings import LOCAL_SUBSCRIPTION
from tests.infra.conftest import SUBSCRIPTION, TENANT, Run, project_defaults, stack_file
from tunestack.outputs import StackOutputs, parse

ML = "machinelearningservices"


def test_the_outputs_are_exactly_the_fields_that_scripts_read(run: Run) -> None:
    outputs = run().outputs
    assert list(outputs) == [field.name for field in fields(StackOutputs)]
    found = parse(outputs, "the program")
    assert (found.stack, found.subscription_id, found.location) == ("dev", SUBSCRIPTION, "eastus")
    assert (found.cpu_cluster, found.gpu_cluster) == ("cpu-cluster", "gpu-cluster")


ALWAYS = {
    "applicationinsights:Component",
    "authorization:RoleAssignment",
    "consumption:Budget",
    "containerregistry:Registry",
    "keyvault:Vault",
    f"{ML}:Compute",
    f"{ML}:OnlineEndpoint",
    f"{ML}:Workspace",
    "managedidentity:UserAssignedIdentity",
    "monitor:DiagnosticSetting",
    "operationalinsights:Workspace",
    "resources:ResourceGroup",
    "storage:StorageAccount",
}
WATCHED = {"monitor:ActionGroup", "monitor:MetricAlert"}
PRIVATE = {
    f"{ML}:ManagedNetworkSettingsRule",
    "network:PrivateDnsZoneGroup",
    "network:PrivateEndpoint",
    "network:Subnet",
    "network:VirtualNetwork",
    "privatedns:PrivateZone",
    "privatedns:VirtualNetworkLink",
}


@pytest.mark.parametrize(
    ("stack", "kinds"),
    [
        ("local", ALWAYS | WATCHED),
        ("dev", ALWAYS),
        ("prod", ALWAYS | WATCHED | PRIVATE),
        (
            "shared",
            {
                "authorization:PolicyAssignment",
                "consumption:Budget",
                f"{ML}:Registry",
                "resources:ResourceGroup",
            },
        ),
    ],
)
def test_every_committed_stack_file_makes_what_its_dials_say(run: Run, stack: str, kinds: set[str]) -> None:
    subscription = LOCAL_SUBSCRIPTION if stack == "local" else SUBSCRIPTION
    program = run(stack_file(stack), stack=stack, subscription=subscription)
    assert {
        found.token.removeprefix("azure-native:")
        for found in program.resources
        if found.token.startswith("azure-native:")
    } == kinds


def test_nothing_takes_a_key(run: Run) -> None:
    program = run()
    account = program.one("storage:StorageAccount").inputs
    assert account["allowSharedKeyAccess"] is False
    assert account["defaultToOAuthAuthentication"] is True
    assert account["allowBlobPublicAccess"] is False
    assert account["minimumTlsVersion"] == "TLS1_2"
    assert account["enableHttpsTrafficOnly"] is True
    assert program.one("keyvault:Vault").inputs["properties"]["enableRbacAuthorization"] is True
    assert program.one("containerregistry:Registry").inputs["adminUserEnabled"] is False
    assert program.one(f"{ML}:Workspace").inputs["systemDatastoresAuthMode"] == "Identity"
    assert program.one(f"{ML}:OnlineEndpoint").inputs["properties"]["authMode"] == "AADToken"
    assert all(cluster.inputs["properties"]["disableLocalAuth"] is True for cluster in program.of(f"{ML}:Compute"))


def test_the_workspace_stands_on_the_stacks_own_resources(run: Run) -> None:
    program = run()
    inputs = program.one(f"{ML}:Workspace").inputs
    assert inputs["storageAccount"] == program.one("storage:StorageAccount").id
    assert inputs["keyVault"] == program.one("keyvault:Vault").id
    assert inputs["applicationInsights"] == program.one("applicationinsights:Component").id
    assert inputs["containerRegistry"] == program.one("containerregistry:Registry").id
    assert inputs["identity"]["userAssignedIdentities"] == [inputs["primaryUserAssignedIdentity"]]
    assert program.one("keyvault:Vault").inputs["properties"]["tenantId"] == TENANT


def test_clusters_hold_no_machine_while_idle_and_are_made_anew_for_another_size(run: Run) -> None:
    found = run({**project_defaults(), "tunestack:idleMinutes": "7", "tunestack:gpuNodes": "3"}).of(f"{ML}:Compute")
    clusters = sorted(found, key=lambda cluster: cluster.name)  # the engine is told of both at once
    assert [cluster.name for cluster in clusters] == ["cpu-cluster", "gpu-cluster"]
    for cluster in clusters:
        inner = cluster.inputs["properties"]["properties"]
        assert inner["scaleSettings"]["minNodeCount"] == 0
        assert inner["scaleSettings"]["nodeIdleTimeBeforeScaleDown"] == "PT420S"
        assert inner["remoteLoginPortPublicAccess"] == "Disabled"
        assert "properties.properties.vmSize" in cluster.request.replaceOnChanges
        assert cluster.request.deleteBeforeReplace is True
    assert clusters[1].inputs["properties"]["properties"]["scaleSettings"]["maxNodeCount"] == 3


def test_the_endpoint_leaves_traffic_to_the_scripts(run: Run) -> None:
    endpoint = run().one(f"{ML}:OnlineEndpoint")
    assert "traffic" not in endpoint.inputs["properties"]
    assert set(endpoint.request.ignoreChanges) == {"properties.traffic", "properties.mirrorTraffic"}


@pytest.mark.parametrize("mode", ["AADToken", "AMLToken", "Key"])
def test_the_endpoint_takes_the_auth_mode_of_its_dial(run: Run, mode: str) -> None:
    program = run({**project_defaults(), "tunestack:endpointAuthMode": mode})
    assert program.one(f"{ML}:OnlineEndpoint").inputs["properties"]["authMode"] == mode


@pytest.mark.parametrize("stack", ["dev", "prod", "shared"])
def test_every_resource_that_can_carry_tags_does(run: Run, stack: str) -> None:
    program = run({**stack_file(stack), "tunestack:owner": "team"}, stack=stack)
    wanted = {"project": "tunestack", "stack": stack, "managed-by": "pulumi", "owner": "team"}
    without = set()
    for found in program.resources:
        if not found.token.startswith("azure-native:"):
            continue
        if "tags" in taken_by(found.token):
            assert found.inputs["tags"] == wanted, found.name
        else:
            without.add(found.token.rpartition(":")[2])
    assert without <= {
        "Budget",
        "DiagnosticSetting",
        "ManagedNetworkSettingsRule",
        "PolicyAssignment",
        "PrivateDnsZoneGroup",
        "RoleAssignment",
        "Subnet",
    }


def taken_by(token: str) -> set[str]:
    """The inputs that the SDK's class takes."""
    _, module, name = token.split(":")
    made = getattr(importlib.import_module(f"pulumi_azure_native.{module}"), name)
    return set(inspect.signature(made._internal_init).parameters)


def test_protection_covers_what_holds_state_and_only_where_it_is_asked_for(run: Run) -> None:
    def kept(program: object) -> set[str]:
        return {found.token for found in program.resources if found.request.protect}  # type: ignore[attr-defined]

    assert kept(run()) == set()
    assert kept(run({**project_defaults(), "tunestack:protect": "true"})) == {
        "azure-native:storage:StorageAccount",
        "azure-native:keyvault:Vault",
        f"azure-native:{ML}:Workspace",
    }


def test_purge_protection_is_left_out_rather_than_sent_as_false(run: Run) -> None:
    assert "enablePurgeProtection" not in run().one("keyvault:Vault").inputs["properties"]
    program = run({**project_defaults(), "tunestack:purgeProtection": "true"})
    assert program.one("keyvault:Vault").inputs["properties"]["enablePurgeProtection"] is True


@pytest.mark.parametrize(
    ("stack", "subscription", "fix"),
    [
        ("dev", LOCAL_SUBSCRIPTION, "pulumi stack select local"),
        ("prod", LOCAL_SUBSCRIPTION, "pulumi stack select local"),
        ("localhost", LOCAL_SUBSCRIPTION, "pulumi stack select local"),
        ("local", SUBSCRIPTION, "localcloud run -- pulumi up"),
        ("local-two", SUBSCRIPTION, "localcloud run -- pulumi up"),
    ],
)
def test_a_stack_in_the_wrong_subscription_refuses_before_anything_is_made(
    run: Run, stack: str, subscription: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(
        "tests.infra.conftest.Program.new_resource", lambda self, args: (made.append(args.typ), (args.name, {}))[1]
    )
    with pytest.raises(pulumi.RunError) as error:
        run(stack=stack, subscription=subscription)
    assert fix in str(error.value)
    assert f"'{stack}'" in str(error.value)
    assert [token for token in made if token.startswith("azure-native:")] == []
