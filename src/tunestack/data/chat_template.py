"""A model's chat template: a conversation as the text that the model reads, and what may open each side's turns."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunestack.errors import UsageError

Messages = Sequence[Mapping[str, str]]
QUESTIONS, ANSWERS = ("QUESTION0", "QUESTION1"), ("ANSWER0", "ANSWER1")
# From which what stands between the turns is read off.
PROBE: Messages = tuple(
    {"role": role, "content": content}
    for pair in zip(QUESTIONS, ANSWERS, strict=True)
    for role, content in zip(("user", "assistant"), pair, strict=True)
)


class NoChatTemplate(UsageError):
    """The model is no chat model, which no estimate makes good."""


class Template:
    """Rendered in jinja's sandbox: a template comes from whoever published the model."""

    def __init__(self, text: str, special: Mapping[str, str]) -> None:
        self._compiled = _compile(text)
        self._special = dict(special)
        self.system_supported = True

    @classmethod
    def of(cls, folder: Path, settings: Mapping[str, Any], special: Mapping[str, str], name: str) -> Template:
        """The template beside a tokenizer called `name`: a file of its own, or in the tokenizer's settings."""
        file = folder / "chat_template.jinja"
        found = file.read_text(encoding="utf-8") if file.is_file() else settings.get("chat_template")
        if isinstance(found, list):  # several, by name
            found = {entry["name"]: entry["template"] for entry in found}.get("default")
        if not found:
            raise NoChatTemplate(
                f"the tokenizer of '{name}' has no chat template: it belongs to no chat model",
                fix="Fine-tune the instruct or chat variant of the model",
            )
        return cls(str(found), special)

    def rendered(self, messages: Messages, *, is_question: bool = False) -> str | None:
        """The conversation as text, None where the template refuses it; with `is_question` an answer may follow."""
        found = list(messages) if self.system_supported else _without_system(messages)
        try:
            return str(
                self._compiled.render(
                    messages=found, tools=None, documents=None, add_generation_prompt=is_question, **self._special
                )
            )
        except Exception:  # it is its publisher's program: whatever it raises, it refuses this conversation
            return None

    def marks(self) -> Iterator[tuple[str, str]]:
        """What may open an answer and what a question, likeliest first; whether it does in tokens is not known here."""
        asked, answered, again = (self.rendered(PROBE[:turns]) for turns in (1, 2, 3))
        prompt = self.rendered(PROBE[:1], is_question=True)
        if asked is None or answered is None or again is None or prompt is None:
            return
        try:
            to_answer = again.split(QUESTIONS[0])[1].split(ANSWERS[0])[0]
            to_question = again.split(ANSWERS[0])[1].split(QUESTIONS[1])[0]
            closed = answered.split(ANSWERS[0])[1]
        except IndexError:  # it does not say what was said
            return
        closed = self._without_end(closed, to_question)
        response = prompt.removeprefix(self._without_end(asked, prompt))
        if not to_question.startswith(closed) or to_question == closed:
            return
        # Some templates have no prompt of their own for an answer: what stands before it is all there is.
        yield from ((found, to_question[len(closed) :]) for found in (response, to_answer) if found not in ("", prompt))

    def _without_end(self, closed: str, other: str) -> str:
        """Without the token with which some templates end a whole text, where `other` goes on without it."""
        return closed if other.startswith(closed) else closed.removesuffix(self._special.get("eos_token", ""))


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

    def to_json(value: Any, ensure_ascii: bool = False, **others: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **others)

    class Generation(jinja2.ext.Extension):
        """`{% generation %}`, with which some templates mark answers: what is in it is rendered as it stands."""

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
        raise UsageError(f"the chat template cannot be read: {error}") from error
