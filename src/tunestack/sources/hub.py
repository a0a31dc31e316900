"""The Hugging Face hub: what a data set is at one commit, and ranges of its files; every refusal says what to do.

`HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean what they mean to `huggingface_hub`, which does the talking.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunestack.errors import CloudError, NotConfigured, TunestackError, UsageError, did_you_mean

CONVERTED = "refs/convert/parquet"
# How often a request is tried again after the connection broke or the hub said 429 or 5xx; waits grow from 1 to 8 s.
RETRIES = 5
_SECONDS = 60


@dataclass(frozen=True)
class Repository:
    """A data set at one commit: its files with their sizes in bytes, and what its card says."""

    name: str
    commit: str
    files: Mapping[str, int]
    card: Mapping[str, Any]


def repository(name: str, revision: str | None) -> Repository:
    """The data set at a revision (a branch, tag or commit; None: its main branch), resolved to the commit."""
    from huggingface_hub import HfApi

    try:
        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="tunestack")
        found = api.dataset_info(name, revision=revision, files_metadata=True, timeout=_SECONDS)
    except Exception as error:  # of whatever HTTP library huggingface_hub uses this year
        raise refused(name, revision, error) from error
    card = dict(vars(found.card_data)) if found.card_data else {}
    files = {item.rfilename: item.size or 0 for item in found.siblings or []}
    return Repository(name, str(found.sha), files, card)


def converted(name: str) -> Repository | None:
    """The hub's own conversion of a data set to Parquet; None where there is none."""
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        return repository(name, CONVERTED)
    except TunestackError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            return None
        raise


def fetch(found: Repository, file: str, start: int, end: int) -> bytes:
    """Bytes `start` to `end` (not included) of a file at the data set's commit."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # exported without saying so
        build_hf_headers,
        hf_raise_for_status,
        http_backoff,
    )

    url = hf_hub_url(
        found.name, file, repo_type="dataset", revision=found.commit, endpoint=os.environ.get("HF_ENDPOINT")
    )
    # Not compressed on the way: a range is one of the file's own bytes.
    headers = {
        **build_hf_headers(library_name="tunestack"),
        "Range": f"bytes={start}-{end - 1}",
        "Accept-Encoding": "identity",
    }
    try:
        answer = http_backoff(
            "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, max_retries=RETRIES
        )
        hf_raise_for_status(answer)
        content = bytes(answer.content)
    except Exception as error:  # of whatever HTTP library huggingface_hub uses this year
        raise refused(found.name, found.commit, error, file) from error
    size = found.files[file]
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if answer.status_code == 200 and (start, end) == (0, size) == (0, len(content)):
        return content
    if answer.status_code != 206:
        raise CloudError(f"the hub answered {answer.status_code} to a range of '{file}' of data set '{found.name}'")
    if len(content) != end - start or total not in ("", "*", str(size)):
        raise CloudError(
            f"file '{file}' of data set '{found.name}' changed while it was read: "
            f"{len(content):,} of {end - start:,} bytes came, of a file of {total or 'unknown'} bytes, not {size:,}",
            fix="Run this again",
        )
    return content


def refused(name: str, revision: str | None, error: Exception, file: str = "") -> TunestackError:
    """What went wrong, as an error that says what to do about it."""
    from huggingface_hub import errors, get_token

    if isinstance(error, TunestackError):
        return error
    page = f"https://huggingface.co/datasets/{name}"
    has_token = bool(get_token())
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, errors.HFValidationError):
        return UsageError(f"'{name}' is no name of a data set on the hub", fix="Write hub:OWNER/NAME")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return CloudError(
            f"data set '{name}' cannot be read: HF_HUB_OFFLINE is set",
            fix="Unset it, or name a local file or folder in data.source",
            status=0,
        )
    if isinstance(error, errors.GatedRepoError) or (
        status == 403 and not isinstance(error, errors.RepositoryNotFoundError)
    ):
        fix = f"Accept its conditions at {page} with the account of the token"
        if not has_token:
            fix = f"Accept its conditions at {page}, and set HF_TOKEN to a token of that account"
        return NotConfigured(f"data set '{name}' is gated, and the hub did not let us in", fix=fix)
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(
            f"data set '{name}' has no revision '{revision or 'main'}'",
            fix=f"Its branches, tags and commits are at {page}/tree",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotConfigured(
            f"data set '{name}' was not found on the hub: it does not exist, or is private",
            fix=f"Check its name at {page}"
            + ("; the account of HF_TOKEN may not see it" if has_token else "; for a private one, set HF_TOKEN"),
        )
    if isinstance(error, errors.EntryNotFoundError):
        return CloudError(f"data set '{name}' has no file '{file}' at {revision}", status=404)
    if status == 401:
        return NotConfigured(
            f"the hub does not know the token in HF_TOKEN, asked for data set '{name}'",
            fix="Make a new one at https://huggingface.co/settings/tokens",
        )
    said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    if status:
        return CloudError(
            f"the hub refused data set '{name}' with {status}: {said}",
            fix="Try again later" if status == 429 or status >= 500 else "",
            status=status,
        )
    host = _host(error)
    return CloudError(
        f"data set '{name}' cannot be read from the Hugging Face hub{f' ({host})' if host else ''}: {said}",
        fix="Check the network and run this again: what has been fetched is kept. Files come from other hosts than the "
        "data set's page, listed at https://huggingface.co/.well-known/meta.json; a local cloud opens one with: "
        f"localcloud run --allow {host or 'HOST'} -- COMMAND",
        status=0,
    )


def _host(error: Exception) -> str:
    """The host that a request went to, redirects followed; empty where the error does not say."""
    try:
        return str(getattr(error, "request", None).url.host)  # type: ignore[union-attr]
    except (AttributeError, RuntimeError):  # a property that raises where there is none
        return ""


def unknown(what: str, value: str, name: str, known: list[str]) -> UsageError:
    """A subset that a data set does not have."""
    return UsageError(
        f"data set '{name}' has no {what} '{value}'{did_you_mean(value, known)}",
        fix=f"Its {what}s are {', '.join(known[:20])}{', …' if len(known) > 20 else ''}" if len(known) > 12 else "",
    )
