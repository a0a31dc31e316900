"""Pulumi's gRPC resource provider `azure-native` on the local cloud: its calls taken apart and answered.

One server answers every engine that attaches; what belongs to one engine is kept by its connection. The work on a
single resource is in `lifecycle`.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from localcloud.cloud import SUBSCRIPTION
from localcloud.engine import values
from localcloud.engine.arm_client import DEFAULT_TIMEOUT, ArmClient, Patience, RequestError
from localcloud.engine.caller import principal_of
from localcloud.engine.lifecycle import InitFailedError, Lifecycle, RefusedError, require_reserved
from localcloud.engine.naming import CREATE_BEFORE_DELETE, Proposal
from localcloud.engine.table import UnknownTypeError
from localcloud.engine.values import UnsupportedValueError

CLIENT_CONFIG = "azure-native:authorization:getClientConfig"
REMEMBERED_ENGINES = 256  # connections; that one has closed is not told
MODES: Mapping[int, Any] = {0: "propose", 1: "enforce", 2: "disable"}
DIFF_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}

Answer = TypeVar("Answer")


@dataclass
class Session:
    """What one attached engine has said: where it listens, its provider configuration, and as whom it acts."""

    arm: ArmClient
    engine: str = ""
    location: str | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    @functools.cached_property
    def lifecycle(self) -> Lifecycle:
        return Lifecycle(self.arm)


def provider_version() -> str:
    """The pinned package's version, marked: the state shows which resources a local cloud made."""
    return f"{version('pulumi-azure-native')}+local"


def _refuses(method: Callable[..., Answer]) -> Callable[..., Answer]:
    """Turns what the provider or the local cloud refuses into the one error that the engine shows."""

    @functools.wraps(method)
    def answer(self: Provider, request: Any, context: grpc.ServicerContext) -> Answer:
        try:
            return method(self, request, context)
        except InitFailedError as error:
            context.abort_with_status(_init_failed(error))
        except (RequestError, RefusedError, UnknownTypeError, UnsupportedValueError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        raise AssertionError("abort does not return")

    return answer


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The servicer; every method is one call of Pulumi's provider protocol."""

    def __init__(self, arm: ArmClient) -> None:
        self._arm = arm
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    # -- the connection and its configuration ----------------------------------------------------------------

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self._sessions[context.peer()] = Session(self._arm, engine=request.engine_address)
            while len(self._sessions) > REMEMBERED_ENGINES:
                self._sessions.popitem(last=False)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def Attach(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._session(context).engine = request.address
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=provider_version())

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            "the local cloud's azure-native has no schema: use the official provider for `pulumi import` of code, "
            "`pulumi package` and `pulumi convert`",
        )

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        failures = []
        try:
            _configured(request.news)
        except RefusedError as error:
            failures.append(provider_pb2.CheckFailure(property="subscriptionId", reason=str(error)))
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    @_refuses
    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:
        session = self._session(context)
        session.location = _configured(request.args).get("location")
        session.arm = self._arm.acting_as(principal_of(context.peer(), self._arm.principal))
        session.__dict__.pop("lifecycle", None)
        self._show_banner(session)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._session(context).cancelled.set()
        return empty_pb2.Empty()

    @_refuses
    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.tok != CLIENT_CONFIG:
            raise RefusedError(f"the local cloud has no function '{request.tok}'. It has: '{CLIENT_CONFIG}'.")
        arm = self._session(context).arm
        principal = arm.principal
        answer = {
            "clientId": principal.client_id,
            "objectId": arm.object_id(),
            "subscriptionId": principal.subscription_id,
            "tenantId": principal.tenant_id,
        }
        # `return` is the field's name in the protocol, and a word of Python's
        return provider_pb2.InvokeResponse(**{"return": values.write(answer)})

    # -- resources -------------------------------------------------------------------------------------------

    @_refuses
    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        session = self._session(context)
        proposal = None
        if request.HasField("autonaming"):
            proposal = Proposal(request.autonaming.proposed_name, MODES[request.autonaming.mode])
        checked = session.lifecycle.check(
            _type(request),
            _name(request),
            values.read(request.olds),
            values.read(request.news),
            seed=request.randomSeed,
            proposal=proposal,
            location=session.location,
            patience=self._patience(context, 0),
        )
        failures = [
            provider_pb2.CheckFailure(property=problem.member, reason=problem.reason) for problem in checked.problems
        ]
        return provider_pb2.CheckResponse(inputs=values.write(checked.inputs), failures=failures)

    @_refuses
    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:
        old, new = values.read(request.old_inputs), values.read(request.news)
        changes = self._session(context).lifecycle.diff(_type(request), old, new)
        if not changes:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
        replaces = [change.path for change in changes if change.replaces]
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME,
            replaces=replaces,
            deleteBeforeReplace=bool(replaces) and not values.plain(old.get(CREATE_BEFORE_DELETE, False)),
            diffs=sorted({change.path.partition(".")[0].partition("[")[0] for change in changes}),
            detailedDiff={
                change.path: provider_pb2.PropertyDiff(kind=DIFF_KINDS[change.kind, change.replaces], inputDiff=True)
                for change in changes
            },
            hasDetailedDiff=True,
        )

    @_refuses
    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        inputs = values.read(request.properties)
        if request.preview:
            outputs = self._session(context).lifecycle.preview_create(_type(request), inputs)
            return provider_pb2.CreateResponse(properties=values.write(outputs))
        made = self._session(context).lifecycle.create(_type(request), inputs, self._patience(context, request.timeout))
        return provider_pb2.CreateResponse(id=made.id, properties=values.write(made.outputs))

    @_refuses
    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:
        found = self._session(context).lifecycle.read(
            _type(request),
            request.id,
            values.read(request.inputs),
            values.read(request.properties),
            self._patience(context, request.timeout),
        )
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=found.id, properties=values.write(found.outputs), inputs=values.write(found.inputs)
        )

    @_refuses
    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        inputs, old = values.read(request.news), values.read(request.olds)
        if request.preview:
            outputs = self._session(context).lifecycle.preview_update(_type(request), inputs, old)
        else:
            patience = self._patience(context, request.timeout)
            outputs = self._session(context).lifecycle.update(_type(request), request.id, inputs, patience).outputs
        return provider_pb2.UpdateResponse(properties=values.write(outputs))

    @_refuses
    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._session(context).lifecycle.delete(_type(request), request.id, self._patience(context, request.timeout))
        return empty_pb2.Empty()

    # -- what one engine has said ------------------------------------------------------------------------------

    def _session(self, context: grpc.ServicerContext) -> Session:
        with self._lock:
            return self._sessions.setdefault(context.peer(), Session(self._arm))

    def _patience(self, context: grpc.ServicerContext, seconds: float) -> Patience:
        return Patience(self._session(context).cancelled, seconds or DEFAULT_TIMEOUT)

    def _show_banner(self, session: Session) -> None:
        """Shows for a moment, in the engine's own display, that this is no Azure."""
        if not session.engine:
            return
        with grpc.insecure_channel(session.engine) as channel:
            engine_pb2_grpc.EngineStub(channel).Log(
                engine_pb2.LogRequest(
                    severity=engine_pb2.INFO,
                    message=f"azure-native {provider_version()}: the local cloud answers, not Azure",
                    ephemeral=True,
                )
            )


def _configured(args: Any) -> dict[str, Any]:
    """The provider's configuration, as long as it names no subscription but the reserved one."""
    config: dict[str, Any] = values.plain(values.read(args))
    subscription = config.get("subscriptionId") or SUBSCRIPTION
    if isinstance(subscription, str):
        require_reserved(f"/subscriptions/{subscription}")
    return config


def _type(request: Any) -> str:
    """The type token; older engines put it in the URN only."""
    return request.type or str(request.urn).split("::")[2].rpartition("$")[2]


def _name(request: Any) -> str:
    return request.name or str(request.urn).split("::", 3)[3]


class _Status(grpc.Status):  # type: ignore[misc]
    """A gRPC status with details, which travel in the trailing metadata."""

    def __init__(self, message: str, details: bytes) -> None:
        self.code = grpc.StatusCode.UNKNOWN
        self.details = message
        self.trailing_metadata = (("grpc-status-details-bin", details),)


def _init_failed(error: InitFailedError) -> grpc.Status:
    """The resource exists and is in the state, but is not what was asked for; the next `up` repairs it."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=error.id,
            properties=values.write(error.outputs),
            inputs=values.write(error.inputs),
            reasons=[str(error)],
        )
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[detail])
    return _Status(str(error), status.SerializeToString())
