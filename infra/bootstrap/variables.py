"""The lines that tell the repository what the bootstrap made, from its outputs on standard input:

    pulumi stack output --json | python -m infra.bootstrap.variables

Nothing in them is secret. They are printed and not run, so that they can be read first.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


def lines(outputs: Mapping[str, Any]) -> Sequence[str]:
    """Environments first, as a deploy identity is trusted only for its own; then variables, then one line a stack."""
    repository, account = outputs["repository"], outputs["state_account"]
    stacks = sorted(outputs["subscriptions"])
    values = {"TENANT": outputs["tenant"], "STATE_ACCOUNT": account}
    values |= {f"CLIENT_{name.upper()}": client for name, client in sorted(outputs["clients"].items())}
    values |= {f"SUBSCRIPTION_{name.upper()}": outputs["subscriptions"][name] for name in stacks}
    return [
        *(_line("gh", "api", "--method", "PUT", f"repos/{repository}/environments/{name}") for name in (*stacks, "ml")),
        *(
            _line("gh", "variable", "set", name, "--repo", repository, "--body", value)
            for name, value in values.items()
        ),
        *(
            f"PULUMI_BACKEND_URL={shlex.quote(backend(account, name))} "
            + _line("pulumi", "stack", "init", name, "--secrets-provider", outputs["secrets"][name])
            for name in stacks
        ),
    ]


def backend(account: str, name: str) -> str:
    """Where the state of an environment is, as Pulumi's `PULUMI_BACKEND_URL` takes it."""
    return f"azblob://{name}?storage_account={account}"


def main(source: TextIO) -> int:
    """Prints the lines; 3 when the outputs are not those of the bootstrap."""
    try:
        found = lines(json.load(source))
    except (ValueError, KeyError, TypeError, AttributeError):
        print("error: standard input has no outputs of the bootstrap. Make them with: pulumi up", file=sys.stderr)
        return 3
    print("\n".join(found))
    return 0


def _line(*words: str) -> str:
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main(sys.stdin))
