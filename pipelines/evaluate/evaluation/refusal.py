"""What the step says when it cannot do its work: one sentence about the cause, and where one can act another."""

from __future__ import annotations


class Refusal(Exception):
    """Something that whoever started the step has to mend; its text is all that is shown of it."""
