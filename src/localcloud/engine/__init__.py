"""The Pulumi engine's side of the local cloud: finds or builds `pulumi`, and serves its provider and language host."""

from localcloud.engine.find import Engine, EngineError, find
from localcloud.engine.variables import environment

__all__ = ["Engine", "EngineError", "environment", "find"]
