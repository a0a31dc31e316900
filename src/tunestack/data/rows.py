"""Rows in the ultrachat_200k schema: `prompt`, `prompt_id` (sha256 hex) and `messages` of `content` and `role`."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any

Row = dict[str, Any]
# What the pipeline refuses to train on less than (its own error says the same, after a node was paid for).
MINIMUM_TRAIN_ROWS = 10
# Each ASCII code as it counts for a question: small letters, and a space for what stands between words.
_WORDS = bytes(ord(chr(code).lower()) if chr(code).isalnum() or chr(code) == "_" else 0x20 for code in range(128)) * 2


def question_digest(text: str) -> bytes:
    """32 bytes of a first user turn without case, accents of form, punctuation and spacing: 'Hi!' is 'hi'."""
    if text.isascii():  # nine tenths of English: the same result without normalising and matching
        plain = text.encode()
        return hashlib.sha256(b" ".join(plain.translate(_WORDS).split()) or plain.lower()).digest()
    text = unicodedata.normalize("NFKC", text).casefold()
    return hashlib.sha256((" ".join(re.findall(r"\w+", text)) or text).encode("utf-8", "surrogatepass")).digest()
