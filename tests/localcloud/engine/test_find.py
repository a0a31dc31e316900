"""Which `pulumi` is used: the one on PATH when it fits, else the built one, else a clear error or a build."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from localcloud.cloud import Addresses
from localcloud.engine import build, environment, find
from localcloud.engine.find import BUILT_VERSION, EngineError, fits
from tests.conftest import HANG_SECONDS

MODULES = Path(__file__).parents[3] / "tools" / "pulumi"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v3.259.0", True),
        ("3.259.0", True),
        ("v3.272.1", True),
        ("v3.300.0-alpha.1724+dirty", True),
        ("v3.259.1-dev.0", True),
        ("v3.259.0+build.5", True),
        ("v3.259.0-dev", False),
        ("v3.258.9", False),
        ("v3.26.0", False),
        ("v4.0.0", False),
        ("v4.0.0-alpha.1", False),
        ("v2.259.0", False),
        ("dev", False),
        ("", False),
    ],
)
def test_every_3_from_259_on_fits(version: str, expected: bool) -> None:
    assert fits(version) is expected


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has nothing: an empty PATH folder, and an empty cache."""
    (tmp_path / "bin").mkdir()
    return {
        "PATH": str(tmp_path / "bin"),
        "HOME": str(tmp_path / "home"),
        "TUNESTACK_CACHE": str(tmp_path / "cache"),
    }


def built(machine: dict[str, str]) -> Path:
    folder = Path(machine["TUNESTACK_CACHE"]) / "engine" / BUILT_VERSION
    return script(folder, "pulumi", f"echo v{BUILT_VERSION}")


def test_a_pulumi_on_path_that_fits_comes_first(machine: dict[str, str]) -> None:
    built(machine)
    path = script(Path(machine["PATH"]), "pulumi", "echo v3.270.0")
    found = find(machine)
    assert found is not None
    assert (found.path, found.version, found.built) == (path, "3.270.0", False)


@pytest.mark.parametrize("answer", ["echo v3.100.0", "echo v4.1.0", "exit 1"])
def test_a_pulumi_on_path_that_does_not_fit_is_passed_over(machine: dict[str, str], answer: str) -> None:
    script(Path(machine["PATH"]), "pulumi", answer)
    assert find(machine) is None
    path = built(machine)
    found = find(machine)
    assert found is not None
    assert (found.path, found.built) == (path, True)


def test_a_built_engine_stays_one_when_its_folder_is_on_path(machine: dict[str, str]) -> None:
    path = built(machine)
    found = find({**machine, "PATH": str(path.parent)})
    assert found is not None
    assert found.built


def test_asking_a_pulumi_for_its_version_leaves_the_home_alone(machine: dict[str, str]) -> None:
    script(Path(machine["PATH"]), "pulumi", 'mkdir -p "${PULUMI_HOME:-$HOME/.pulumi}" && echo v3.270.0')
    assert find({**machine, "PATH": machine["PATH"] + ":/usr/bin:/bin"}) is not None
    assert not Path(machine["HOME"]).exists()


def test_without_engine_and_go_one_error_says_what_to_install(machine: dict[str, str]) -> None:
    script(Path(machine["PATH"]), "pulumi", "echo v3.100.0")
    with pytest.raises(EngineError) as caught:
        build.find_or_build(MODULES, machine)
    said = str(caught.value)
    assert "v3.100.0" in said
    assert "curl -fsSL https://get.pulumi.com | sh" in said
    assert "https://go.dev/doc/install" in said


def test_a_go_that_is_too_old_is_named(machine: dict[str, str]) -> None:
    script(Path(machine["PATH"]), "go", "echo go version go1.22.3 linux/amd64")
    with pytest.raises(EngineError, match=r"Go 1\.22\.3, too old"):
        build.find_or_build(MODULES, machine)


GO = """
case "$1" in
  version) echo go version go1.26.0 linux/amd64 ;;
  build)
    echo some/package >&2
    for last; do :; done
    while [ "$1" != "-o" ]; do shift; done
    {action}
    ;;
esac
"""
MAKES = 'echo started >> {log}; printf "#!/bin/sh\\necho v{version}\\n" > "$2" && chmod 755 "$2"'


def machine_with_go(machine: dict[str, str], action: str) -> dict[str, str]:
    script(Path(machine["PATH"]), "go", GO.replace("{action}", action))
    return {**machine, "PATH": f"{machine['PATH']}:/usr/bin:/bin"}


def leftovers(machine: dict[str, str]) -> set[str]:
    return {path.name for path in (Path(machine["TUNESTACK_CACHE"]) / "engine").iterdir()}


def test_a_build_is_moved_into_the_cache_and_found_from_then_on(machine: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with_go = machine_with_go(machine, MAKES.format(log=log, version=BUILT_VERSION))
    engine = build.find_or_build(MODULES, with_go)
    assert engine.built
    assert build.find_or_build(MODULES, with_go) == engine
    assert log.read_text() == "started\n"
    assert leftovers(machine) == {BUILT_VERSION, f"{BUILT_VERSION}.lock"}


def test_two_clones_build_once(machine: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with_go = machine_with_go(machine, MAKES.format(log=log, version=BUILT_VERSION))
    with ThreadPoolExecutor(3) as clones:
        engines = list(clones.map(lambda _: build.find_or_build(MODULES, with_go), range(3)))
    assert len(set(engines)) == 1
    assert log.read_text() == "started\n"


def test_a_build_waits_for_another_one(machine: dict[str, str], tmp_path: Path) -> None:
    with_go = machine_with_go(machine, MAKES.format(log=tmp_path / "log", version=BUILT_VERSION))
    folder = Path(machine["TUNESTACK_CACHE"]) / "engine"
    folder.mkdir(parents=True)
    with (folder / f"{BUILT_VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            [sys.executable, "-m", "localcloud.engine", "--modules", str(MODULES)],
            env=with_go,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert "Waiting for another build" in waiting.stderr.readline()
        path = built(machine)
    out, _ = waiting.communicate(timeout=HANG_SECONDS)
    assert out.strip() == str(path)
    assert not (tmp_path / "log").exists()


def test_a_build_that_fails_shows_go_s_words_and_leaves_nothing(machine: dict[str, str]) -> None:
    with_go = machine_with_go(machine, "echo 'cannot find module' >&2; exit 1")
    with pytest.raises(EngineError, match="cannot find module"):
        build.find_or_build(MODULES, with_go)
    assert leftovers(machine) == {f"{BUILT_VERSION}.lock"}


def test_an_engine_of_another_version_is_not_kept(machine: dict[str, str], tmp_path: Path) -> None:
    with_go = machine_with_go(machine, MAKES.format(log=tmp_path / "log", version="3.1.0"))
    with pytest.raises(EngineError, match=r"calls itself 'v3\.1\.0'"):
        build.find_or_build(MODULES, with_go)
    assert leftovers(machine) == {f"{BUILT_VERSION}.lock"}


def test_what_a_killed_build_left_is_swept_and_never_used(machine: dict[str, str], tmp_path: Path) -> None:
    with_go = machine_with_go(machine, MAKES.format(log=tmp_path / "log", version=BUILT_VERSION))
    partial = Path(machine["TUNESTACK_CACHE"]) / "engine" / f"{BUILT_VERSION}.partial"
    script(partial, "pulumi", "echo half")
    assert find(machine) is None
    build.find_or_build(MODULES, with_go)
    assert not partial.exists()


def test_the_go_modules_name_the_version_that_is_built_and_the_sdk_has() -> None:
    from importlib.metadata import version

    assert version("pulumi") == BUILT_VERSION
    lines = (MODULES / "go.mod").read_text().splitlines()
    assert any(line.split()[:2] == ["github.com/pulumi/pulumi/pkg/v3", f"v{BUILT_VERSION}"] for line in lines)


def test_beside_a_built_engine_stands_a_language_host_that_starts(machine: dict[str, str]) -> None:
    host = built(machine).with_name("pulumi-language-python")
    build.find_or_build(None, machine)
    started = subprocess.Popen(
        [host, "127.0.0.1:9"],
        env={**os.environ, "LOCALCLOUD_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert int(started.stdout.readline()) > 0
    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=HANG_SECONDS) == 0
    started.stdout.close()
    alone = subprocess.run([host], capture_output=True, text=True, check=False, env={"PATH": "/bin"})
    assert "run pulumi through localcloud run" in alone.stderr


# -- the variables of `localcloud run` ---------------------------------------------------------------------------


def variables(machine: dict[str, str], tmp_path: Path) -> dict[str, str]:
    running = SimpleNamespace(
        state=tmp_path / "state", secret="s3cret", addresses=Addresses(provider=1111, language=2222)
    )
    return environment(running, machine)


def test_a_built_engine_gets_our_language_host_and_comes_first_on_path(machine: dict[str, str], tmp_path: Path) -> None:
    path = built(machine)
    found = variables(machine, tmp_path)
    assert found["PULUMI_DEBUG_LANGUAGES"] == "python:2222"
    assert found["PULUMI_DEBUG_PROVIDERS"] == "azure-native:1111"
    assert found["PATH"].split(os.pathsep) == [str(path.parent), machine["PATH"]]
    assert Path(found["PULUMI_BACKEND_URL"].removeprefix("file://").partition("?")[0]).is_dir()
    assert found["PULUMI_HOME"].startswith(str(tmp_path / "state"))


def test_an_official_engine_keeps_its_own_language_host(machine: dict[str, str], tmp_path: Path) -> None:
    script(Path(machine["PATH"]), "pulumi", "echo v3.270.0")
    assert variables(machine, tmp_path)["PULUMI_DEBUG_LANGUAGES"] == "python:2222"
    script(Path(machine["PATH"]), "pulumi-language-python", "exit 1")
    found = variables(machine, tmp_path)
    assert "PULUMI_DEBUG_LANGUAGES" not in found
    assert "PATH" not in found
    assert found["PULUMI_DEBUG_PROVIDERS"] == "azure-native:1111"


def test_without_an_engine_the_variables_are_there_all_the_same(machine: dict[str, str], tmp_path: Path) -> None:
    assert variables(machine, tmp_path)["PULUMI_DEBUG_PROVIDERS"] == "azure-native:1111"
    assert shutil.which("pulumi", path=machine["PATH"]) is None
