"""What `/score` and the OpenAI routes take and give: requests as conversations and sampling, answers as JSON.

Contract A is that of Azure's foundation-model-inference image, contract B that of its no-code MLflow server.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from localcloud.serving.generation import DEFAULT_TOKENS, Answer, Sampling

log = logging.getLogger("localcloud.serving.scorer")

Message = dict[str, Any]
CHAT_TOKENS = 512  # when an OpenAI request sets no limit
_ALIASES = ("max_gen_len", "max_new_tokens", "max_tokens")
_SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed")
_UNDERSTOOD = {*_ALIASES, *_SAMPLING, "do_sample", "stop", "stop_token_ids", "eos_token_id", "ignore_eos",
               "add_generation_prompt", "skip_special_tokens", "return_full_text"}  # fmt: skip
_OF_THE_MODEL = ("do_sample", "temperature", "top_p", "top_k", "repetition_penalty")  # kept of generation_config


class BadRequest(Exception):
    """A request that the contract does not allow; the text says what is wrong."""


@dataclass(frozen=True)
class ScoreRequest:
    """Conversations to answer. `flat`: they came as one list of messages."""

    conversations: list[list[Message]]
    flat: bool
    sampling: Sampling
    add_generation_prompt: bool = True


class ChatMessage(BaseModel):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None


class ResponseFormat(BaseModel):
    type: Literal["text", "json_object"]


class ChatRequest(BaseModel):
    """The body of `/v1/chat/completions`; keys that it does not name are passed on, and have no effect here."""

    model_config = ConfigDict(extra="allow")

    messages: list[ChatMessage] = Field(min_length=1)
    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=0)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    response_format: ResponseFormat | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None

    def conversation(self) -> list[Message]:
        return [{"role": message.role, "content": _text(message.content)} for message in self.messages]

    def sampling(self) -> Sampling:
        """Only what was sent; for the rest vLLM's own defaults rule, with a limit on the answer."""
        names = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        limit = CHAT_TOKENS if self.max_tokens is None else max(self.max_tokens, 1)
        return Sampling(max_tokens=limit, stop=_stops(self.stop), **given)


def parse_score(body: Any, defaults: Mapping[str, Any], *, sampled: bool) -> ScoreRequest:
    """The request of `/score`. BadRequest when it has another form.

    `sampled`: without a word about it tokens are drawn at temperature 1 (A, vLLM) or taken greedily (B, transformers).
    """
    data = body.get("input_data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object with an object 'input_data'.")
    inner = data["inputs"] if isinstance(data.get("inputs"), dict) else data
    strings = inner.get("input_string")
    if not isinstance(strings, list) or not strings:
        raise BadRequest("'input_data.input_string' must be a list of messages, or of lists of messages.")
    parameters = data.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest("'input_data.parameters' must be an object.")
    flat = not isinstance(strings[0], list)
    conversations = [_messages(each) for each in ([strings] if flat else strings)]
    prompt = parameters.get("add_generation_prompt", True)
    return ScoreRequest(conversations, flat, parse_sampling(parameters, defaults, sampled=sampled), bool(prompt))


def parse_sampling(given: Mapping[str, Any], defaults: Mapping[str, Any], *, sampled: bool) -> Sampling:
    """Generation parameters over the model's own; names not understood are dropped with a line in the log."""
    if unknown := sorted(set(given) - _UNDERSTOOD):
        log.warning("Parameters without effect: %s.", ", ".join(unknown))
    merged = {name: defaults[name] for name in _OF_THE_MODEL if defaults.get(name) is not None} | dict(given)
    values = {name: _number(merged, name) for name in _SAMPLING if merged.get(name) is not None}
    limits = [int(_number(merged, name)) for name in _ALIASES if merged.get(name) is not None]
    greedy = merged.get("do_sample") is False or (not sampled and not merged.get("do_sample", "temperature" in given))
    if greedy:
        values["temperature"] = 0.0
    for whole in ("top_k", "seed"):
        if whole in values:
            values[whole] = max(int(values[whole]), 0)
    ends = [*_whole_list(merged.get("stop_token_ids")), *_whole_list(given.get("eos_token_id"))]
    if values.get("temperature", 0) < 0 or not 0 <= values.get("top_p", 1) <= 1 or (limits and limits[0] < 1):
        raise BadRequest("temperature must be at least 0, top_p from 0 to 1, and the number of new tokens at least 1.")
    return Sampling(
        max_tokens=limits[0] if limits else DEFAULT_TOKENS,
        stop=_stops(merged.get("stop")),
        stop_token_ids=tuple(ends),
        ignore_eos=bool(merged.get("ignore_eos", False)),
        **values,
    )


def llama_conversation(messages: Sequence[Message]) -> list[Message]:
    """The rules of contract B: system only first, user and assistant in turn, a user last; text stripped.

    A system text goes into the first user's turn in Llama 2's markers, whatever the model is.
    """
    rest, system = list(messages), None
    if rest and rest[0]["role"] == "system":
        system, rest = rest[0]["content"], rest[1:]
    if not rest or rest[-1]["role"] != "user":
        raise BadRequest("The last message of a conversation must be the user's.")
    wanted = ["user" if place % 2 == 0 else "assistant" for place in range(len(rest))]
    if [message["role"] for message in rest] != wanted:
        raise BadRequest("Only 'system', 'user' and 'assistant' roles are possible: system first, then in turn.")
    turns = [{"role": message["role"], "content": str(message["content"]).strip()} for message in rest]
    if system is not None:
        turns[0]["content"] = f"<<SYS>>\n{system}\n<</SYS>>\n\n{turns[0]['content']}"
    return turns


def completion(answer: Answer, model: str) -> dict[str, Any]:
    """An OpenAI `chat.completion`."""
    message = {"role": "assistant", "content": answer.text}
    usage = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": len(answer.tokens),
        "total_tokens": answer.prompt_tokens + len(answer.tokens),
    }
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return {"id": new_id(), "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def chunk(identity: str, model: str, delta: Mapping[str, str], finish_reason: str | None) -> dict[str, Any]:
    """An OpenAI `chat.completion.chunk`."""
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}
    return {"id": identity, "object": "chat.completion.chunk", "model": model, "choices": [choice]}


def new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"


def _messages(found: Any) -> list[Message]:
    if not isinstance(found, list) or not found:
        raise BadRequest("A conversation must be a list of messages and not empty.")
    for message in found:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
            raise BadRequest(f"A message must have 'role' and 'content', unlike '{message}'.")
    return [{**message, "content": _text(message["content"])} for message in found]


def _text(content: Any) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _number(found: Mapping[str, Any], name: str) -> Any:
    value = found[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"The parameter '{name}' must be a number, not '{value}'.")
    return value


def _stops(found: Any) -> tuple[str, ...]:
    if found is None:
        return ()
    return (found,) if isinstance(found, str) else tuple(str(word) for word in found)


def _whole_list(found: Any) -> list[int]:
    if found is None:
        return []
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(each, int) for each in listed):
        raise BadRequest(f"Token ids must be whole numbers, not '{found}'.")
    return listed
