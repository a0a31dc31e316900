"""Keys of a vault: made once through Resource Manager, used by whoever has the role, and never seen."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from localcloud.client import CallFailed
from localcloud.cloud import TENANT
from localcloud.services import entra
from tests.conftest import RunningCloud
from tests.localcloud.services.conftest import GROUP, place

CRYPTO_USER = "12338af0-0e69-4776-bea7-57ae8d297424"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-keys"
KEY = f"{VAULT}/keys/dev"
CALL = "?api-version=2024-11-01"
RSA = {"properties": {"kty": "RSA", "keySize": 2048, "keyOps": ["encrypt", "decrypt"]}}
TEXT = base64.urlsafe_b64encode(b"data key").rstrip(b"=").decode()


@pytest.fixture
def vault(local_cloud: RunningCloud) -> RunningCloud:
    place(local_cloud, GROUP)
    properties = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    local_cloud.arm("PUT", VAULT + CALL, {"location": "eastus", "properties": properties})
    return local_cloud


def use(cloud: RunningCloud, operation: str, value: str, audience: str = "https://vault.azure.net", **body: Any) -> str:
    token = entra.issue_token(cloud.cloud, audience)
    sent = {"alg": "RSA-OAEP-256", "value": value, **body}
    path = f"/keys/dev/{operation}?api-version=7.4"
    return str(cloud.running.call("POST", "kv-keys.vault.azure.net", path, sent, token)["value"])


def test_what_a_key_encrypts_only_it_decrypts_and_asking_again_leaves_it(vault: RunningCloud) -> None:
    made = vault.arm("PUT", KEY + CALL, RSA)
    assert made["properties"]["keyUri"] == "https://kv-keys.vault.azure.net/keys/dev"
    assert "private" not in json.dumps(made).lower()
    vault.grant(CRYPTO_USER, KEY)
    secret = use(vault, "encrypt", TEXT)
    assert secret != TEXT
    assert vault.arm("PUT", KEY + CALL, RSA)["properties"] == made["properties"]
    assert vault.arm("GET", f"{VAULT}/keys{CALL}")["value"][0]["id"] == KEY
    assert use(vault, "decrypt", secret) == TEXT
    with pytest.raises(CallFailed, match="BadParameter"):
        use(vault, "decrypt", secret, alg="RSA-OAEP")


def test_owning_the_subscription_is_no_right_to_use_a_key(vault: RunningCloud) -> None:
    vault.arm("PUT", KEY + CALL, RSA)
    with pytest.raises(CallFailed, match=r"Forbidden.*not authorized.*keys/encrypt/action"):
        use(vault, "encrypt", TEXT)
    with pytest.raises(CallFailed, match="Unauthorized"):
        use(vault, "encrypt", TEXT, audience="https://management.azure.com")


def test_a_key_does_only_what_it_was_made_for(vault: RunningCloud) -> None:
    vault.arm("PUT", KEY + CALL, {"properties": {**RSA["properties"], "keyOps": ["encrypt"]}})
    vault.grant(CRYPTO_USER, VAULT)
    secret = use(vault, "encrypt", TEXT)
    with pytest.raises(CallFailed, match="Operation decrypt is not permitted on this key"):
        use(vault, "decrypt", secret)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kty": "EC"}, "RSA of"),
        ({"keySize": 1024}, "1024"),
        ({"keyOps": ["dance"]}, "dance"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_key_that_cannot_be_is_refused(vault: RunningCloud, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(CallFailed, match=said):
        vault.arm("PUT", KEY + CALL, {"properties": {**RSA["properties"], **changed}})
    with pytest.raises(CallFailed, match="KeyNotFound"):
        use(vault, "encrypt", TEXT)


def test_a_key_goes_with_its_vault(vault: RunningCloud) -> None:
    first = vault.arm("PUT", KEY + CALL, RSA)["properties"]["keyUriWithVersion"]
    vault.arm("DELETE", VAULT + CALL)
    with pytest.raises(CallFailed, match="KeyNotFound"):
        use(vault, "encrypt", TEXT)
    deleted = (
        f"{GROUP.partition('/resourceGroups')[0]}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv-keys"
    )
    vault.arm("POST", f"{deleted}/purge{CALL}")
    properties = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    vault.arm("PUT", VAULT + CALL, {"location": "eastus", "properties": properties})
    assert vault.arm("PUT", KEY + CALL, RSA)["properties"]["keyUriWithVersion"] != first
