"""Errors: exit codes, one line per problem, and what the SDKs' errors become."""

from __future__ import annotations

import argparse

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError

from tunestack import cli, errors, refusals
from tunestack.cli import Result
from tunestack.errors import CloudError, GateSaidNo, Interrupted, NotConfigured, TunestackError, UsageError


def run(raised: BaseException | None, argv: list[str] | None = None) -> int:
    def body(options: argparse.Namespace) -> Result:
        print("a dot of the SDK")
        if raised:
            raise raised
        return Result("handle", {"name": "record"})

    return cli.main(cli.Parser("test"), body, argv or [])


def test_the_tree_at_the_top_of_the_module_is_the_tree():
    kinds = [getattr(errors, line.split()[1]) for line in (errors.__doc__ or "").splitlines() if "──" in line]
    assert {kind.__name__: kind.code for kind in kinds} == {
        name: int(line.split()[2])
        for line in (errors.__doc__ or "").splitlines()
        if "──" in line
        for name in [line.split()[1]]
    }
    assert set(kinds) == set(TunestackError.__subclasses__())


def test_only_the_handle_reaches_stdout(capsys):
    assert run(None) == 0
    said = capsys.readouterr()
    assert said.out == "handle\n"
    assert "a dot of the SDK" in said.err


def test_json_gives_the_record(capsys):
    assert run(None, ["--json"]) == 0
    assert capsys.readouterr().out == '{\n  "name": "record"\n}\n'


def test_every_problem_is_a_line_of_its_own_and_the_fix_comes_last(capsys):
    assert run(UsageError("one", "two", fix="Do this")) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[1:] == ["error: one", "error: two. Do this"]


def test_a_fix_behind_a_question_is_a_sentence_of_its_own(capsys):
    assert run(UsageError("no 'a'; did you mean 'b'?", fix="Do this")) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: no 'a'; did you mean 'b'? Do this"


def test_an_error_has_no_traceback_without_debug(capsys):
    assert run(ZeroDivisionError("division by zero")) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert run(ZeroDivisionError("division by zero"), ["--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_names_the_command_that_attaches_again(capsys):
    assert run(Interrupted("interrupted; job 'x' goes on", fix="Watch it again with: this")) == 130
    assert "Watch it again with: this" in capsys.readouterr().err
    assert run(KeyboardInterrupt()) == 130


def test_an_unknown_flag_is_wrong_usage_and_one_line(capsys):
    assert run(None, ["--nope"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown argument '--nope'; known are ")


class Said:
    """As much of an HTTP answer as azure-core looks at."""

    def __init__(self, status: int) -> None:
        self.status_code, self.reason, self.headers = status, "reason", {}

    def text(self, encoding: str | None = None) -> str:
        return '{"error": {"code": "Code", "message": "the message"}}'


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (HttpResponseError("no", response=Said(403)), CloudError, "lacks the role"),
        (HttpResponseError("no", response=Said(409)), CloudError, "wait, or choose another name"),
        (ClientAuthenticationError("AADSTS7000215: wrong"), NotConfigured, "az login"),
        (FileNotFoundError(2, "no such file", "key.txt"), UsageError, "'key.txt' does not exist"),
        (
            PermissionError(13, "Permission denied", "key.txt"),
            UsageError,
            "'key.txt' cannot be used: Permission denied",
        ),
        (ZeroDivisionError("oops"), CloudError, "ZeroDivisionError: oops"),
    ],
)
def test_a_foreign_error_becomes_one_of_ours_with_the_fix(error, kind, said):
    found = refusals.explain(error)
    assert type(found) is kind
    assert said in str(found)


def test_a_dead_proxy_on_this_machine_asks_whether_the_local_cloud_runs(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    found = refusals.explain(ServiceRequestError("connection refused"))
    assert "Is `localcloud up` running?" in str(found)
    monkeypatch.delenv("HTTPS_PROXY")
    assert "Check the network" in str(refusals.explain(ServiceRequestError("no route")))


def test_our_own_error_is_found_beneath_a_foreign_one():
    outer = RuntimeError("outer")
    outer.__cause__ = GateSaidNo("inner")
    assert str(refusals.explain(outer)) == "inner"


@pytest.mark.parametrize(("status", "passing"), [(0, True), (429, True), (503, True), (404, False), (-1, False)])
def test_only_what_passes_is_asked_again(status, passing):
    assert CloudError("x", status=status).is_passing is passing


def test_401_is_a_matter_of_configuration():
    assert isinstance(refusals.refused(401, "expired", "GET 'x'"), NotConfigured)
