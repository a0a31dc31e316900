"""Who a command runs as: the subscription's owner, a service principal without a role, or an identity by federation.

`localcloud run --as` makes one of these and hands its variables to the command.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localcloud.assertions import GITHUB, assertion, derived
from localcloud.cloud import TENANT

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_SECRETS = ("AZURE_CLIENT_SECRET", "ARM_CLIENT_SECRET")


class Place(Protocol):
    """What is known of a running local cloud; `client.Running` is one."""

    @property
    def state(self) -> Path: ...

    @property
    def secret(self) -> str: ...


class Principal(Protocol):
    """Somebody to run as."""

    def variables(self, cloud: Place) -> dict[str, str]:
        """What the command's environment says of it; an empty value takes a variable away."""


def client_id(name: str) -> str:
    """A service principal's ids follow from its name, so that tests can assign it roles before it is ever used."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://localcloud/principals/{name}/client"))


def object_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://localcloud/principals/{name}/object"))


def secret_of(cloud_secret: str, client: str) -> str:
    return derived(cloud_secret, f"principal {client}")


@dataclass(frozen=True)
class ThrowAway:
    """A service principal of this name, without any role until one is assigned to its object id."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"'{self.name}' is no name of a principal: letters, digits and dashes, a letter first")

    @property
    def object_id(self) -> str:
        return object_id(self.name)

    def variables(self, cloud: Place) -> dict[str, str]:
        client = client_id(self.name)
        secret = secret_of(cloud.secret, client)
        return {
            "AZURE_CLIENT_ID": client,
            "AZURE_CLIENT_SECRET": secret,
            "ARM_CLIENT_ID": client,
            "ARM_CLIENT_SECRET": secret,
        }


@dataclass(frozen=True)
class Federated:
    """A user-assigned identity by its client id, through the credential that trusts this issuer and subject.

    The token lies in a file, as a workflow's log-in leaves it. No secret is in the environment.
    """

    client_id: str
    subject: str
    issuer: str = GITHUB

    def variables(self, cloud: Place) -> dict[str, str]:
        folder = cloud.state / "federated"
        folder.mkdir(exist_ok=True, mode=0o700)
        file = folder / f"{uuid.uuid5(uuid.NAMESPACE_URL, f'{self.client_id}|{self.issuer}|{self.subject}')}.jwt"
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(assertion(cloud.secret, self.subject, time.time(), issuer=self.issuer))
        temporary.replace(file)
        return {
            **dict.fromkeys(_SECRETS, ""),
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_FEDERATED_TOKEN_FILE": str(file),
            "ARM_CLIENT_ID": self.client_id,
            "ARM_TENANT_ID": TENANT,
            "ARM_USE_OIDC": "true",
            "ARM_OIDC_TOKEN_FILE_PATH": str(file),
        }
