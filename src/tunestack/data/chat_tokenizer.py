"""A model's tokenizer and chat template, and which tokens of a conversation it is trained on.

The rule is the pipeline's: what stands from after each `response_template` to the next `instruction_template`, both of
`chat_special_tokens` in `finetune_config.json`, in tokens. Where a model has no such file both are taken from its
chat template, and it is said so. Read with the library `tokenizers`; neither torch nor transformers is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tunestack.data import chat_template
from tunestack.data.chat_template import ANSWERS, PROBE, QUESTIONS
from tunestack.errors import UsageError

# Where a tokenizer lies in a folder: a hub model's files, and the two forms of MLflow models.
PLACES = (".", "data/tokenizer", "components/tokenizer", "mlflow_model_folder/data/tokenizer")
FINETUNE_CONFIG = "finetune_config.json"
_ABSURD_LENGTH = 1_000_000  # transformers writes 1e30 when a tokenizer has no limit
_LENGTH_WITHOUT_LIMIT = 512  # what the pipeline takes then
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")
_TASK = "ChatCompletion"


@dataclass(frozen=True)
class Encoded:
    """A conversation as the model reads it: its text, each token's place in it, and which are trained on."""

    text: str
    ids: Sequence[int]
    places: Sequence[tuple[int, int]]
    trained: Sequence[bool]
    limit: int

    @property
    def is_cut(self) -> bool:
        """Whether the end does not fit, with it the token that would teach the model to stop; space is no end."""
        return any(self.text[start:end].strip() for start, end in self.places[self.limit :])

    @property
    def answer_tokens(self) -> int:
        """Tokens trained on that fit."""
        return sum(self.trained[: self.limit])


class ChatTokenizer:
    """`name` says which it is, `limit` how many tokens a row may have before it is cut."""

    def __init__(self, folder: Path, name: str = "", config: Mapping[str, Any] | None = None, limit: int = -1) -> None:
        from tokenizers import Tokenizer

        place = next((folder / part for part in PLACES if (folder / part / "tokenizer.json").is_file()), None)
        if place is None:
            raise UsageError(
                f"'{folder}' holds no tokenizer.json",
                fix="Give the folder of a model or its name on the hub to --tokenizer; "
                "a tokenizer of the old form is converted by AutoTokenizer.from_pretrained(...).save_pretrained(...)",
            )
        try:
            self._backend = Tokenizer.from_file(str(place / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise UsageError(f"'{place / 'tokenizer.json'}' cannot be read: {error}") from error
        self._backend.no_truncation()
        self._backend.no_padding()
        settings = _json(place / "tokenizer_config.json")
        self.name = name or _named(folder, place / "tokenizer.json")
        self.template = chat_template.Template.of(place, settings, _special(place, settings), name or str(folder))
        maximum = int(settings.get("model_max_length") or _ABSURD_LENGTH + 1)
        maximum = _LENGTH_WITHOUT_LIMIT if maximum > _ABSURD_LENGTH else maximum
        self.limit = maximum if limit < 0 else min(limit, maximum)
        self._mark(config if config is not None else _json(folder / FINETUNE_CONFIG))

    def encode(self, conversations: Sequence[Sequence[Mapping[str, str]]]) -> list[Encoded | None]:
        """Conversations as tokens, on all cores; None for one that the chat template refuses."""
        texts = [self.template.rendered(messages) for messages in conversations]
        found = iter(self._backend.encode_batch([text for text in texts if text is not None], add_special_tokens=False))
        return [None if text is None else self._encoded(text, next(found)) for text in texts]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of rendered texts."""
        return [len(found.ids) for found in self._backend.encode_batch(list(texts), add_special_tokens=False)]

    def _mark(self, config: Mapping[str, Any]) -> None:
        flat = dict(config)
        if str(config.get("version")) == "2":
            flat.update((config.get("task_specific_config") or {}).get(_TASK) or {})
        self.template.system_supported = str(flat.get("system_role_supported", "true")).lower() != "false"
        tokens = flat.get("chat_special_tokens") or {}
        response, instruction = tokens.get("response_template"), tokens.get("instruction_template")
        is_given = bool(response and instruction)
        found = (pair for pair in self.template.marks() if self._holds(*pair))
        self.marks = (str(response), str(instruction)) if is_given else next(found, None)
        self.marks_from = FINETUNE_CONFIG if is_given else "the chat template"
        self._response, self._instruction = [self._ids(mark) for mark in self.marks] if self.marks else ([], [])

    def _holds(self, response: str, instruction: str) -> bool:
        """Whether in tokens the answers of a conversation are trained on and the questions are not."""
        text = self.template.rendered(PROBE) or ""
        found = self._backend.encode(text, add_special_tokens=False)
        kept = trained(found.ids, self._ids(response), self._ids(instruction))
        marked = "".join(text[start:end] for (start, end), is_kept in zip(found.offsets, kept, strict=True) if is_kept)
        return all(one in marked for one in ANSWERS) and not any(one in marked for one in QUESTIONS)

    def _ids(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _encoded(self, text: str, found: Any) -> Encoded:
        return Encoded(
            text, found.ids, found.offsets, trained(found.ids, self._response, self._instruction), self.limit
        )


def trained(ids: Sequence[int], response: Sequence[int], instruction: Sequence[int]) -> list[bool]:
    """Which tokens carry a label: those after each `response` sequence, up to the next `instruction` sequence."""
    marked = [False] * len(ids)
    if not response:
        return marked
    starts = {start: sequence for sequence in (instruction, response) for start in sequence[:1]}
    is_answer, index = False, 0
    while index < len(ids):
        passed = 0
        if ids[index] in starts:
            if _stands(ids, index, response):
                is_answer, passed = True, len(response)
            elif _stands(ids, index, instruction):
                is_answer, passed = False, len(instruction)
        if not passed:
            marked[index] = is_answer
        index += passed or 1
    return marked


def _stands(ids: Sequence[int], index: int, wanted: Sequence[int]) -> bool:
    return bool(wanted) and list(ids[index : index + len(wanted)]) == list(wanted)


def _named(folder: Path, file: Path) -> str:
    """A name that tells tokenizers apart and holds no place of this machine."""
    return f"{folder.resolve().name}, tokenizer.json of sha256 {sha256(file.read_bytes()).hexdigest()[:12]}"


def _special(place: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    listed = {**_json(place / "special_tokens_map.json"), **{k: v for k, v in settings.items() if v is not None}}
    texts = {which: listed.get(which) for which in _SPECIAL}
    return {which: str(text["content"] if isinstance(text, dict) else text) for which, text in texts.items() if text}


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"'{file}' is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}
