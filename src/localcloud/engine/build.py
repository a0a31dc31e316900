"""Builds `pulumi` from its published Go modules into the user's cache: once per version, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from localcloud.engine.find import (
    BUILT_VERSION,
    Engine,
    EngineError,
    cache_folder,
    find,
    place_language_host,
    version_of,
)

PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
OLDEST_GO = (1, 25, 11)
PACKAGES = 1900  # about as many are compiled, for the progress line
LINE_SECONDS = 15.0  # between progress lines where no terminal is


def find_or_build(modules: Path | None, environment: Mapping[str, str] = os.environ) -> Engine:
    """The engine that fits, built if there is none. `modules` is the folder of go.mod and go.sum.

    Raises EngineError with what to install when there is neither an engine nor what makes one.
    """
    engine = find(environment) or _build_once(modules, environment)
    place_language_host(engine)
    return engine


def _build_once(modules: Path | None, environment: Mapping[str, str]) -> Engine:
    go = require_go(modules, environment)
    assert modules is not None
    cache = cache_folder(environment)
    cache.mkdir(parents=True, exist_ok=True)
    with _only_one(cache / f"{BUILT_VERSION}.lock"):
        # another clone may have built it while this one waited
        return find(environment) or build(modules, go, cache / BUILT_VERSION, environment)


def require_go(modules: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The `go` that can build the engine; else the one error that names what was looked for and what to install."""
    reasons = [_about_path(environment), f"none was built in '{cache_folder(environment)}'"]
    go = shutil.which("go", path=environment.get("PATH"))
    if modules is None or not (modules / "go.mod").exists():
        reasons.append("the Go modules to build it from (tools/pulumi) are not here")
    elif go is None:
        reasons.append("there is no 'go' on PATH to build it with")
    else:
        number = go_version(Path(go), environment)
        if number >= OLDEST_GO:
            return Path(go)
        reasons.append(f"'{go}' is Go {'.'.join(map(str, number)) or 'of an unknown version'}, too old to build it")
    needed = ".".join(map(str, OLDEST_GO))
    raise EngineError(
        f"No Pulumi engine: {'; '.join(reasons)}.\n"
        "Install one of the two, then run this again:\n"
        f"  Pulumi 3.259 or newer, below 4:  curl -fsSL https://get.pulumi.com | sh\n"
        f"  Go {needed} or newer:  https://go.dev/doc/install"
    )


def go_version(go: Path, environment: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """The version of a Go toolchain as numbers; empty when it tells none."""
    done = subprocess.run(
        [str(go), "version"],
        env={**environment, "GOTOOLCHAIN": "local"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"\bgo(\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def build(modules: Path, go: Path, target: Path, environment: Mapping[str, str] = os.environ) -> Engine:
    """Builds into a folder beside `target` and moves it there when it is whole. The caller holds the lock."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a build that was killed
    partial.mkdir(parents=True)
    made = partial / "pulumi"
    flags = f"-s -w -X {VERSION_VARIABLE}=v{BUILT_VERSION}"
    print(
        f"Building Pulumi {BUILT_VERSION} with Go: once, about 4 minutes on 2 cores, 3 GB in Go's caches.",
        file=sys.stderr,
        flush=True,
    )
    try:
        command = [str(go), "build", "-v", "-trimpath", "-mod=readonly", "-tags", "osusergo,grpcnotrace"]
        _show_progress([*command, "-ldflags", flags, "-o", str(made), PACKAGE], modules, environment)
        told = version_of(made, environment)
        if told.removeprefix("v") != BUILT_VERSION:
            raise EngineError(
                f"The built engine calls itself '{told}' instead of 'v{BUILT_VERSION}': "
                f"'{modules / 'go.mod'}' names another version."
            )
        target.mkdir(parents=True, exist_ok=True)
        made.replace(target / "pulumi")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Engine(target / "pulumi", BUILT_VERSION, built=True)


def _show_progress(command: list[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Runs the build; a line on stderr says how far it is. An error carries the last lines of Go's output."""
    began = shown = time.monotonic()
    lines: list[str] = []
    process = subprocess.Popen(
        command,
        cwd=folder,
        # GOTOOLCHAIN: Go would download another Go; GOFLAGS: a user's own (-mod=mod) would change go.sum
        env={**environment, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        terminal = sys.stderr.isatty()
        with process.stderr as said:
            for line in said:
                lines.append(line.rstrip())
                now = time.monotonic()
                if now - shown >= (0.2 if terminal else LINE_SECONDS):
                    shown = now
                    done = min(len(lines), PACKAGES)
                    text = f"  {done} of about {PACKAGES} packages, {now - began:.0f} s"
                    print(f"\r{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    print(f"\r  {time.monotonic() - began:.0f} s" + " " * 40, file=sys.stderr, flush=True)
    if status:
        raise EngineError("Go could not build the engine:\n" + "\n".join(f"  {line}" for line in lines[-15:]))


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Holds the lock file; the system lets go of it when the process ends, however it ends."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another build of Pulumi {BUILT_VERSION}…", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _about_path(environment: Mapping[str, str]) -> str:
    pulumi = shutil.which("pulumi", path=environment.get("PATH"))
    if pulumi is None:
        return "there is no 'pulumi' on PATH"
    told = version_of(Path(pulumi), environment) or "of an unknown version"
    return f"'{pulumi}' is {told}, which does not fit"
