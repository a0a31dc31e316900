"""Secrets and e-mail addresses in what people say: rows that hold one are reported with its kind and kept.

A few patterns that rarely err; whoever needs certainty runs a scanner over the folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import pyarrow

# Published forms of keys. No pattern may begin with a repetition: RE2 scans all text once for all of them.
PATTERNS: Mapping[str, str] = {
    "AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "Azure storage key": r"AccountKey=[A-Za-z0-9+/]{86}==",
    "GitHub token": r"\bgh[opsur]_[A-Za-z0-9]{36}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{34}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "OpenAI key": r"\bsk-(?:proj-)?[A-Za-z0-9_-]{32,}",
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
    "Slack token": r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}",
}
EMAIL = "e-mail address"
_EMAIL = r"[A-Za-z0-9]@[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
_ANY = "|".join([*PATTERNS.values(), _EMAIL])
_KINDS = {kind: re.compile(pattern, re.ASCII) for kind, pattern in {**PATTERNS, EMAIL: _EMAIL}.items()}


def suspected(contents: pyarrow.Array) -> numpy.ndarray[Any, Any]:
    """Indexes of the texts in which any pattern stands; one pass in C++, without the interpreter's lock."""
    import numpy
    from pyarrow import compute

    return numpy.flatnonzero(compute.match_substring_regex(contents, _ANY).to_numpy(zero_copy_only=False))


def kinds(text: str) -> list[str]:
    """What stands in a text, by kind."""
    return [kind for kind, pattern in _KINDS.items() if pattern.search(text)]
