"""The signature over a folder: made by a key or an identity, and held against whoever is believed.

Signing and checking are those of OpenSSF's `model-signing`; nothing here is cryptography of our own.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tunestack.errors import CloudError, GateSaidNo, NotConfigured, UsageError

THROW_AWAY, KEY, IDENTITY = "throw-away key", "key", "identity"
# What the library says of files that differ, without the digests as raw bytes that follow.
_DIFFERENCE = re.compile(r"Hash mismatch for \\?'[^'\\]+\\?'|(?:Extra|Missing) files[^\"]*")


@dataclass(frozen=True)
class Signer:
    """Who signs: with the private key in `file`, or with the identity that Sigstore finds (`file` is None)."""

    kind: str
    file: Path | None = None

    @property
    def shown(self) -> str:
        return f"the {self.kind} '{self.file}'" if self.file else "an identity"

    def sign(self, folder: Path, signature: Path) -> None:
        """Write the signature over a folder's files. CloudError where an identity cannot sign."""
        from model_signing import signing

        config: Any = cast(Any, signing.Config)().set_hashing_config(_hashing())  # its constructor has no types
        if self.file is not None:
            with as_a_key(self.file, "private"):
                config.use_elliptic_key_signer(private_key=self.file)
            config.sign(folder, signature)
            return
        try:
            token = _ambient()
            if token is None and not (sys.stdin and sys.stdin.isatty()):
                raise NotConfigured(
                    "no identity to sign with was found: this is no workflow, and nobody sits here to log in",
                    fix="In a workflow it takes 'id-token: write'; elsewhere sign with --signing-key FILE",
                )
            config.use_sigstore_signer(identity_token=token).sign(folder, signature)
        except NotConfigured:
            raise
        except Exception as error:
            raise CloudError(
                f"signing with an identity failed: {type(error).__name__}: {_line(error)}",
                fix="It takes fulcio.sigstore.dev and rekor.sigstore.dev; or sign with --signing-key FILE",
            ) from error


@dataclass(frozen=True)
class Trust:
    """Who is believed: the owner of the key that fits the public key in `file`, or a Sigstore identity."""

    kind: str
    file: Path | None = None
    identity: str = ""
    issuer: str = ""

    @property
    def shown(self) -> str:
        return f"'{self.identity}' of {self.issuer}" if self.kind == IDENTITY else f"the key '{self.file}'"

    def check(self, folder: Path, signature: Path) -> None:
        """GateSaidNo unless this very folder was signed by whoever is believed."""
        from model_signing import verifying

        config: Any = cast(Any, verifying.Config)().set_hashing_config(_hashing())
        if self.file is not None:
            with as_a_key(self.file, "public"):
                config.use_elliptic_key_verifier(public_key=self.file)
        try:
            if self.file is None:
                config.use_sigstore_verifier(identity=self.identity, oidc_issuer=self.issuer)
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                config.verify(folder, signature)
        except Exception as error:  # whatever goes wrong here, nothing was shown to be right
            said = "; ".join(_DIFFERENCE.findall(str(error))).replace("\\", "") or _line(error) or type(error).__name__
            raise GateSaidNo(f"the signature does not hold against {self.shown}: {said}") from error


@contextmanager
def as_a_key(file: Path, kind: str) -> Iterator[None]:
    """What goes wrong inside is told as a file that is no `private` or `public` key."""
    try:
        yield
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"'{file}' is no {kind} key on curve P-256, P-384 or P-521 in PEM form: {_line(error)}",
            fix="Make one with: openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt",
        ) from error


def _ambient() -> str | None:
    """The token of the workflow that this runs in; None outside of one."""
    from sigstore import oidc

    return oidc.detect_credential()


def _hashing() -> Any:
    """All files count, also those that the library leaves out of a checkout (`.gitattributes`)."""
    from model_signing import hashing

    return cast(Any, hashing.Config)().set_ignored_paths(paths=[], ignore_git_paths=False)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
