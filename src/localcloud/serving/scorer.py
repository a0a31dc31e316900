"""The process behind a deployment of a chat model: loads the weights, then answers on loopback.

`python -m localcloud.serving.scorer --model-dir DIR --descriptor N`. Nothing listens until the weights are loaded.
Requests are answered one after another; how many may wait is the router's business.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from localcloud.cloud import KEEP_ALIVE_SECONDS
from localcloud.components.mlflow_folder import MlflowFolderError
from localcloud.serving import contracts
from localcloud.serving.contracts import ChatRequest
from localcloud.serving.generation import Answer, ChatModel, PromptTooLong, Sampling

log = logging.getLogger("localcloud.serving.scorer")

_GRACE_SECONDS = 1


@dataclass
class Scorer:
    """The handlers of one model, and the one thread that generates."""

    model: ChatModel
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "generation"))
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_contract_a(self) -> bool:
        """Whether the model asks for the foundation-model-inference image; else the no-code MLflow server answers."""
        return "azureml.base_image" in self.model.metadata

    def stop(self) -> None:
        self._stopping.set()
        self._thread.shutdown(cancel_futures=True)

    async def healthy(self, _request: Request) -> Response:
        return JSONResponse("healthy")

    async def info(self, _request: Request) -> Response:
        provider = self.model.metadata.get("model_provider_name")
        return JSONResponse(
            {"model_type": "chat-completion", "model_provider_name": provider, "model_name": self.model.name}
        )

    async def score(self, request: Request) -> Response:
        return await (self._score_a(request) if self.is_contract_a else self._score_b(request))

    async def _score_a(self, request: Request) -> Response:
        """Contract A: `{"output": text}`; for a bad request an empty object, with 200 all the same."""
        try:
            asked = contracts.parse_score(await request.json(), self.model.defaults(), sampled=True)
            prompt = self.model.tokenizer.render(
                asked.conversations[0], add_generation_prompt=asked.add_generation_prompt
            )
            return JSONResponse({"output": (await self._answer(request, prompt, asked.sampling)).text})
        except PromptTooLong as error:
            log.warning("%s", error)
            return JSONResponse({"output": "None"})
        except Exception as error:  # the image answers so to every failure
            log.warning("Answered {} to: %s: %s", type(error).__name__, error)
            return JSONResponse({})

    async def _score_b(self, request: Request) -> Response:
        """Contract B: one record per conversation; for a bad request 500, which the gateway makes a 424."""
        try:
            asked = contracts.parse_score(await request.json(), self.model.defaults(), sampled=False)
            prompts = [
                self.model.tokenizer.render(
                    contracts.llama_conversation(each), add_generation_prompt=asked.add_generation_prompt
                )
                for each in asked.conversations
            ]
            answers = [(await self._answer(request, prompt, asked.sampling)).text for prompt in prompts]
        except Exception as error:  # the server answers so to every failure
            log.warning("Answered 500 to: %s: %s", type(error).__name__, error)
            return JSONResponse({"message": f"{type(error).__name__}: {error}"}, status_code=500)
        if asked.flat and len(asked.conversations[0]) > 1:
            return JSONResponse(answers)
        return JSONResponse([{"0": text} for text in answers])

    async def chat(self, request: Request) -> Response:
        """`/v1/chat/completions`, and `/chat/completions`, which refuses keys that it does not know."""
        try:
            asked = ChatRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return _invalid(error)
        if asked.tools or asked.tool_choice:
            return JSONResponse({"detail": "Tools and tool_choice are not supported."}, status_code=400)
        unknown = sorted(asked.model_extra or {})
        lenient = request.url.path.startswith("/v1/") or request.headers.get("extra-parameters") in (
            "pass-through",
            "drop",
        )
        if unknown and not lenient:
            return _error(400, "Bad Request", f"Extra parameters {unknown} are not allowed.")
        try:
            prompt = self.model.tokenizer.render(asked.conversation(), add_generation_prompt=True)
            if asked.stream:
                return await self._stream(request, prompt, asked.sampling())
            answer = await self._answer(request, prompt, asked.sampling())
        except PromptTooLong as error:
            return _error(400, "Bad Request", str(error))
        except Exception as error:
            log.exception("A chat completion failed.")
            return _error(500, "Internal Server Error", f"{type(error).__name__}: {error}")
        return JSONResponse({"created": int(time.time()), **contracts.completion(answer, self.model.name)})

    async def completions(self, _request: Request) -> Response:
        return _error(400, "Bad Request", "This is a chat model: use /v1/chat/completions.")

    def _generate(self, prompt: str, sampling: Sampling, cancelled: threading.Event) -> Iterator[Answer]:
        """The model's answer as it grows; it ends at the next token when the process is asked to end."""
        for answer in self.model.answer(prompt, sampling, cancelled):
            if self._stopping.is_set():
                cancelled.set()
            yield answer

    async def _answer(self, request: Request, prompt: str, sampling: Sampling) -> Answer:
        """Generate to the end in the generating thread; a client that goes away ends it at the next token."""
        cancelled = threading.Event()

        def generate() -> Answer:
            *_, answer = self._generate(prompt, sampling, cancelled)
            return answer

        watch = asyncio.create_task(_set_when_gone(request, cancelled))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, generate)
        finally:
            cancelled.set()
            watch.cancel()

    async def _stream(self, request: Request, prompt: str, sampling: Sampling) -> Response:
        """Server-sent chunks. The first token is awaited here, so that a prompt too long is still an error."""
        loop, cancelled = asyncio.get_running_loop(), threading.Event()
        pieces: asyncio.Queue[tuple[str, str | None] | Exception] = asyncio.Queue()

        def tell(piece: tuple[str, str | None] | Exception) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def generate() -> None:
            sent = 0
            try:
                for answer in self._generate(prompt, sampling, cancelled):
                    # an unfinished character decodes to this sign; it comes whole with a later token
                    whole = answer.finish_reason or not answer.text.endswith("\ufffd")
                    text = answer.text[sent:] if whole else ""
                    sent += len(text)
                    tell((text, answer.finish_reason))
            except Exception as error:
                tell(error)

        future = loop.run_in_executor(self._thread, generate)
        first = await pieces.get()
        if isinstance(first, Exception):
            raise first

        async def events() -> AsyncIterator[str]:
            identity = contracts.new_id()
            piece: tuple[str, str | None] | Exception = first
            try:
                yield self._event(identity, {"role": "assistant", "content": ""}, None)
                while not isinstance(piece, Exception):
                    text, reason = piece
                    if text or reason:
                        yield self._event(identity, {"content": text} if text else {}, reason)
                    if reason:
                        yield "data: [DONE]\n\n"
                        return
                    piece = await pieces.get()
                log.error("A streamed answer broke off: %s", piece)
            finally:
                cancelled.set()
                await future

        return StreamingResponse(events(), media_type="text/event-stream")

    def _event(self, identity: str, delta: dict[str, str], reason: str | None) -> str:
        body = {"created": int(time.time()), **contracts.chunk(identity, self.model.name, delta, reason)}
        return f"data: {json.dumps(body)}\n\n"


def create_app(scorer: Scorer) -> Starlette:
    """The routes of a scoring container."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        scorer.stop()

    posts: dict[str, Callable[[Request], Any]] = {
        "/score": scorer.score,
        "/v1/chat/completions": scorer.chat,
        "/chat/completions": scorer.chat,
        "/v1/completions": scorer.completions,
        "/completions": scorer.completions,
    }
    routes = [Route(path, handler, methods=["POST"]) for path, handler in posts.items()]
    routes += [Route("/", scorer.healthy), Route("/info", scorer.info)]
    return Starlette(routes=routes, lifespan=lifespan)


async def _set_when_gone(request: Request, event: threading.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    event.set()


def _invalid(error: ValidationError) -> Response:
    details = [{"loc": list(each["loc"]), "value": each["msg"]} for each in error.errors(include_url=False)]
    body = {"code": "Invalid input", "status": 422, "message": "invalid input error", "details": details}
    return JSONResponse({"error": body}, status_code=422)


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "status": status}}, status_code=status)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scorer", description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True, help="MLflow model folder")
    parser.add_argument("--descriptor", type=int, required=True, help="inherited socket, bound to a loopback port")
    found = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    started = time.monotonic()
    # threads that spin while they wait take the cores from other deployments; read when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        scorer = Scorer(ChatModel(found.model_dir))
    except MlflowFolderError as error:
        log.error("%s", error)
        return 1
    log.info("The weights of %s are loaded, after %.1f s.", scorer.model.name, time.monotonic() - started)
    import uvicorn

    config = uvicorn.Config(
        create_app(scorer),
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=found.descriptor)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
