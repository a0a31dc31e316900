"""The playground: a local cloud with one workspace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import RunningCloud
from tests.localcloud.serving.playground import Playground


@pytest.fixture
def playground(local_cloud: RunningCloud) -> Iterator[Playground]:
    made = Playground(local_cloud)
    yield made
    made.close()
