"""The language host: which Python it runs, and how a policy pack is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from localcloud.engine.host import Serving
from localcloud.engine.interpreter import InterpreterError, choose, type_check
from tests.conftest import HANG_SECONDS

HERE = {"PATH": os.environ["PATH"]}


def virtualenv(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"virtualenv": "env"},
        {"toolchain": "uv", "virtualenv": "env"},
        {"toolchain": "pip", "virtualenv": "env"},
        {"toolchain": "poetry", "virtualenv": "env"},
    ],
)
def test_the_named_virtualenv_is_used_relative_to_the_project(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = virtualenv(tmp_path / "env")
    found = choose(options, tmp_path, {**HERE, "PYTHONHOME": "/x", "OWN": "1"})
    assert found.path == folder / "bin" / "python"
    assert found.environment["VIRTUAL_ENV"] == str(folder)
    assert found.environment["PATH"].startswith(str(folder / "bin"))
    assert "PYTHONHOME" not in found.environment
    assert found.environment["OWN"] == "1"


def test_uv_s_virtualenv_lies_beside_the_nearest_lock(tmp_path: Path) -> None:
    folder = virtualenv(tmp_path / ".venv")
    (tmp_path / "uv.lock").touch()
    project = tmp_path / "deep" / "project"
    project.mkdir(parents=True)
    assert choose({"toolchain": "uv"}, project, HERE).path == folder / "bin" / "python"


def test_uv_s_own_variable_names_another_folder(tmp_path: Path) -> None:
    folder = virtualenv(tmp_path / "other")
    (tmp_path / "pyproject.toml").touch()
    found = choose({"toolchain": "uv"}, tmp_path, {**HERE, "UV_PROJECT_ENVIRONMENT": "other"})
    assert found.path == folder / "bin" / "python"


def test_poetry_is_asked_for_its_virtualenv(tmp_path: Path) -> None:
    folder = virtualenv(tmp_path / "made-by-poetry")
    (tmp_path / "bin").mkdir()
    poetry = tmp_path / "bin" / "poetry"
    poetry.write_text(f"#!/bin/sh\necho {folder}\n")
    poetry.chmod(0o755)
    found = choose({"toolchain": "poetry"}, tmp_path, {"PATH": f"{tmp_path / 'bin'}:/bin"})
    assert found.path == folder / "bin" / "python"


def test_without_options_the_caller_s_own_python_is_used(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.symlink_to(sys.executable)
    assert choose({}, tmp_path, {"PATH": str(tmp_path)}).path == python
    other = tmp_path / "python-of-mine"
    other.symlink_to(sys.executable)
    assert choose({}, tmp_path, {"PATH": str(tmp_path), "PULUMI_PYTHON_CMD": "python-of-mine"}).path == other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"virtualenv": "nowhere"}, "'nowhere'"),
        ({"toolchain": "conda"}, "'conda'"),
        ({"toolchain": "uv"}, "`uv sync`"),
        ({"toolchain": "poetry"}, "'poetry'"),
        ({"virtualenvs": "env"}, "'virtualenvs'"),
        ({}, "PATH"),
    ],
)
def test_options_that_name_no_python_are_one_clear_error(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InterpreterError, match=said):
        choose(options, tmp_path, {"PATH": str(tmp_path)})


def test_an_unknown_type_checker_is_refused(tmp_path: Path) -> None:
    virtualenv(tmp_path / "env")
    interpreter = choose({"virtualenv": "env"}, tmp_path, HERE)
    with pytest.raises(InterpreterError, match="'pytype'"):
        type_check(interpreter, {"typechecker": "pytype"}, tmp_path)


@pytest.fixture
def language(engine_side: Serving) -> Iterator[language_pb2_grpc.LanguageRuntimeStub]:
    with grpc.insecure_channel(f"127.0.0.1:{engine_side.language}") as channel:
        stub = language_pb2_grpc.LanguageRuntimeStub(channel)
        stub.Handshake(language_pb2.LanguageHandshakeRequest(engine_address="127.0.0.1:1"))
        yield stub


def info(folder: Path, **options: str) -> language_pb2.ProgramInfo:
    packed = Struct()
    packed.update(options)
    return language_pb2.ProgramInfo(
        root_directory=str(folder), program_directory=str(folder), entry_point=".", options=packed
    )


def policy_pack(folder: Path, program: str) -> language_pb2.RunPluginRequest:
    folder.mkdir()
    (folder / "__main__.py").write_text(program)
    environment = [f"PATH={Path(sys.executable).parent}", "OF_THE_ENGINE=yes"]
    return language_pb2.RunPluginRequest(pwd=str(folder), args=["127.0.0.1:9"], env=environment, info=info(folder))


def test_a_plugin_is_started_with_its_arguments_and_environment_and_its_output_passed_on(
    tmp_path: Path, language: language_pb2_grpc.LanguageRuntimeStub
) -> None:
    program = (
        "import os, sys\nprint(sys.argv[1], os.environ['OF_THE_ENGINE'])\nsys.stderr.write('oh\\n')\nsys.exit(7)\n"
    )
    answers = list(language.RunPlugin(policy_pack(tmp_path / "pack", program), timeout=HANG_SECONDS))
    assert b"".join(answer.stdout for answer in answers) == b"127.0.0.1:9 yes\n"
    assert b"".join(answer.stderr for answer in answers) == b"oh\n"
    assert answers[-1].exitcode == 7


def test_a_plugin_ends_when_the_engine_lets_go_of_it(
    tmp_path: Path, language: language_pb2_grpc.LanguageRuntimeStub
) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # opens the pipe for writing and keeps it: reading it ends when the process does
    program = f"import signal\nkept = open({str(fifo)!r}, 'w')\nprint('ready')\nsignal.pause()\n"
    call = language.RunPlugin(policy_pack(tmp_path / "pack", program), timeout=HANG_SECONDS)
    with fifo.open() as pipe:
        assert next(call).stdout == b"ready\n"
        call.cancel()
        assert pipe.read() == ""


def test_the_installed_packages_are_those_of_the_project_s_python(
    tmp_path: Path, language: language_pb2_grpc.LanguageRuntimeStub
) -> None:
    request = info(tmp_path, virtualenv=sys.prefix)
    found = language.GetProgramDependencies(language_pb2.GetProgramDependenciesRequest(info=request))
    assert "pulumi" in {dependency.name for dependency in found.dependencies}
    about = language.About(language_pb2.AboutRequest(info=request))
    assert about.version == ".".join(map(str, sys.version_info[:3]))


def test_no_plugin_is_asked_for_so_that_none_is_downloaded(
    tmp_path: Path, language: language_pb2_grpc.LanguageRuntimeStub
) -> None:
    answer = language.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=info(tmp_path)))
    assert not answer.packages
    assert not answer.specs
    assert language.GetPluginInfo(empty_pb2.Empty()).version
