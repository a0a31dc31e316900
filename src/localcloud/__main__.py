"""The command line: `localcloud up | run -- COMMAND | workspace NAME | env | principal NAME | reset | coverage`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from localcloud import client, principals
from localcloud.assertions import GITHUB

STOP_SECONDS = 120.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    state = client.state_folder()
    try:
        return int(arguments.command(arguments, state))
    except (client.NotRunning, client.CallFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, client.NotRunning) else 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="localcloud",
        description="Azure's wire protocols on loopback, for a laptop without an account.",
        epilog="The state lies in $LOCALCLOUD_STATE, default ./.localcloud.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="a server in the foreground")
    _server_flags(up)
    up.add_argument("--verbose", action="store_true", help="log every request")
    up.set_defaults(command=_up)

    run = commands.add_parser("run", help="run a command in the environment of the server")
    _server_flags(run)
    _principal_flags(run)
    run.add_argument("words", nargs="+", metavar="-- COMMAND", help="the command and its arguments")
    run.set_defaults(command=_run)

    workspace = commands.add_parser("workspace", help="a workspace, made if absent; its config.json in this folder")
    workspace.add_argument("name", type=_workspace_name, help="3 to 33 letters, digits, hyphens and underscores")
    workspace.add_argument("--location", default="eastus", help="region (default eastus)")
    workspace.set_defaults(command=_workspace)

    env = commands.add_parser("env", help="print the variables of the server, to source")
    _principal_flags(env)
    env.set_defaults(command=_env)

    principal = commands.add_parser("principal", help="a service principal without roles; its ids as JSON")
    principal.add_argument("name", help="letters, digits and dashes, a letter first")
    principal.set_defaults(command=_principal)

    reset = commands.add_parser("reset", help="empty the state")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    reset.set_defaults(command=_reset)

    coverage = commands.add_parser("coverage", help="list the operations that the local cloud has")
    coverage.set_defaults(command=_coverage)
    return parser


def _server_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, default=0, help="TLS port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--allow", action="append", default=[], metavar="HOST", help="let one more name through")
    parser.add_argument("--pace", default="immediate", help="long operations: immediate, polls:N or seconds:N")
    parser.add_argument("--lenient", action="store_true", help="keep unknown members of a request instead of refusing")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port; take one up to 65535, or 0 for any free one")
    return int(text)


def _workspace_name(text: str) -> str:
    """Held to Azure's rule before anything is made: the workspace comes last, after its group and its storage."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name of a workspace: 3 to 33 letters, digits, '-' and '_'")
    return text


def _principal_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as",
        dest="principal",
        metavar="NAME",
        help="act as the service principal NAME, which has no role yet, or with --subject as this identity",
    )
    parser.add_argument(
        "--subject", help="for whom the identity's federated credential is, e.g. repo:O/R:environment:dev"
    )
    parser.add_argument("--issuer", default=GITHUB, help=f"who says so (default {GITHUB})")
    parser.add_argument(
        "--network",
        metavar="NAME",
        help="stand in the virtual network NAME, or on the internet (else what is private is not refused)",
    )


def _up(arguments: argparse.Namespace, state: Path) -> int:
    from localcloud.operations import Pace
    from localcloud.server import CannotStart, Options
    from localcloud.store import StateVersionError

    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if not arguments.verbose:
        logging.getLogger("localcloud").setLevel(logging.INFO)
        logging.getLogger("localcloud.requests").setLevel(logging.WARNING)
    try:
        options = Options(
            state, arguments.port, Pace.parse(arguments.pace), not arguments.lenient, tuple(arguments.allow)
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _make(state)
    try:
        return asyncio.run(_serve(options))
    except (CannotStart, StateVersionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def _serve(options: object) -> int:
    from localcloud.server import Options, Server

    assert isinstance(options, Options)
    began = time.monotonic()
    server = Server(options)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    try:
        cloud = await server.start()
        print(
            f"localcloud: ready after {time.monotonic() - began:.1f} s on 127.0.0.1:{cloud.addresses.tls}, "
            f"state in {cloud.state}",
            file=sys.stderr,
        )
        if cloud.addresses.mlflow:
            print(f"localcloud: MLflow page at http://127.0.0.1:{cloud.addresses.mlflow}", file=sys.stderr)
        await stopping.wait()
    finally:
        await server.stop()
    return 0


def _run(arguments: argparse.Namespace, state: Path) -> int:
    from localcloud import environment

    started: subprocess.Popen[bytes] | None = None
    try:
        running = client.find(state)
        for host in arguments.allow:
            running.call("PUT", "127.0.0.1", f"/localcloud/allowed/{host}", {}, running.secret)
    except client.NotRunning:
        started = _start_server(arguments, state)
        running = client.find(state)
    try:
        words = [word for at, word in enumerate(arguments.words) if word != "--" or at]
        env = environment.for_command(running, principal=_chosen(arguments, running), network=arguments.network)
        try:
            command = subprocess.Popen(words, env=env)
        except (FileNotFoundError, PermissionError) as error:
            print(f"error: '{words[0]}' cannot be run: {error.strerror}", file=sys.stderr)
            return 127
        return _wait(command)
    finally:
        if started:
            _end(started)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Let the server stop what it runs; one that does not is killed, and its children end with it."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _wait(command: subprocess.Popen[bytes]) -> int:
    """The command's exit status; an interrupt goes to it first and ends this program only when it has ended."""
    forward = {name: signal.signal(name, lambda number, _: command.send_signal(number)) for name in (signal.SIGTERM,)}
    try:
        while True:
            try:
                status = command.wait()
            except KeyboardInterrupt:
                continue  # the terminal has sent it to the command as well
            return 128 - status if status < 0 else status
    finally:
        for name, old in forward.items():
            signal.signal(name, old)


def _start_server(arguments: argparse.Namespace, state: Path) -> subprocess.Popen[bytes]:
    """A server for the while, whose log is `server.log` in the state folder."""
    _make(state)
    (state / "server.json").unlink(missing_ok=True)
    flags = ["--port", str(arguments.port), "--pace", arguments.pace]
    flags += [word for host in arguments.allow for word in ("--allow", host)]
    flags += ["--lenient"] if arguments.lenient else []
    log = state / "server.log"
    with log.open("ab") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "localcloud", "up", *flags],
            env={**os.environ, "LOCALCLOUD_STATE": str(state)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (state / "server.json").exists():
            return server
        if server.poll() is not None:
            reason = log.read_text().strip().splitlines()
            raise client.CallFailed(
                reason[-1].removeprefix("error: ") if reason else f"The server did not start; see {log}"
            )
        time.sleep(0.02)
    server.kill()
    raise client.CallFailed(f"The server did not answer within 120 s; see {log}")


def _make(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        said = f"The state folder '{state}' cannot be made: {error.strerror}. Name another in LOCALCLOUD_STATE"
        raise client.CallFailed(said) from None


def _workspace(arguments: argparse.Namespace, state: Path) -> int:
    config = client.make_workspace(client.find(state), arguments.name, arguments.location)
    Path("config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(arguments.name)
    return 0


def _chosen(arguments: argparse.Namespace, running: client.Running) -> principals.Principal | None:
    """Whom `--as` names; made or looked up in the cloud, so that a wrong name is told at once."""
    if arguments.principal is None:
        if arguments.subject:
            raise client.CallFailed("--subject needs --as with the identity's client id or name.")
        return None
    if arguments.subject is None:
        _make_principal(arguments.principal, running)
        return principals.ThrowAway(arguments.principal)
    wanted = arguments.principal.rpartition("/")[2]
    found = running.call("GET", "127.0.0.1", f"/localcloud/identities/{wanted}", None, running.secret)
    return principals.Federated(found["clientId"], arguments.subject, arguments.issuer)


def _make_principal(name: str, running: client.Running) -> dict[str, str]:
    try:
        principals.ThrowAway(name)
    except ValueError as error:
        raise client.CallFailed(f"{error}.") from None
    made: dict[str, str] = running.call("PUT", "127.0.0.1", f"/localcloud/principals/{name}", {}, running.secret)
    return made


def _principal(arguments: argparse.Namespace, state: Path) -> int:
    print(json.dumps(_make_principal(arguments.name, client.find(state))))
    return 0


def _env(arguments: argparse.Namespace, state: Path) -> int:
    from localcloud import environment

    running = client.find(state)
    for name, value in environment.variables(
        running, os.environ, _chosen(arguments, running), arguments.network
    ).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _reset(arguments: argparse.Namespace, state: Path) -> int:
    if not state.exists():
        print(f"localcloud: nothing to empty, '{state}' does not exist.", file=sys.stderr)
        return 0
    if not (state / "server.lock").exists():
        print(f"error: '{state}' is not a state folder of the local cloud; nothing was removed.", file=sys.stderr)
        return 2
    try:
        running = client.find(state)
        print(f"error: A server (process {running.pid}) uses '{state}'; stop it first.", file=sys.stderr)
        return 1
    except client.NotRunning:
        pass
    if not arguments.yes and not _confirmed(f"Remove everything in '{state}'? [y/N] "):
        print("localcloud: nothing was removed; without a terminal, say --yes.", file=sys.stderr)
        return 1
    shutil.rmtree(state)
    return 0


def _confirmed(question: str) -> bool:
    """Whether the user said yes; a closed standard input is a no."""
    try:
        return input(question).strip().lower() == "y"
    except EOFError:
        return False


def _coverage(_: argparse.Namespace, __: Path) -> int:
    from localcloud.app import coverage

    for line in coverage():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
