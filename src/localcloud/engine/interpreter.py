"""Which Python runs a program: what the runtime options of its project file say (`toolchain`, `virtualenv`,
`typechecker`), read as the official host reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPTIONS = ("toolchain", "virtualenv", "typechecker")
TOOLCHAINS = ("pip", "uv", "poetry")
TYPE_CHECKERS = ("none", "mypy", "pyright")


class InterpreterError(Exception):
    """The project file's options name no Python that can be run; the message says what to change or install."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python, and the environment to run it in: that of the caller, with its virtual environment active."""

    path: Path
    environment: Mapping[str, str]


def choose(options: Mapping[str, Any], root: Path, environment: Mapping[str, str]) -> Interpreter:
    """The Python that the options name; paths are relative to `root`, the folder of the project file."""
    for name in options:
        if name not in OPTIONS:
            raise InterpreterError(f"unknown runtime option '{name}' for python; known are: {', '.join(OPTIONS)}")
    toolchain = str(options.get("toolchain") or "pip").lower()
    if toolchain not in TOOLCHAINS:
        raise InterpreterError(f"unknown toolchain '{toolchain}'; known are: {', '.join(TOOLCHAINS)}")
    folder = options.get("virtualenv")
    if folder:
        return _activated(root / str(folder), f"the virtualenv '{folder}' of the project file", environment)
    if toolchain == "uv":
        return _activated(_uv_folder(root, environment), "the virtualenv of `uv sync`", environment)
    if toolchain == "poetry":
        return _activated(_poetry_folder(root, environment), "the virtualenv of `poetry install`", environment)
    names = [environment["PULUMI_PYTHON_CMD"]] if environment.get("PULUMI_PYTHON_CMD") else ["python3", "python"]
    for name in names:
        found = shutil.which(name, path=environment.get("PATH"))
        if found:
            return Interpreter(Path(found), environment)
    raise InterpreterError(f"no {' or '.join(repr(name) for name in names)} on PATH to run the program with")


def type_check(interpreter: Interpreter, options: Mapping[str, Any], program: Path) -> None:
    """Runs the type checker of the options over the program; an error with its findings when there are any."""
    checker = str(options.get("typechecker") or "none").lower()
    if checker not in TYPE_CHECKERS:
        raise InterpreterError(f"unknown typechecker '{checker}'; known are: {', '.join(TYPE_CHECKERS)}")
    if checker == "none":
        return
    done = subprocess.run(
        [str(interpreter.path), "-m", checker, str(program)],
        env=dict(interpreter.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InterpreterError(f"the type checker '{checker}' found errors:\n{done.stdout.rstrip()}")


def _activated(folder: Path, described: str, environment: Mapping[str, str]) -> Interpreter:
    bin_folder = folder / ("Scripts" if os.name == "nt" else "bin")
    python = bin_folder / ("python.exe" if os.name == "nt" else "python")
    if not python.exists():
        raise InterpreterError(
            f"{described} is not there: no '{python}'. Create it and install the program's dependencies in it."
        )
    kept = {name: value for name, value in environment.items() if name not in ("PYTHONHOME", "__PYVENV_LAUNCHER__")}
    path = os.pathsep.join([str(bin_folder), *filter(None, [kept.get("PATH")])])
    return Interpreter(python, {**kept, "VIRTUAL_ENV": str(folder), "PATH": path})


def _uv_folder(root: Path, environment: Mapping[str, str]) -> Path:
    """Where `uv` keeps the environment: beside the nearest `uv.lock` or `pyproject.toml`, from the project up."""
    home = next(
        (
            folder
            for folder in (root, *root.parents)
            if (folder / "uv.lock").exists() or (folder / "pyproject.toml").exists()
        ),
        root,
    )
    return home / environment.get("UV_PROJECT_ENVIRONMENT", ".venv")


def _poetry_folder(root: Path, environment: Mapping[str, str]) -> Path:
    poetry = shutil.which("poetry", path=environment.get("PATH"))
    if poetry is None:
        raise InterpreterError("the toolchain is 'poetry', but there is no 'poetry' on PATH")
    done = subprocess.run(
        [poetry, "env", "info", "--path"],
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InterpreterError(f"`poetry env info --path` failed in '{root}': {done.stderr.strip()}")
    return Path(done.stdout.strip())
