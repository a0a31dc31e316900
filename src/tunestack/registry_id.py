"""The two names that a base model goes by, a registry asset and a model of the Hugging Face hub, each taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

_ASSET = re.compile(r"azureml://registries/([\w.-]+)/(models|components)/([\w.-]+)/(versions|labels)/([\w.-]+)")
_HUB = re.compile(r"hub:([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)")


@dataclass(frozen=True)
class RegistryId:
    """A registry asset, taken apart: `azureml://registries/R/models/M/versions/V` (or `/labels/latest`)."""

    registry: str
    kind: str
    name: str
    version: str
    is_label: bool = False
    is_hub: ClassVar[bool] = False

    @classmethod
    def parse(cls, text: str, kind: str) -> RegistryId:
        found = _ASSET.fullmatch(text)
        if not found or found[2] != kind:
            raise ValueError(f"'{text}' is not of the form azureml://registries/REGISTRY/{kind}/NAME/versions/VERSION")
        return cls(found[1], found[2], found[3], found[5], found[4] == "labels")

    def __str__(self) -> str:
        return f"azureml://registries/{self.registry}/{self.kind}/{self.name}/{self._which}/{self.version}"

    @property
    def _which(self) -> str:
        return "labels" if self.is_label else "versions"


@dataclass(frozen=True)
class HubId:
    """A model of the Hugging Face hub, `hub:OWNER/NAME`: the component takes no revision, so none can be named."""

    owner: str
    name: str
    is_label: ClassVar[bool] = False
    is_hub: ClassVar[bool] = True

    @classmethod
    def parse(cls, text: str) -> HubId:
        found = _HUB.fullmatch(text)
        if not found:
            raise ValueError(f"'{text}' is not of the form hub:OWNER/NAME")
        return cls(found[1], found[2])

    @property
    def id(self) -> str:
        """As the hub and the component's input `huggingface_id` have it."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        return f"hub:{self.id}"


BaseModelId = RegistryId | HubId


def parse_base_model(text: str) -> BaseModelId:
    """A base model's name taken apart; ValueError where it is neither form."""
    if text.startswith("hub:"):
        return HubId.parse(text)
    try:
        return RegistryId.parse(text, "models")
    except ValueError as error:
        raise ValueError(f"{error}, nor hub:OWNER/NAME") from None
