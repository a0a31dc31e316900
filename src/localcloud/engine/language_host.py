"""Pulumi's Python language host, for an engine that has none beside it: runs programs and policy packs.

It obeys the runtime options of `Pulumi.yaml`. Served on a port (`PULUMI_DEBUG_LANGUAGES`), it is no child of the
engine: a program gets the environment of the engine that asks, and its output goes to that engine as messages.
An engine can start it as well: `python -m localcloud.engine.language_host ENGINE_ADDRESS` prints its port.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    language_pb2,
    language_pb2_grpc,
    plugin_pb2,
)

from localcloud.engine.caller import environment_of
from localcloud.engine.interpreter import Interpreter, InterpreterError, choose, type_check

PROGRAM = Path(__file__).with_name("program.py")
# exit statuses of program.py: it has told its error to the engine already; its Python has no `pulumi`
REPORTED, WITHOUT_PULUMI = 32, 33
STDOUT_STREAM, STDERR_STREAM = 1, 2
REMEMBERED_ENGINES = 256  # connections; that one has closed is not told
INSTALLED = (
    "import importlib.metadata as m, json\n"
    "print(json.dumps(sorted({(d.metadata['Name'], d.version) for d in m.distributions()})))"
)


@dataclass
class Session:
    """One attached engine: where it listens, and the programs that run for it."""

    engine: str = ""
    running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    cancelled: bool = False


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """The servicer; every method is one call of Pulumi's language protocol."""

    def __init__(self, engine: str = "") -> None:
        """`engine` is the address of the one that started this host; one that attaches names its own."""
        self._engine = engine
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._session(context).engine = request.engine_address
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=version("pulumi"))

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:
        """None: the engine would download what is named here, and the provider is there already."""
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:
        interpreter = self._interpreter(request.info, environment_of(context.peer()), context)
        asked = "import platform, sys; print(sys.executable); print(platform.python_version())"
        shown = _capture(interpreter, ["-c", asked])
        executable, _, found = shown.strip().partition("\n")
        return language_pb2.AboutResponse(executable=executable, version=found)

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:
        interpreter = self._interpreter(request.info, environment_of(context.peer()), context)
        found = json.loads(_capture(interpreter, ["-c", INSTALLED]))
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=number) for name, number in found]
        )

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Runs the program to its end. Its own errors are told to the engine by the program (`bail`)."""
        session = self._session(context)
        with grpc.insecure_channel(session.engine) as channel:
            engine = engine_pb2_grpc.EngineStub(channel)
            try:
                status, python = self._run(request, session, engine, context)
            except InterpreterError as error:
                return _fail(engine, str(error))
            if status == 0:
                return language_pb2.RunResponse()
            if status == REPORTED or session.cancelled:
                return language_pb2.RunResponse(bail=True)
            if status == WITHOUT_PULUMI:
                return _fail(engine, f"'{python}' has no 'pulumi': install the program's dependencies in it")
            return _fail(engine, f"the program ended with exit status {status}")

    def _run(self, request: Any, session: Session, engine: Any, context: grpc.ServicerContext) -> tuple[int, Path]:
        """The program's exit status, and the Python that ran it; its output is told to the engine."""
        options, root = _options(request.info), Path(request.info.root_directory)
        folder = Path(request.info.program_directory)
        interpreter = choose(options, root, environment_of(context.peer()))
        type_check(interpreter, options, folder)
        settings = {
            "monitor": request.monitor_address,
            "engine": session.engine,
            "project": request.project,
            "stack": request.stack,
            "parallel": request.parallel,
            "dry_run": request.dryRun,
            "organization": request.organization,
            "root_directory": request.info.root_directory,
        }
        program = str(folder / request.info.entry_point)
        child = subprocess.Popen(
            [str(interpreter.path), "-u", str(PROGRAM), json.dumps(settings), program, *request.args],
            cwd=request.pwd or folder,
            env={
                **interpreter.environment,
                "PULUMI_CONFIG": json.dumps(dict(request.config)),
                "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._follow(session, child, context)
        readers = [
            threading.Thread(target=_relay, args=(child.stdout, engine, STDOUT_STREAM)),
            threading.Thread(target=_relay, args=(child.stderr, engine, STDERR_STREAM)),
        ]
        for reader in readers:
            reader.start()
        status = child.wait()
        for reader in readers:
            reader.join()
        session.running.discard(child)
        return status, interpreter.path

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Runs a policy pack and passes on what it prints: its first line is the port that it serves."""
        given = dict(line.split("=", 1) for line in request.env if "=" in line)
        environment = given or environment_of(context.peer())
        interpreter = self._interpreter(request.info, environment, context)
        child = subprocess.Popen(
            [str(interpreter.path), "-u", request.info.program_directory, *request.args],
            cwd=request.pwd or request.info.program_directory,
            env=dict(interpreter.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        session = self._session(context)
        self._follow(session, child, context)
        lines: SimpleQueue[Any] = SimpleQueue()
        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
            threading.Thread(target=_collect, args=(stream, name, lines), daemon=True).start()
        open_streams = 2
        while open_streams:
            name, chunk = lines.get()
            if chunk:
                yield language_pb2.RunPluginResponse(**{name: chunk})
            else:
                open_streams -= 1
        session.running.discard(child)
        yield language_pb2.RunPluginResponse(exitcode=child.wait())

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        _end(self._session(context))
        return empty_pb2.Empty()

    def close(self) -> None:
        """Ends every program that still runs."""
        for session in list(self._sessions.values()):
            _end(session)

    def _session(self, context: grpc.ServicerContext) -> Session:
        with self._lock:
            idle = [peer for peer, one in self._sessions.items() if not one.running and peer != context.peer()]
            for peer in idle[: max(len(idle) - REMEMBERED_ENGINES, 0)]:
                del self._sessions[peer]
            return self._sessions.setdefault(context.peer(), Session(engine=self._engine))

    @staticmethod
    def _follow(session: Session, child: subprocess.Popen[bytes], context: grpc.ServicerContext) -> None:
        """Ends the child when the engine goes away or calls off; nothing happens to one that has ended."""
        session.running.add(child)
        context.add_callback(lambda: _stop(child))

    @staticmethod
    def _interpreter(info: Any, environment: Mapping[str, str], context: grpc.ServicerContext) -> Interpreter:
        try:
            return choose(_options(info), Path(info.root_directory), environment)
        except InterpreterError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        raise AssertionError("abort does not return")


def _fail(engine: Any, message: str) -> Any:
    """Shows one error; an `error` in the answer would be shown as an unhandled one."""
    engine.Log(engine_pb2.LogRequest(severity=engine_pb2.ERROR, message=message))
    return language_pb2.RunResponse(bail=True)


def _options(info: Any) -> dict[str, Any]:
    """The `runtime.options` of the project file."""
    options: dict[str, Any] = MessageToDict(info.options)
    return options


def _capture(interpreter: Interpreter, arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [str(interpreter.path), *arguments],
        env=dict(interpreter.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _relay(stream: IO[bytes], engine: Any, stream_id: int) -> None:
    """Tells the engine each line; lines of one stream are shown together."""
    with stream:
        for line in stream:
            text = line.decode(errors="replace")
            try:
                engine.Log(engine_pb2.LogRequest(severity=engine_pb2.INFO, message=text, streamId=stream_id))
            except grpc.RpcError as error:  # the engine has gone; the program is being ended
                print(f"language host: {error.code()}: {text.rstrip()}", file=sys.stderr)


def _collect(stream: IO[bytes], name: str, lines: SimpleQueue[Any]) -> None:
    with stream:
        for line in stream:
            lines.put((name, line))
    lines.put((name, b""))


def _end(session: Session) -> None:
    session.cancelled = True
    for child in list(session.running):
        _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()


def main() -> int:
    host = LanguageHost(engine=sys.argv[-1])
    server = grpc.server(ThreadPoolExecutor(max_workers=16))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):  # the engine interrupts its plugins at the end of every command
        signal.signal(name, lambda *_: ended.set())
    print(port, flush=True)
    ended.wait()
    host.close()
    server.stop(grace=0.5).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
