"""Checks of how rows become tokens: the chat template, the tokens that mark an answer, and the roles of the rows."""

from __future__ import annotations

from collections.abc import Mapping

from tunestack import azure_facts
from tunestack.preflight.models_checks import LIVE, table_source
from tunestack.preflight.preflight_subject import Finding, Subject

SCRIPT = "the component's preprocess, read 2026-07-31"
_TOKENS = ("response_template", "instruction_template")


def template(subject: Subject) -> Finding:
    """Where answers begin is said by `chat_special_tokens`; a model of the hub brings none, and the step fails."""
    check, planned, model = "chat-template", subject.planned, subject.recipe.model
    if not model.is_hub and subject.recipe.finetune_config is None:
        said = f"'{model.name}' is a chat-completion model of its registry, which packages template and tokens"
        live = subject.live.model(model) if subject.live else None
        if live and live.is_chat:
            return Finding(check, "ok", said, LIVE)
        if fact := azure_facts.facts()["models"].get(model.name):
            return Finding(check, "ok", said, table_source(fact))
        said = f"nobody at hand says whether '{model.name}' is a chat-completion model, with a template and its tokens"
        return Finding(check, "unknown", said, table_source(None), "See its card, or write a finetune_config")
    schema = planned.schema
    if schema is not None and "finetune_config_path" not in schema.inputs:
        said = f"version {subject.recipe.pipeline.version} of the component takes no finetune_config"
        return Finding(check, "error", said, schema.source, "Take chat_completion_pipeline 0.0.82 or newer")
    if subject.recipe.finetune_config is None:
        said = f"'{model}' has no finetune_config: the component would end with 'Chat Special tokens are not set'"
        return Finding(check, "error", said, SCRIPT, "Write one, and name it under finetune_config")
    tokens = planned.config.get("chat_special_tokens") or {}
    missing = [name for name in _TOKENS if not tokens.get(name)]
    if missing:
        said = f"'{subject.recipe.finetune_config}' lacks {' and '.join(missing)} under chat_special_tokens"
        return Finding(check, "error", said, SCRIPT, "Say how the template begins an answer and a question")
    shown = ", ".join(f"{name} '{tokens[name]}'" for name in _TOKENS)
    return Finding(check, "ok", shown, f"'{subject.recipe.finetune_config}'")


def roles(subject: Subject) -> Finding:
    """Whether the template takes every row: one that it refuses fails the whole step."""
    check, data, source = "chat-roles", subject.data, "card.json of the data folder"
    if data is None:
        return Finding(check, "not asked", "no data folder was given", fix="Name it with --data FOLDER")
    told = data.card.get("tokens")
    counted = told if isinstance(told, Mapping) else {}
    if not counted.get("tokenizer"):
        said = "the model's chat template was not at hand: whether it takes the roles of every row shows on the cluster"
        fix = "Prepare the data where the model can be fetched, and look at rows with prepare_data.py --show 3"
        return Finding(check, "warning", said, source, fix)
    refused, seen = int(counted.get("refused_rows") or 0), int(counted.get("sampled_rows") or 0)
    if refused:
        said = f"the chat template refuses {refused:,} of {seen:,} rows, and one such row fails the preprocessing"
        return Finding(
            check, "error", said, source, "Mend those rows: prepare_data.py --show 3 shows what the model reads"
        )
    said = f"the template of '{counted['tokenizer']}' takes all {seen:,} rows that were rendered"
    if str(subject.planned.config.get("system_role_supported", "true")).lower() == "false":
        said += "; a system message is put before the first question, as system_role_supported is false"
    return Finding(check, "ok", said, source)
