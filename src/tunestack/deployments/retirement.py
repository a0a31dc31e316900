"""Deleting deployments: never one that others rely on, and the endpoint's traffic is cleared with the last."""

from __future__ import annotations

from collections.abc import Sequence

from tunestack import cli
from tunestack.deployments import autoscale, traffic
from tunestack.deployments.endpoint import Endpoint
from tunestack.errors import UsageError


def delete(endpoint: Endpoint, slots: Sequence[str], *, dry_run: bool = False) -> list[str]:
    """Delete the slots that are there; those that were. A slot that serves goes only with all that serve."""
    serving = {slot: weight for slot, weight in endpoint.traffic().items() if weight}
    there = endpoint.deployments()
    leaving = [slot for slot in dict.fromkeys(slots) if slot in there]
    staying = [slot for slot in serving if slot not in leaving]
    hit = [slot for slot in leaving if slot in serving]
    if hit and staying:
        raise UsageError(
            *(f"deployment '{slot}' serves {serving[slot]} % of the traffic" for slot in hit),
            fix=f"Move it away first: scripts/shift_traffic.py --to {staying[0]}",
        )
    for slot in slots:
        if slot not in there:
            cli.note(f"deployment '{slot}' does not exist, which is what was asked for")
    if dry_run:
        cli.note(f"would delete {', '.join(leaving) or 'nothing'}" + (" and clear the traffic" if hit else ""))
        return []
    if hit:
        traffic.clear(endpoint)
        cli.note("no deployment serves any more; traffic is cleared")
    for slot in leaving:
        autoscale.delete(endpoint.connection, there[slot])
        endpoint.delete(slot)
        cli.note(f"deleted deployment '{slot}'")
    return leaving
