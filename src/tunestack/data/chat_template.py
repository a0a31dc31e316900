"""A model's chat template: a conversation as the text that the model reads, and what opens each side's turns."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunestack.errors import UsageError

Messages = Sequence[Mapping[str, str]]


class Template:
    """Rendered in jinja's sandbox: a template comes from whoever published the model."""

    def __init__(self, text: str, special: Mapping[str, str]) -> None:
        self._compiled = _compile(text)
        self._special = dict(special)
        self.system_supported = True

    @classmethod
    def of(cls, folder: Path, settings: Mapping[str, Any], special: Mapping[str, str]) -> Template:
        """The template beside a tokenizer: a file of its own, or in the tokenizer's settings."""
        file = folder / "chat_template.jinja"
        found = file.read_text(encoding="utf-8") if file.is_file() else settings.get("chat_template")
        if isinstance(found, list):  # several, by name
            found = {entry["name"]: entry["template"] for entry in found}.get("default")
        if not found:
            raise UsageError(
                f"the tokenizer in '{folder}' has no chat template: it belongs to no chat model",
                fix="Fine-tune the instruct or chat variant of the model",
            )
        return cls(str(found), special)

    def rendered(self, messages: Messages, *, is_question: bool = False) -> str | None:
        """The conversation as text, None where the template refuses it; with `is_question` an answer may follow."""
        import jinja2

        found = list(messages) if self.system_supported else _without_system(messages)
        try:
            return str(self._compiled.render(messages=found, add_generation_prompt=is_question, **self._special))
        except (jinja2.TemplateError, AttributeError, KeyError, TypeError):
            return None

    def marks(self) -> tuple[str, str] | None:
        """What opens an answer and what opens a question, found by rendering; None where it cannot be told."""
        question, answer, another = "QUESTION0", "ANSWER0", "QUESTION1"
        asked = [{"role": "user", "content": question}]
        answered = [*asked, {"role": "assistant", "content": answer}]
        open_end, closed = self.rendered(asked, is_question=True), self.rendered(asked)
        pair, three = self.rendered(answered), self.rendered([*answered, {"role": "user", "content": another}])
        if open_end is None or closed is None or pair is None or three is None:
            return None
        if not open_end.startswith(closed) or answer not in pair or another not in three:
            return None
        response = open_end[len(closed) :]
        before, between = three.split(question)[0], three.split(answer)[1].split(another)[0]
        instruction = _common_end(before, between).removeprefix(pair.split(answer)[1])
        return (response, instruction) if response and instruction else None


def _common_end(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[-length - 1] == other[-length - 1]:
        length += 1
    return one[len(one) - length :]


def _without_system(messages: Messages) -> list[Mapping[str, str]]:
    """For models that know no system role: its text goes before the first question, as the pipeline has it."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    index = next((index for index, message in enumerate(messages) if message["role"] == "user"), None)
    if index is None:
        return list(messages)
    first = {**messages[index], "content": f"{messages[0]['content']}\n{messages[index]['content']}"}
    return [*messages[1:index], first, *messages[index + 1 :]]


def _compile(text: str) -> Any:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    try:
        return environment.from_string(text.replace("{% generation %}", "").replace("{% endgeneration %}", ""))
    except jinja2.TemplateError as error:
        raise UsageError(f"the chat template cannot be read: {error}") from error
