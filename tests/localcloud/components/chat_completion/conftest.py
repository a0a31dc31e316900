"""A tiny model imported, ready for the steps after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.components.chat_completion.model_import import BaseModel, import_model
from tests.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "mlflow_model_folder")


@pytest.fixture
def imported(tiny_model: Path, tmp_path: Path) -> Path:
    import_model(BaseModel(mlflow_model_path=tiny_model), tmp_path / "imported")
    return tmp_path / "imported"
