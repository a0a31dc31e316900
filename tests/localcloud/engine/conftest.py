"""A fake ARM, a provider on it behind a real gRPC channel, and small Pulumi projects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from localcloud.engine import values
from localcloud.engine.arm_client import ArmClient, Patience, Principal
from localcloud.engine.host import Serving, serve
from tests.localcloud.engine.fake_arm import FakeArm, serving

PRINCIPAL = Principal("client", "secret", "tenant", "00000000-0000-0000-0000-000000000000")


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    with serving() as found:
        yield found


@pytest.fixture
def client(arm: FakeArm) -> Iterator[ArmClient]:
    made = ArmClient(arm.url, None, PRINCIPAL)
    yield made
    made.close()


@pytest.fixture
def patience() -> Patience:
    return Patience(threading.Event(), 20)


@pytest.fixture
def engine_side(arm: FakeArm) -> Iterator[Serving]:
    """Provider and language host on the fake ARM."""
    made = serve(arm.url, None)
    yield made
    made.stop()


class ProviderClient:
    """Pulumi's side of the provider protocol, in plain values."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = provider_pb2_grpc.ResourceProviderStub(channel)
        self.stub.Handshake(provider_pb2.ProviderHandshakeRequest())
        self.stub.Attach(plugin_pb2.PluginAttach())

    def configure(self, **config: Any) -> Any:
        return self.stub.Configure(provider_pb2.ConfigureRequest(args=values.write(config)))

    def check(self, token: str, name: str, inputs: Any, old: Any = None, **more: Any) -> Any:
        answer = self.stub.Check(
            provider_pb2.CheckRequest(
                **_who(token, name),
                news=values.write(inputs),
                olds=values.write(old or {}),
                randomSeed=b"seed",
                **more,
            )
        )
        return values.read(answer.inputs), [(failure.property, failure.reason) for failure in answer.failures]

    def diff(self, token: str, old: Any, new: Any) -> Any:
        return self.stub.Diff(
            provider_pb2.DiffRequest(**_who(token), old_inputs=values.write(old), news=values.write(new))
        )

    def create(self, token: str, inputs: Any, *, preview: bool = False) -> tuple[str, Any]:
        answer = self.stub.Create(
            provider_pb2.CreateRequest(**_who(token), properties=values.write(inputs), preview=preview)
        )
        return answer.id, values.read(answer.properties)

    def read(self, token: str, resource: str, inputs: Any, state: Any) -> tuple[str, Any, Any]:
        answer = self.stub.Read(
            provider_pb2.ReadRequest(
                **_who(token), id=resource, inputs=values.write(inputs), properties=values.write(state)
            )
        )
        return answer.id, values.read(answer.inputs), values.read(answer.properties)

    def update(self, token: str, resource: str, inputs: Any, state: Any, *, preview: bool = False) -> Any:
        answer = self.stub.Update(
            provider_pb2.UpdateRequest(
                **_who(token),
                id=resource,
                news=values.write(inputs),
                olds=values.write(state),
                preview=preview,
            )
        )
        return values.read(answer.properties)

    def delete(self, token: str, resource: str) -> None:
        self.stub.Delete(provider_pb2.DeleteRequest(**_who(token), id=resource))


def _who(token: str, name: str = "thing") -> dict[str, str]:
    token = token if token.startswith("azure-native:") else f"azure-native:{token}"
    return {"urn": f"urn:pulumi:local::tiny::{token}::{name}", "type": token, "name": name}


@pytest.fixture
def connect(engine_side: Serving) -> Iterator[Callable[[], ProviderClient]]:
    """Attaches one more engine to the provider."""
    channels: list[grpc.Channel] = []

    def made() -> ProviderClient:
        channel = grpc.insecure_channel(f"127.0.0.1:{engine_side.provider}", [("grpc.use_local_subchannel_pool", 1)])
        channels.append(channel)
        return ProviderClient(channel)

    yield made
    for channel in channels:
        channel.close()


@pytest.fixture
def provider(connect: Callable[[], ProviderClient]) -> ProviderClient:
    return connect()
