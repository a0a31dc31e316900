"""Checks of how rows become tokens: the chat template, the tokens that mark an answer, and the roles of the rows."""

from __future__ import annotations

from collections.abc import Mapping

from tunestack.preflight_subject import Finding, Subject

SCRIPT = "the component's preprocess, read 2026-07-31"
_TOKENS = ("response_template", "instruction_template")
KNOWN_ROLES = frozenset({"system", "user", "assistant"})


def template(subject: Subject) -> Finding:
    """Where answers begin is said by `chat_special_tokens`; a model of the hub brings none, and the step fails."""
    check, planned, model = "chat-template", subject.planned, subject.recipe.model
    if not model.is_hub and subject.recipe.finetune_config is None:
        said = f"'{model.name}' is a chat-completion model of its registry, which packages template and tokens"
        return Finding(check, "ok", said, "registry")
    schema = planned.schema
    if schema is not None and "finetune_config_path" not in schema.inputs:
        said = f"version {subject.recipe.pipeline.version} of the component takes no finetune_config"
        return Finding(check, "error", said, schema.source, "Take chat_completion_pipeline 0.0.82 or newer")
    if subject.recipe.finetune_config is None:
        said = f"'{model}' has no finetune_config: the component would end with 'Chat Special tokens are not set'"
        return Finding(check, "error", said, SCRIPT, "Write one, and name it under finetune_config")
    told = planned.config.get("chat_special_tokens")
    tokens = told if isinstance(told, Mapping) else {}
    missing = [name for name in _TOKENS if not tokens.get(name)]
    if missing:
        said = f"'{subject.recipe.finetune_config}' lacks {' and '.join(missing)} under chat_special_tokens"
        return Finding(check, "error", said, SCRIPT, "Say how the template begins an answer and a question")
    shown = ", ".join(f"{name} '{tokens[name]}'" for name in _TOKENS)
    return Finding(check, "ok", shown, f"'{subject.recipe.finetune_config}'")


def tokenizer(subject: Subject) -> Finding:
    """Whether the model's tokenizer and template could be had when the data was made; then rows were rendered by it."""
    check, data = "tokenizer", subject.data
    if data is None:
        return Finding(check, "not asked", "no data folder was given", fix="Name it with --data FOLDER")
    told = data.card.get("tokenizer")
    if not isinstance(told, Mapping) or not told.get("exact"):
        said = "the model's tokenizer was not at hand: whether its template takes every row shows only on the cluster"
        fix = "Prepare the data where the model can be fetched, or look at rows with prepare_data.py --show 3"
        return Finding(check, "warning", said, "card.json of the data folder", fix)
    if told.get("template") is False:
        said = f"the tokenizer of '{told.get('name')}' has no chat template: the component cannot render a row"
        return Finding(check, "error", said, "card.json of the data folder", "Take an instruct model")
    return Finding(check, "ok", f"rows were rendered by '{told.get('name')}'", "card.json of the data folder")


def roles(subject: Subject) -> Finding:
    """Roles that the template may refuse: any other than user and assistant, and system where the model has none."""
    check, data = "chat-roles", subject.data
    if data is None:
        return Finding(check, "not asked", "no data folder was given", fix="Name it with --data FOLDER")
    told = data.card.get("roles")
    if not isinstance(told, Mapping):
        said = "which roles the rows have is not known"
        return Finding(
            check, "warning", said, "card.json of the data folder", "Prepare it with scripts/prepare_data.py"
        )
    others = sorted(set(told) - KNOWN_ROLES)
    if others:
        said = f"rows have the roles {', '.join(others)}, and a template that does not know one fails the whole step"
        return Finding(check, "warning", said, SCRIPT, "See that the model's template takes them")
    no_system = str(subject.planned.config.get("system_role_supported", "true")).lower() == "false"
    if told.get("system") and no_system:
        said = (
            f"{int(told['system']):,} rows have a system message, and the model takes none (system_role_supported): "
            "it must be single and first, and is put before the first question"
        )
        return Finding(check, "warning", said, SCRIPT, "Leave system messages out, or look at them with --show 3")
    counts = ", ".join(f"{role} {int(count):,}" for role, count in told.items() if count)
    return Finding(check, "ok", counts or "user and assistant", "card.json of the data folder")
