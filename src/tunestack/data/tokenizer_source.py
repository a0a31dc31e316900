"""Finds the tokenizer of a recipe's base model: where it is named, in its registry, or on the hub.

Only the few files of a tokenizer travel, never weights. Where none can be had, it says why and returns None: whoever
counts tokens then estimates.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tunestack import azure_facts
from tunestack.cli import note
from tunestack.errors import TunestackError, UsageError
from tunestack.registry_id import HubId, RegistryId

if TYPE_CHECKING:
    from tunestack.data.chat_tokenizer import ChatTokenizer
    from tunestack.recipes.recipe import Recipe

VARIABLE = "TUNESTACK_TOKENIZER"
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def find(found: Recipe | None, named: str | None) -> ChatTokenizer | None:
    """The tokenizer that `named` says, else the variable's, else the base model's; what was named must be there."""
    from tunestack.data.chat_template import NoChatTemplate
    from tunestack.data.chat_tokenizer import ChatTokenizer
    from tunestack.recipes import architecture

    limit = _limit(found)
    config = architecture.finetune_config(found) if found and found.finetune_config_file else None
    wanted = named or os.environ.get(VARIABLE)
    if wanted:
        if Path(wanted).is_dir():
            return ChatTokenizer(Path(wanted), "", config, limit)
        return ChatTokenizer(_of_hub(wanted.removeprefix("hub:")), wanted, config, limit)
    if found is None:
        return None
    try:
        if isinstance(found.model, HubId):
            return ChatTokenizer(_of_hub(found.model.id), str(found.model), config, limit)
        with tempfile.TemporaryDirectory() as place:
            _fetch(found.model, Path(place))
            return ChatTokenizer(Path(place), str(found.model), config, limit)
    except NoChatTemplate:
        raise
    except (TunestackError, OSError) as error:
        note(f"the tokenizer of '{found.base_model}' cannot be had, tokens are estimated: {error}")
        return None


def _limit(found: Recipe | None) -> int:
    """`max_seq_length` as the run has it, the model's own default included; -1 where nobody says it."""
    from tunestack.recipes import model_defaults

    value = model_defaults.merged(found).get("max_seq_length", -1) if found else -1
    try:
        return int(value)
    except ValueError as error:
        raise UsageError(f"training.max_seq_length '{value}' is not a whole number") from error


def _fetch(model: RegistryId, folder: Path) -> None:
    """From the registry, each time: what it answers depends on the cloud that is asked."""
    from tunestack.registry_files import download

    on_hub = azure_facts.facts()["architectures"].get(model.name, {}).get("hub")
    instead = f"Give it with --tokenizer {on_hub or 'PLACE'}"
    if model.is_label:
        raise UsageError("its version is not named", fix=instead)
    if not _has_login():
        raise UsageError("there is no login for the registry", fix=f"Log in with az login. {instead}")
    download(model, folder)


def _of_hub(name: str) -> Path:
    """A model of the hub: its tokenizer's files, kept."""
    if name.count("/") != 1:
        raise UsageError(f"'{name}' is no folder with a tokenizer, and no OWNER/NAME of the hub")
    kept = _cache() / "hub" / name
    return kept if _is_kept(kept) else _keep(kept, lambda folder: _download(name, folder))


def _download(name: str, folder: Path) -> None:
    """Fetch the files that there are; a gated model needs HF_TOKEN."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for file in FILES:
        try:
            hf_hub_download(name, file, local_dir=folder)
        except Exception as error:  # of whatever HTTP library the hub's client uses this year
            # The hub's word that there is no such file, which one that is not reached (Local…) does not give.
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            said = " ".join(str(error).split())[:160].rstrip(".")
            raise UsageError(f"the tokenizer of '{name}' cannot be read from the Hugging Face hub: {said}") from error
    if not (folder / FILES[0]).is_file():
        raise UsageError(f"'{name}' on the Hugging Face hub has no {FILES[0]}", fix="Convert it, see docs/data.md")
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _keep(kept: Path, fetch: Callable[[Path], None]) -> Path:
    with _fresh(kept) as folder:
        fetch(folder)
        folder.chmod(0o755)
        if not _is_kept(kept):
            shutil.rmtree(kept, ignore_errors=True)
            os.rename(folder, kept)
    return kept


def _is_kept(folder: Path) -> bool:
    return (folder / FILES[0]).is_file()


@contextmanager
def _fresh(kept: Path) -> Iterator[Path]:
    kept.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".", dir=kept.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cache() -> Path:
    given = os.environ.get("TUNESTACK_CACHE")
    root = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunestack"
    return root / "tokenizers"


def _has_login() -> bool:
    """Whether a credential is likely to be there: without one, trying them all takes seconds."""
    variables = ("AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT", "MSI_ENDPOINT")
    profile = Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure") / "azureProfile.json"
    return any(os.environ.get(name) for name in variables) or profile.is_file()
