"""A model's tokenizer and chat template, without transformers: importing that for its tokenizer alone takes seconds.

A test holds the token ids against those of transformers' `apply_chat_template`.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcloud.components.chat_completion.program import UserError, read_json, say

Message = dict[str, Any]
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)
_ABSURD_LENGTH = 1_000_000  # transformers writes 1e30 when a tokenizer has no limit
_LENGTH_WITHOUT_LIMIT = 512
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class ChatTokenizer:
    """Turns conversations into text and text into token ids."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        if not (folder / "tokenizer.json").is_file():
            _convert_slow_tokenizer(folder)
        self.folder = folder
        self.backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.backend.no_truncation()
        self.backend.no_padding()
        self.settings = read_json(folder / "tokenizer_config.json")
        self.special = _special_tokens(folder, self.settings)
        self._template = _compile(_template_text(folder, self.settings))

    @property
    def maximum_length(self) -> int:
        """The longest row that the model's tokenizer allows; 512 when it has no limit."""
        found = int(self.settings.get("model_max_length") or _ABSURD_LENGTH + 1)
        return _LENGTH_WITHOUT_LIMIT if found > _ABSURD_LENGTH else found

    def render(self, messages: Sequence[Message], tools: Any = None, *, add_generation_prompt: bool = False) -> str:
        """The conversation as text. What the template refuses is raised as jinja2.TemplateError."""
        return str(
            self._template.render(
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self.special,
            )
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of a text in which the template has put all special tokens already."""
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def token_id(self, which: str) -> int | None:
        """The id of `bos_token`, `eos_token`, `pad_token`…, None when the tokenizer has no such token."""
        text = self.special.get(which)
        return None if text is None else self.backend.token_to_id(text)

    def give_pad_token(self) -> bool:
        """Add a `<pad>` when padding is unset or is another special token; true when the vocabulary grew."""
        others = {self.special.get(which) for which in ("bos_token", "eos_token", "unk_token")}
        if (pad := self.special.get("pad_token")) is not None and pad not in others:
            return False
        from tokenizers import AddedToken

        size = self.backend.get_vocab_size()
        self.backend.add_special_tokens([AddedToken("<pad>", special=True, normalized=False)])
        self.special["pad_token"] = self.settings["pad_token"] = "<pad>"
        return self.backend.get_vocab_size() > size

    def save(self, folder: Path) -> None:
        """Write all tokenizer files, with the pad token as it is now."""
        for name in FILES:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
        self.backend.save(str(folder / "tokenizer.json"), pretty=False)
        (folder / "tokenizer_config.json").write_text(json.dumps(self.settings, indent=2) + "\n")
        extra = self.settings.get("additional_special_tokens") or self.settings.get("extra_special_tokens")
        listed = {**self.special, **({"additional_special_tokens": extra} if extra else {})}
        (folder / "special_tokens_map.json").write_text(json.dumps(listed, indent=2) + "\n")


def _special_tokens(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    file = folder / "special_tokens_map.json"
    listed = {**(read_json(file) if file.is_file() else {}), **{k: v for k, v in settings.items() if v is not None}}
    texts = {which: listed.get(which) for which in _SPECIAL}
    return {which: str(text["content"] if isinstance(text, dict) else text) for which, text in texts.items() if text}


def _template_text(folder: Path, settings: dict[str, Any]) -> str:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text()
    found = settings.get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {entry["name"]: entry["template"] for entry in found}.get("default")
    if not found:
        raise UserError("The model's tokenizer has no chat template; it is no chat model.")
    return str(found)


def _compile(text: str) -> Any:
    """The template in the sandbox that transformers runs it in, with the same additions."""
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **others: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **others)

    class Generation(jinja2.ext.Extension):
        """`{% generation %}` marks answers for transformers; what is in it is rendered as it stands."""

        tags = {"generation"}

        def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        return environment.from_string(text)
    except jinja2.TemplateError as error:
        raise UserError(f"The model's tokenizer has no chat template that can be read: {error}.") from None


def _convert_slow_tokenizer(folder: Path) -> None:
    """Give a model that has only a sentencepiece or vocabulary file its `tokenizer.json`."""
    from transformers import AutoTokenizer

    say("The model has no tokenizer.json; transformers converts its tokenizer.")
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    if not (folder / "tokenizer.json").is_file():
        raise UserError("The model's tokenizer cannot be converted to a tokenizer.json.")
