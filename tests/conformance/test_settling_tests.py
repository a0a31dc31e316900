"""The tests that are written for a subscription run on the local cloud too: so they do not rot while nobody has one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from localcloud.cloud import SUBSCRIPTION
from tests.conftest import HANG_SECONDS

HERE = Path(__file__).parent / "azure"


def test_the_simulations_pass_the_tests_that_settle_them(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pytest", str(HERE / "test_simulations.py"), "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [sys.executable, "-m", "localcloud", "run", "--network", "internet", "--", *words],
        env={
            **os.environ,
            "LOCALCLOUD_STATE": str(tmp_path / "state"),
            "TUNESTACK_TEST_SUBSCRIPTION": SUBSCRIPTION,
            "PYTEST_ADDOPTS": "",  # of whoever runs these tests: the dots are counted
        },
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert int(re.findall(r"^[.]+", ran.stdout, re.MULTILINE)[0].count(".")) >= 17


def test_without_a_subscription_none_of_them_is_collected() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", str(HERE), "--collect-only", "-p", "no:cacheprovider"],
        env={name: value for name, value in os.environ.items() if name != "TUNESTACK_TEST_SUBSCRIPTION"},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert (ran.returncode, "test_simulations" in ran.stdout) == (5, False), ran.stdout
