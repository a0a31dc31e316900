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

EMAIL = "e-mail address"
# Published forms of keys, each with a text that all of that form hold: to look for that first is far quicker.
PATTERNS: Mapping[str, tuple[str, str]] = {
    "AWS access key": ("IA", r"(?:AKIA|ASIA)[0-9A-Z]{16}"),
    "Azure storage key": ("AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}=="),
    "GitHub token": ("_", r"gh[opsur]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    "Google API key": ("AIza", r"AIza[0-9A-Za-z_-]{35}"),
    "Hugging Face token": ("hf_", r"hf_[A-Za-z0-9]{34}"),
    "JSON web token": ("eyJ", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "OpenAI key": ("sk-", r"\bsk-(?:proj-)?[A-Za-z0-9_-]{32,}"),
    "private key": ("PRIVATE KEY", r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "Slack token": ("xox", r"xox[abeoprs]-[0-9A-Za-z-]{10,}"),
    EMAIL: ("@", r"[A-Za-z0-9]@[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
}
_ANY = "|".join(pattern for _, pattern in PATTERNS.values())
_KINDS = {kind: (literal, re.compile(pattern, re.ASCII)) for kind, (literal, pattern) in PATTERNS.items()}


def suspected(contents: pyarrow.Array) -> numpy.ndarray[Any, Any]:
    """Indexes of the texts in which any pattern stands; one pass in C++, without the interpreter's lock."""
    import numpy
    from pyarrow import compute

    return numpy.flatnonzero(compute.match_substring_regex(contents, _ANY).to_numpy(zero_copy_only=False))


def kinds(text: str) -> list[str]:
    """What stands in a text, by kind."""
    return [kind for kind, (literal, pattern) in _KINDS.items() if literal in text and pattern.search(text)]
