"""The scorer's contracts, asked over HTTP in this process with a tiny model, and once as the process that it is."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from localcloud.serving.contracts import BadRequest, llama_conversation, parse_sampling
from localcloud.serving.generation import ChatModel, PromptTooLong, Sampling
from localcloud.serving.scorer import Scorer, create_app
from tests.conftest import HANG_SECONDS
from tests.tiny_model import make_tiny_model

ASK = [{"role": "user", "content": "hi"}]
GREEDY = {"do_sample": False, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ChatModel:
    return ChatModel(make_tiny_model(tmp_path_factory.mktemp("a") / "mlflow_model_folder"))


@pytest.fixture
def base(model: ChatModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A model whose metadata names a base image: contract A."""
    monkeypatch.setattr(model, "metadata", {"azureml.base_image": "x", "base_model_name": "tiny"})
    with TestClient(create_app(Scorer(model))) as client:
        yield client


@pytest.fixture
def tuned(model: ChatModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A model without one, as the converter writes it: contract B."""
    monkeypatch.setattr(model, "metadata", {"is_finetuned_model": True, "base_model_name": "tiny"})
    with TestClient(create_app(Scorer(model))) as client:
        yield client


def ask(client: TestClient, strings: Any, parameters: dict[str, Any] | None = None) -> httpx.Response:
    data = {"input_string": strings, "parameters": GREEDY if parameters is None else parameters}
    return client.post("/score", json={"input_data": data})


def generated(model: ChatModel, prompt: str, sampling: Sampling) -> tuple[list[int], str | None]:
    *_, answer = model.answer(prompt, sampling, threading.Event())
    return answer.tokens, answer.finish_reason


def test_generation_is_what_transformers_generates(model: ChatModel) -> None:
    import torch

    ids = model.tokenizer.encode("<|im_start|>user\nhello<|im_end|>\n")
    theirs = model._model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=12)[0, len(ids) :].tolist()
    mine, _ = generated(model, "<|im_start|>user\nhello<|im_end|>\n", Sampling(max_tokens=12, temperature=0.0))
    assert mine == theirs[: len(mine)]
    assert len(mine) >= len(theirs) - 1  # theirs may end with the end token


def test_a_seed_makes_drawn_tokens_repeatable(model: ChatModel) -> None:
    first, again, other = (generated(model, "x", Sampling(max_tokens=12, seed=seed))[0] for seed in (7, 7, 8))
    assert first == again != other


def test_top_k_of_one_is_greedy_and_a_repetition_penalty_changes_it(model: ChatModel) -> None:
    greedy = generated(model, "x", Sampling(max_tokens=12, temperature=0.0))
    assert generated(model, "x", Sampling(max_tokens=12, top_k=1, seed=1)) == greedy
    assert generated(model, "x", Sampling(max_tokens=12, top_p=0.0, seed=1)) == greedy
    penalised = Sampling(max_tokens=12, temperature=0.0, repetition_penalty=50.0)
    assert generated(model, "x", penalised) != greedy
    assert generated(model, "x", Sampling(max_tokens=12, temperature=0.0, frequency_penalty=2.0)) != greedy


def test_stop_words_cut_and_stop_tokens_end(model: ChatModel) -> None:
    tokens, reason = generated(model, "x", Sampling(max_tokens=12, temperature=0.0))
    assert reason == "length"
    ended, reason = generated(model, "x", Sampling(max_tokens=12, temperature=0.0, stop_token_ids=(tokens[3],)))
    assert (ended, reason) == (tokens[: tokens.index(tokens[3])], "stop")
    word = model.tokenizer.backend.decode(tokens[:2])
    *_, answer = model.answer("x", Sampling(max_tokens=12, temperature=0.0, stop=(word,)), threading.Event())
    assert (answer.text, answer.finish_reason) == ("", "stop")


def test_a_cancelled_generation_ends_at_the_next_token(model: ChatModel) -> None:
    cancelled = threading.Event()
    answers = model.answer("x", Sampling(max_tokens=400, ignore_eos=True), cancelled)
    next(answers)
    cancelled.set()
    assert [answer.finish_reason for answer in answers] == ["cancelled"]


def test_a_prompt_longer_than_the_context_is_refused(model: ChatModel, base: TestClient) -> None:
    with pytest.raises(PromptTooLong, match=r"The prompt has 600 tokens; the model's context is 512"):
        generated(model, "x" * 600, Sampling())
    long = [{"role": "user", "content": "x" * 600}]
    assert ask(base, long).json() == {"output": "None"}
    answer = base.post("/v1/chat/completions", json={"messages": long})
    assert answer.status_code == 400
    assert "context is 512 tokens" in answer.json()["error"]["message"]


def test_health_and_info(base: TestClient) -> None:
    assert base.get("/").json() == "healthy"
    assert base.get("/info").json()["model_name"] == "tiny"


def test_contract_a_answers_with_output_flat_or_nested(base: TestClient) -> None:
    flat = ask(base, ASK)
    assert flat.status_code == 200
    assert list(flat.json()) == ["output"]
    assert flat.json()["output"]
    nested = ask(base, [ASK, [{"role": "user", "content": "other"}]])
    assert nested.json() == flat.json(), "only the first answer of a batch is returned"


@pytest.mark.parametrize(
    "body",
    ["nope", "[]", "{}", '{"input_data": []}', '{"input_data": {"input_string": "text"}}',
     '{"input_data": {"input_string": [{"role": "user"}]}}',
     '{"input_data": {"input_string": [{"role": "user", "content": "a"}], "parameters": {"temperature": "hot"}}}',
     '{"input_data": {"columns": ["input_string"], "index": [0], "data": [["a"]]}}'],
)  # fmt: skip
def test_bad_input_is_an_empty_object_in_a_and_a_failure_in_b(model: ChatModel, body: str) -> None:
    for metadata, status in (({"azureml.base_image": "x"}, 200), ({}, 500)):
        model.metadata = metadata
        with TestClient(create_app(Scorer(model))) as client:
            answer = client.post("/score", content=body)
        assert answer.status_code == status
        assert answer.json() == {} if status == 200 else answer.json()["message"]


def test_contract_b_answers_with_a_record_per_conversation(tuned: TestClient) -> None:
    nested = ask(tuned, [ASK, ASK]).json()
    assert nested == [{"0": nested[0]["0"]}] * 2
    assert ask(tuned, ASK).json() == [{"0": nested[0]["0"]}]
    turns = [*ASK, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    several = ask(tuned, turns).json()
    assert len(several) == 1
    assert isinstance(several[0], str)


def test_contract_b_takes_inputs_and_parameters_side_by_side(tuned: TestClient) -> None:
    body = {"input_data": {"inputs": {"input_string": [ASK]}, "parameters": GREEDY}}
    assert tuned.post("/score", json=body).json() == ask(tuned, [ASK]).json()


@pytest.mark.parametrize("roles", ["a", "uu", "ua", "usu", "s", "tu"])
def test_contract_b_wants_turns_in_order_and_a_user_last(tuned: TestClient, roles: str) -> None:
    names = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    answer = ask(tuned, [[{"role": names[role], "content": "x"} for role in roles]])
    assert answer.status_code == 500
    assert answer.json()["message"].startswith("BadRequest: ")


def test_contract_b_wraps_the_system_text_as_for_llama_2() -> None:
    turns = llama_conversation([{"role": "system", "content": "S"}, {"role": "user", "content": " a "}])
    assert turns == [{"role": "user", "content": "<<SYS>>\nS\n<</SYS>>\n\na"}]


@pytest.mark.parametrize(
    ("given", "sampled", "wanted"),
    [
        ({}, True, Sampling(temperature=1.0)),
        ({}, False, Sampling(temperature=0.0)),
        ({"do_sample": False, "temperature": 0.6}, True, Sampling(temperature=0.0)),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, False, Sampling(temperature=0.6, top_p=0.9)),
        ({"max_gen_len": 3, "max_tokens": 5}, True, Sampling(max_tokens=3)),
        ({"max_new_tokens": 4, "max_tokens": 5}, True, Sampling(max_tokens=4)),
        ({"eos_token_id": 9, "stop": "x", "seed": 1}, True, Sampling(stop_token_ids=(9,), stop=("x",), seed=1)),
        ({"num_beams": 4}, True, Sampling()),
    ],
)
def test_generation_parameters(given: dict[str, Any], sampled: bool, wanted: Sampling) -> None:
    assert parse_sampling(given, {}, sampled=sampled) == wanted


def test_the_model_s_own_settings_lie_under_the_request_s() -> None:
    stored = {"do_sample": True, "temperature": 0.2, "top_p": 0.5, "eos_token_id": 2}
    assert parse_sampling({"top_p": 0.7}, stored, sampled=False) == Sampling(temperature=0.2, top_p=0.7)
    with pytest.raises(BadRequest, match="top_p from 0 to 1"):
        parse_sampling({"top_p": 3}, stored, sampled=False)


def test_chat_completions_answer_in_openai_s_form_with_usage(base: TestClient) -> None:
    body = {"messages": ASK, "max_tokens": 4, "temperature": 0, "model": "ignored", "unknown": 1}
    found = base.post("/v1/chat/completions", json=body).json()
    assert found["object"] == "chat.completion"
    assert found["model"] == "tiny"
    assert set(found) == {"id", "object", "created", "model", "choices", "usage"}
    usage = found["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == 4
    assert found["choices"][0]["finish_reason"] == "length"


def test_a_stream_holds_the_same_text_in_chunks(base: TestClient) -> None:
    body = {"messages": ASK, "max_tokens": 5, "temperature": 0}
    whole = base.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    with base.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == whole
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_what_openai_s_form_forbids_is_422_with_every_problem(base: TestClient) -> None:
    answer = base.post("/v1/chat/completions", json={"messages": [], "temperature": 3, "stream": "x"})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == ("Invalid input", 422)
    assert [each["loc"] for each in error["details"]] == [["messages"], ["temperature"], ["stream"]]
    assert base.post("/v1/chat/completions", content="nope").status_code == 422


def test_tools_unknown_keys_and_plain_completions_are_refused(base: TestClient) -> None:
    tools = base.post("/v1/chat/completions", json={"messages": ASK, "tools": [{"type": "function"}]})
    assert (tools.status_code, tools.json()) == (400, {"detail": "Tools and tool_choice are not supported."})
    body = {"messages": ASK, "max_tokens": 1, "odd": 1}
    assert "['odd']" in base.post("/chat/completions", json=body).json()["error"]["message"]
    assert base.post("/chat/completions", json=body, headers={"extra-parameters": "drop"}).status_code == 200
    assert base.post("/v1/completions", json={"prompt": "x"}).status_code == 400


def test_the_process_listens_once_the_weights_are_loaded_and_ends_on_sigterm(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "mlflow_model_folder")
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    command = [sys.executable, "-m", "localcloud.serving.scorer", "--model-dir", str(folder)]
    command += ["--descriptor", str(bound.fileno())]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=[bound.fileno()])
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "are loaded" in line)
        assert "SmolLM2-135M-Instruct" in line
        bound.listen()  # the process does so a moment after that line: who connects until then is answered as well
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with httpx.Client(base_url=address, trust_env=False, timeout=None) as client:
            assert client.get("/").json() == "healthy"
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=HANG_SECONDS)
    finally:
        bound.close()
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_a_folder_that_is_no_model_ends_the_process_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localcloud.serving.scorer", "--model-dir", str(tmp_path), "--descriptor", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"'{tmp_path}' holds no 'MLmodel'" in ended.stderr
    assert "Traceback" not in ended.stderr
