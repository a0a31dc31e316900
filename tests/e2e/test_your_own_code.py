"""The script of docs/your-own-code.md, as it stands there, runs on the local cloud as a user would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import HANG_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "your-own-code.md"


def test_code_written_against_the_public_sdk_runs_unchanged(tmp_path: Path) -> None:
    blocks = re.findall(r"<!-- script -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 5
    (tmp_path / "your_script.py").write_text("\n".join(blocks))
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AZUREML_RUN_POLLING_INTERVAL_MAX": "2",
    }
    # As on the page: a server in the background, then the two commands against it.
    ready = "while kill -0 $server && ! localcloud env >/dev/null 2>&1; do :; done"
    commands = f"""
        localcloud up & server=$!
        {ready}
        localcloud workspace playground && localcloud run -- python your_script.py
        status=$?
        kill $server; wait $server
        exit $status
    """
    done = subprocess.run(
        ["bash", "-c", commands], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=3 * HANG_SECONDS
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    for expected in (
        "the total is 55",
        "\n55\n",
        "[('doubled', 'Completed'), ('picked', 'Completed')]",
        # The SDK's dots of waiting may stand before it on the line.
        "9 1\n",
        '"larger": true, "by": "green"',
    ):
        assert expected in done.stdout
