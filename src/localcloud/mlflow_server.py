"""The child process that is the MLflow server: MLflow's own application and web page, with a store that keeps run ids.

Azure's run id is the job's name, so a run created with the tag `localcloud.runId` gets that id; MLflow would make
one up. Started by `localcloud.tracking` as `python -m localcloud.mlflow_server DESCRIPTOR FOLDER PORT`.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from localcloud.cloud import KEEP_ALIVE_SECONDS
from localcloud.processes import end_with_parent
from localcloud.tracking import ARTIFACT_TAG, RUN_ID_TAG


def make_store(store_uri: str, artifact_uri: str | None) -> Any:
    """MLflow's SQL store, except that a run may bring its own id and artifact location as tags."""
    # MLflow's functions are not annotated: its modules are taken as Any.
    entities: Any = import_module("mlflow.entities")
    models: Any = import_module("mlflow.store.tracking.dbmodels.models")
    store: Any = import_module("mlflow.store.tracking.sqlalchemy_store")
    exceptions: Any = import_module("mlflow.exceptions")
    codes: Any = import_module("mlflow.protos.databricks_pb2")

    class NamedRunStore(store.SqlAlchemyStore):  # type: ignore[misc]
        def create_run(
            self, experiment_id: str, user_id: str, start_time: int, tags: Sequence[Any], run_name: str | None
        ) -> Any:
            given = {tag.key: tag.value for tag in tags or ()}
            run_id, location = given.pop(RUN_ID_TAG, None), given.pop(ARTIFACT_TAG, None)
            kept = [entities.RunTag(key, value) for key, value in given.items()]
            if run_id is None:
                made = super().create_run(experiment_id, user_id, start_time, kept, run_name)
                if location is None:
                    return made
                with self.ManagedSessionMaker(read_only=False) as session:
                    row = session.get(models.SqlRun, made.info.run_id)
                    row.artifact_uri = location.replace("{run}", made.info.run_id)
                return self.get_run(made.info.run_id)
            with self.ManagedSessionMaker(read_only=False) as session:
                if session.get(models.SqlRun, run_id) is not None:
                    raise exceptions.MlflowException(f"Run '{run_id}' exists already.", codes.RESOURCE_ALREADY_EXISTS)
                name = run_name or given.get("mlflow.runName") or run_id
                row = models.SqlRun(
                    run_uuid=run_id,
                    name=name,
                    artifact_uri=(location or "").replace("{run}", run_id),
                    experiment_id=experiment_id,
                    source_type=entities.SourceType.to_string(entities.SourceType.JOB),
                    source_name="",
                    entry_point_name="",
                    source_version="",
                    user_id=user_id,
                    status=entities.RunStatus.to_string(entities.RunStatus.RUNNING),
                    start_time=start_time,
                    end_time=None,
                    deleted_time=None,
                    lifecycle_stage=entities.LifecycleStage.ACTIVE,
                )
                row.tags = [
                    models.SqlTag(key=key, value=value) for key, value in {**given, "mlflow.runName": name}.items()
                ]
                session.add(row)
                entity = row.to_mlflow_entity()
            return entities.Run(entity.info, entity.data, entities.RunInputs(dataset_inputs=[]))

    return NamedRunStore(store_uri, artifact_uri)


def main(descriptor: int, folder: Path, port: int) -> None:
    end_with_parent()
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "artifacts"),
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port},localhost:{port}",
        }
    )
    import uvicorn

    handlers: Any = import_module("mlflow.server.handlers")

    handlers._tracking_store_registry.register("sqlite", make_store)
    handlers._get_tracking_store()
    from mlflow.server.fastapi_app import app

    config = uvicorn.Config(
        app,
        log_level="warning",
        http="httptools",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
