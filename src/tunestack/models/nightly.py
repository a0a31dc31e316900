"""All fine-tunes that have finished since the last look: those that passed become models, the others are said."""

from __future__ import annotations

from tunestack.cli import note
from tunestack.connect import Connection
from tunestack.errors import GateSaidNo, UsageError
from tunestack.models import registration
from tunestack.models.registration import Registration
from tunestack.models.signatures import Signer


def register(connection: Connection, signer: Signer | None) -> list[Registration]:
    """Register them, oldest first; those that were, or would be where `signer` is None. Nothing is forced here."""
    models: list[Registration] = []
    for job in registration.finished(connection):
        try:
            planned = registration.plan(connection, job)
            if registration.find(connection, planned[0]):
                note(f"model '{planned[0].handle}' is registered already")
                continue
            found = registration.judge(connection, planned)
        except (GateSaidNo, UsageError) as error:
            for problem in error.problems:
                note(f"job '{job}' is not registered: {problem}")
            if isinstance(error, UsageError) and error.fix:
                note(error.fix)
            continue
        if signer is None:
            note(f"would register '{found.path}' as {found.handle}")
        else:
            registration.register(connection, found, signer)
            note(f"registered '{found.path}' as {found.handle}")
        models.append(found)
    return models
