"""The cloud metadata document, from which clients learn Azure's addresses; it is asked for without a token."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import json_response, require_api_version, route
from localcloud.cloud import Cloud

AS_LIST = "2019-05-01"  # the version that azure-ai-ml and azureml-mlflow ask for; later ones answer one object

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    return [route("/metadata/endpoints", ["GET"], get_endpoints, anonymous=True)]


# -- handlers --------------------------------------------------------------------------------------------------


async def get_endpoints(request: Request) -> Response:
    version = require_api_version(request)
    return json_response([ENDPOINTS] if version <= AS_LIST else ENDPOINTS)


# -- model -----------------------------------------------------------------------------------------------------

ENDPOINTS = {
    "name": "AzureCloud",
    "portal": "https://portal.azure.com",
    "resourceManager": "https://management.azure.com/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com",
        "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        "tenant": "common",
        "identityProvider": "AAD",
    },
    "graph": "https://graph.windows.net/",
    "microsoftGraphResourceId": "https://graph.microsoft.com/",
    "suffixes": {
        "storage": "core.windows.net",
        "keyVaultDns": "vault.azure.net",
        "acrLoginServer": "azurecr.io",
        "mhsmDns": "managedhsm.azure.net",
    },
}
