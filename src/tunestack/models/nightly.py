"""All fine-tunes that have finished since the last look: those that passed become models, the others are said."""

from __future__ import annotations

from tunestack.cli import note
from tunestack.connect import Connection
from tunestack.errors import CloudError, GateSaidNo, NotConfigured, UsageError
from tunestack.jobs.failed_job import as_ours
from tunestack.models import registration
from tunestack.models.registration import Registration
from tunestack.models.signatures import Signer


def register(connection: Connection, signer: Signer | None) -> list[Registration]:
    """Register them, oldest first; those that were, or would be where `signer` is None. Nothing is forced here.

    A job that cannot be read keeps no other from its model: it is told in the end, as a CloudError.
    """
    models: list[Registration] = []
    unread: list[str] = []
    for job in registration.finished(connection):
        try:
            found = _registered(connection, job, signer)
        except (GateSaidNo, UsageError) as error:
            for problem in error.problems:
                note(f"job '{job}' is not registered: {problem}")
            if isinstance(error, UsageError) and error.fix:
                note(error.fix)
        except Exception as error:  # the SDK's own kinds as well
            said = as_ours(error)
            if isinstance(said, NotConfigured) or (isinstance(said, CloudError) and said.is_passing):
                raise
            unread += [f"job '{job}' is not registered: {problem}" for problem in said.problems]
        else:
            models += [found] if found else []
    if unread:
        raise CloudError(*unread, fix="All others were looked at; run it again when that is mended")
    return models


def _registered(connection: Connection, job: str, signer: Signer | None) -> Registration | None:
    """The job's model, registered now; None where it was before."""
    planned = registration.plan(connection, job)
    if registration.find(connection, planned[0]):
        note(f"model '{planned[0].handle}' is registered already")
        return None
    found = registration.judge(connection, planned)
    if signer is None:
        note(f"would register '{found.path}' as {found.handle}")
    else:
        registration.register(connection, found, signer)
        note(f"registered '{found.path}' as {found.handle}")
    return found
