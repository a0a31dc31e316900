"""`finetune_config.json`: what a model's publisher, or the user, says about fine-tuning that model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcloud.components.chat_completion.program import UserError, read_json

FILE = "finetune_config.json"
_TASK = "ChatCompletion"


@dataclass(frozen=True)
class FinetuneConfig:
    """The parts that the steps use; the file itself travels along whole."""

    response_template: str | None = None
    instruction_template: str | None = None
    lora_target_modules: list[str] | None = None
    system_role_supported: bool = True
    keep_base_image: bool = False
    trainer_args: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> FinetuneConfig:
        """From a folder; all defaults when it has no such file."""
        path = folder / FILE
        return cls.of(read_json(path)) if path.is_file() else cls()

    @classmethod
    def of(cls, written: dict[str, Any]) -> FinetuneConfig:
        """From the file's content. Version 2 keeps settings of the task in a section of their own."""
        flat = dict(written)
        if str(written.get("version")) == "2":
            flat.update((written.get("task_specific_config") or {}).get(_TASK) or {})
        tokens = _mapping(flat, "chat_special_tokens")
        return cls(
            response_template=tokens.get("response_template"),
            instruction_template=tokens.get("instruction_template"),
            lora_target_modules=flat.get("lora_target_modules"),
            system_role_supported=str(flat.get("system_role_supported", "true")).lower() != "false",
            keep_base_image=str(_mapping(flat, "inferencing_config").get("enable_vllm", "false")).lower() == "true",
            trainer_args=_mapping(flat, "hf_trainer_args"),
        )


def _mapping(flat: dict[str, Any], name: str) -> dict[str, Any]:
    found = flat.get(name) or {}
    if not isinstance(found, dict):
        raise UserError(f"'{name}' in {FILE} must be an object, not '{found}'.")
    return found
