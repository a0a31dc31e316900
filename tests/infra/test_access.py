"""Least rights: who gets which role where, always under the right type and the same name."""

from __future__ import annotations

from infra.access import Role
from tests.infra.conftest import SUBSCRIPTION, Program, Run, project_defaults, stack_file

USER = "aaaaaaaa-0000-0000-0000-00000000000a"
PIPELINE = "aaaaaaaa-0000-0000-0000-00000000000b"


def rights(program: Program) -> set[tuple[str, str, str]]:
    """(who, role, where), each by the shortest name that tells it."""
    kinds = {found.id: found.token.rpartition(":")[2] for found in program.resources}
    return {
        (
            found.inputs["principalId"].removeprefix("principal of id-tunestack-").removesuffix("-dev"),
            Role(found.inputs["roleDefinitionId"].rpartition("/")[2]).name,
            kinds[found.inputs["scope"]],
        )
        for found in program.of("authorization:RoleAssignment")
    }


def test_each_identity_gets_its_roles_and_no_other(run: Run) -> None:
    assert rights(run()) == {
        ("workspace", "AI_ADMINISTRATOR", "ResourceGroup"),
        ("workspace", "BLOB_CONTRIBUTOR", "StorageAccount"),
        ("workspace", "FILE_CONTRIBUTOR", "StorageAccount"),
        ("workspace", "VAULT_ADMINISTRATOR", "Vault"),
        ("clusters", "BLOB_CONTRIBUTOR", "StorageAccount"),
        ("clusters", "IMAGE_PULL", "Registry"),
        ("endpoint", "BLOB_READER", "StorageAccount"),
        ("endpoint", "IMAGE_PULL", "Registry"),
        ("endpoint", "METRICS_WRITER", "Workspace"),
    }


def test_a_private_network_adds_who_builds_images_and_no_other_right(run: Run) -> None:
    def told(program: Program, stack: str) -> set[tuple[str, str, str]]:
        return {(who.removesuffix(f"-{stack}"), role, where) for who, role, where in rights(program)}

    private = told(run(stack_file("prod"), stack="prod"), "prod")
    assert private - told(run(), "dev") == {
        ("builds", "BLOB_READER", "StorageAccount"),
        ("builds", "IMAGE_PUSH", "Registry"),
    }


def test_operators_get_the_workspace_and_its_data_under_their_own_type(run: Run) -> None:
    named = f'["User:{USER}", "ServicePrincipal:{PIPELINE}"]'
    program = run({**project_defaults(), "tunestack:operators": named})
    added = {right for right in rights(program) if right[0] in (USER, PIPELINE)}
    assert added == {
        (who, role, where)
        for who in (USER, PIPELINE)
        for role, where in (
            ("DATA_SCIENTIST", "Workspace"),
            ("BLOB_CONTRIBUTOR", "StorageAccount"),
            ("FILE_CONTRIBUTOR", "StorageAccount"),
            ("MONITORING_READER", "Workspace"),
            ("IDENTITY_OPERATOR", "UserAssignedIdentity"),
        )
    }
    types = {
        found.inputs["principalId"]: found.inputs["principalType"]
        for found in program.of("authorization:RoleAssignment")
    }
    assert (types.pop(USER), types.pop(PIPELINE)) == ("User", "ServicePrincipal")
    assert set(types.values()) == {"ServicePrincipal"}


def test_an_assignment_has_the_same_name_in_every_run_and_none_is_used_twice(run: Run) -> None:
    first, second = (
        [found.inputs["roleAssignmentName"] for found in run().of("authorization:RoleAssignment")] for _ in range(2)
    )
    assert sorted(first) == sorted(second)
    assert len(set(first)) == len(first)


def test_roles_are_named_in_the_stacks_own_subscription(run: Run) -> None:
    for found in run().of("authorization:RoleAssignment"):
        assert found.inputs["roleDefinitionId"].startswith(
            f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
        )


def test_workspace_clusters_and_endpoint_wait_for_the_rights_of_the_identity_that_they_run_as(run: Run) -> None:
    program = run()
    for token, identity in (
        ("machinelearningservices:Workspace", "workspace"),
        ("machinelearningservices:Compute", "clusters"),
        ("machinelearningservices:OnlineEndpoint", "endpoint"),
    ):
        wanted = {
            found.name
            for found in program.of("authorization:RoleAssignment")
            if found.name.startswith(f"id-tunestack-{identity}-")
        }
        for found in program.of(token):
            waited_for = {urn.rpartition("::")[2] for urn in found.request.dependencies}
            assert wanted
            assert wanted <= waited_for
