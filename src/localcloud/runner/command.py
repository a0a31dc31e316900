"""A step's command line: inputs and outputs put in the place of `${{…}}`, optional `$[[…]]` fragments kept or dropped.

Values are put in as they are, as Azure does: quoting is the author's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACE = re.compile(r"\$\{\{\s*(inputs|outputs)\.([A-Za-z_]\w*)(?:\.path)?\s*\}\}")
_FRAGMENT = re.compile(r"\$\[\[(.*?)\]\]", re.S)
_ANY_PLACE = re.compile(r"\$\{\{(.*?)\}\}", re.S)


class CommandError(Exception):
    """A command that names something that the job does not have."""


def check_command(command: str, inputs: set[str], outputs: set[str]) -> list[str]:
    """What is wrong with a command, given the names that its job declares."""
    problems = []
    for found in _ANY_PLACE.finditer(command):
        place = _PLACE.fullmatch(found[0])
        if place is None:
            problems.append(f"The command holds '{found[0]}', which is neither an input nor an output.")
        elif place[2] not in (inputs if place[1] == "inputs" else outputs):
            problems.append(f"The command names '{found[0]}', but the job has no {place[1][:-1]} '{place[2]}'.")
    return problems


def render(command: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """The line for the shell. An optional fragment vanishes when one of its inputs has no value."""
    values = {"inputs": inputs, "outputs": outputs}

    def keep_or_drop(fragment: re.Match[str]) -> str:
        complete = all(found[2] in values[found[1]] for found in _PLACE.finditer(fragment[1]))
        return fragment[1] if complete else ""

    def put_in(found: re.Match[str]) -> str:
        if found[2] not in values[found[1]]:
            raise CommandError(f"The command needs {found[1][:-1]} '{found[2]}', which has no value.")
        return values[found[1]][found[2]]

    return _PLACE.sub(put_in, _FRAGMENT.sub(keep_or_drop, command))
