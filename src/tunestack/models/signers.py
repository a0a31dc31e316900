"""Which key or identity flags and environment name, to sign with or to believe; else this machine's throw-away key."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tunestack.cli import note
from tunestack.errors import NotConfigured, UsageError
from tunestack.models.signatures import IDENTITY, KEY, THROW_AWAY, Signer, Trust, as_a_key

if TYPE_CHECKING:
    import argparse

SIGNING_KEY, PUBLIC_KEY = "TUNESTACK_SIGNING_KEY", "TUNESTACK_PUBLIC_KEY"
SIGNER, ISSUER = "TUNESTACK_SIGNER", "TUNESTACK_ISSUER"
_FOLDER = Path("build/signing")
_PRIVATE, _PUBLIC = "throw-away.key", "throw-away.pub"
_SHOWS_ONLY = "a throw-away key shows only that nothing changed since it signed"


def add_signing_flags(flags: argparse.ArgumentParser) -> None:
    which = flags.add_mutually_exclusive_group()
    which.add_argument(
        "--signing-key",
        type=Path,
        metavar="FILE",
        help=f"sign with this PEM key (else {SIGNING_KEY}, else throw-away)",
    )
    which.add_argument("--sign-as-me", action="store_true", help="sign with the identity of this workflow or person")


def add_trust_flags(flags: argparse.ArgumentParser, *, may_be_unsigned: bool = False) -> None:
    group = flags.add_argument_group("evidence")
    group.add_argument(
        "--public-key", type=Path, metavar="FILE", help=f"key of the signer (else {PUBLIC_KEY}, else throw-away)"
    )
    group.add_argument("--signer", metavar="IDENTITY", help=f"identity that signed with --sign-as-me (else {SIGNER})")
    group.add_argument("--issuer", metavar="URL", help=f"who vouches for that identity (else {ISSUER})")
    group.add_argument("--full", action="store_true", help="read the weights and hash them again (takes minutes)")
    if may_be_unsigned:
        group.add_argument("--unsigned", action="store_true", help="take a model without evidence; needs --why")
        group.add_argument(
            "--why", metavar="TEXT", help="why it has none; recorded on the deployment, with your identity"
        )


def signer(options: argparse.Namespace, *, production: bool) -> Signer:
    """The signer that flags and environment ask for, else a throw-away key, made once; not for production.

    The variable may say `identity` in place of a file: workflows sign as themselves by it.
    """
    named = options.signing_key or _from_environment(SIGNING_KEY)
    if options.sign_as_me or (not options.signing_key and str(named) == IDENTITY):
        return Signer(IDENTITY)
    if named:
        _readable(named, "signing key")
        return Signer(KEY, named)
    if production:
        raise NotConfigured(
            "the stack is a production stack, and no key or identity is named to sign its evidence with",
            fix=f"Give --signing-key FILE, {SIGNING_KEY} or --sign-as-me; {_SHOWS_ONLY}",
        )
    made = throw_away()
    note(f"signing with '{made}', made for this machine alone: {_SHOWS_ONLY}")
    return Signer(THROW_AWAY, made)


def trust(options: argparse.Namespace, *, production: bool) -> Trust:
    """Whom flags and environment believe, else the throw-away key of this machine; not for production."""
    asked = (options.signer, options.issuer)
    if bool(asked[0]) != bool(asked[1]):
        raise UsageError("--signer and --issuer are needed together", fix="See docs/evidence.md")
    if asked[0] and options.public_key:
        raise UsageError("--signer and --public-key were both given", fix="Give the one that signed")
    identity, issuer = asked if any((*asked, options.public_key)) else (os.environ.get(SIGNER), os.environ.get(ISSUER))
    if bool(identity) != bool(issuer):
        raise UsageError(f"{SIGNER} and {ISSUER} are needed together", fix="See docs/evidence.md")
    if identity and issuer:
        return Trust(IDENTITY, None, identity, issuer)
    named = options.public_key or _from_environment(PUBLIC_KEY)
    if named:
        _readable(named, "public key")
        return Trust(KEY, named)
    found = _FOLDER / _PUBLIC
    if production or not found.is_file():
        why = "the stack is a production stack, and" if production else "there is no throw-away key here, and"
        raise NotConfigured(
            f"{why} no key or signer is named to check evidence with",
            fix=f"Give --public-key FILE, {PUBLIC_KEY}, or --signer IDENTITY --issuer URL; see docs/evidence.md",
        )
    note(f"checking with '{found}': {_SHOWS_ONLY}")
    return Trust(THROW_AWAY, found)


def throw_away(folder: Path = _FOLDER) -> Path:
    """The private key of this machine, made when first asked for, readable by its owner only."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, public = folder / _PRIVATE, folder / _PUBLIC
    folder.mkdir(parents=True, exist_ok=True)
    if not private.is_file():
        key = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.NoEncryption()
        content = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        _place_once(private, content)
    if not public.is_file():
        with as_a_key(private, "private"):
            found = serialization.load_pem_private_key(private.read_bytes(), None).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        _place_once(public, found.public_bytes(serialization.Encoding.PEM, form))
    return private


def _place_once(file: Path, content: bytes) -> None:
    """A whole file or none, mode 0600; one that is there meanwhile stays."""
    handle, fresh = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.link(fresh, file)
    except FileExistsError:
        pass
    finally:
        os.unlink(fresh)


def _from_environment(name: str) -> Path | None:
    found = os.environ.get(name)
    return Path(found) if found else None


def _readable(file: Path, what: str) -> None:
    if not file.is_file():
        raise UsageError(f"{what} '{file}' does not exist")
