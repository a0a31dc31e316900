"""The scoring script of an MLflow model without code: `{"input_data": …, "params": …}` in, the prediction out.

Run by `script_host` for every MLflow model but chat models, which have a server of their own. `input_data` is a
frame (`columns`, `index`, `data`), a list of records or of rows, or a dictionary of named tensors, as at Azure.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

MODEL: list[Any] = []


def init() -> None:
    """Load the model whose folder AZUREML_MODEL_DIR holds."""
    import mlflow.pyfunc

    root = Path(os.environ["AZUREML_MODEL_DIR"])
    folder = next(path.parent for path in sorted([*root.glob("MLmodel"), *root.glob("*/MLmodel")]))
    MODEL.append(mlflow.pyfunc.load_model(str(folder)))


def run(raw: str) -> Any:
    """The model's prediction, with the shapes that JSON can carry."""
    request = json.loads(raw)
    if not isinstance(request, dict) or "input_data" not in request:
        raise ValueError('The request must be a JSON object with the key "input_data".')
    model = MODEL[0]
    params = request.get("params")
    data = as_input(request["input_data"], signed=model.metadata.signature is not None)
    return as_plain(model.predict(data, params=params) if params else model.predict(data))


def as_input(data: Any, *, signed: bool) -> Any:
    """A frame for what looks like one; other values go to the model as they are."""
    import pandas  # type: ignore[import-untyped]

    if isinstance(data, dict) and "data" in data:
        return pandas.DataFrame(data["data"], columns=data.get("columns"), index=data.get("index"))
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        return pandas.DataFrame(data)
    if isinstance(data, list) and signed:
        return pandas.DataFrame(data)
    return data


def as_plain(prediction: Any) -> Any:
    """Frames as records, arrays as lists."""
    if hasattr(prediction, "to_dict") and hasattr(prediction, "columns"):
        return prediction.to_dict(orient="records")
    return prediction.tolist() if hasattr(prediction, "tolist") else prediction
