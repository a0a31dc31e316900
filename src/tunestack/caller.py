"""Who the caller is, by the claims of the token that Azure gave: for records, never for a decision."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunestack.connect import Connection

# A person's name, else the application's and the object's ids, as Entra writes them into its tokens.
_CLAIMS = ("upn", "unique_name", "preferred_username", "app_displayname", "appid", "azp", "oid")


def name(connection: Connection) -> str:
    """A person's sign-in name, an application's id, or `unknown` where a token says neither."""
    from tunestack.arm import MANAGEMENT

    claims = _claims(connection.credential.get_token(f"{MANAGEMENT}/.default").token)
    return next((str(claims[claim]) for claim in _CLAIMS if claims.get(claim)), "unknown")


def _claims(token: str) -> dict[str, Any]:
    """The middle part of a JWT. Azure asks clients not to look into it, so all that is read may be absent."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
