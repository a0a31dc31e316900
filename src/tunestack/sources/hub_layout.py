"""Which files of a data set on the hub are of which split: by its card, by the hub's conversion, or by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tunestack.errors import UsageError
from tunestack.sources import data_file, hub
from tunestack.sources.hub import Repository
from tunestack.sources.local_data import named_splits

# As the hub lays out its conversions: default/train/0000.parquet; partial-train where it stopped at 5 GB.
_CONVERSION = re.compile(r"([^/]+)/([^/]+)/\d{4,}\.parquet")
_NOT_ROWS = {"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"}
Named = Mapping[str, Sequence[str]]


def named(repository: Repository, subset: str | None) -> Named:
    """Files by split: as the card's `configs` say, else as a conversion is laid out, else by their names."""
    files = [file for file in repository.files if data_file.kind(file)[0] and not file.startswith(".")]
    configs = [item for item in repository.card.get("configs") or [] if isinstance(item, dict)]
    configs = [item for item in configs if item.get("data_files")]
    if configs and any(file for item in configs for file in _matching(item["data_files"], item, files)):
        config = _config(repository.name, configs, subset)
        return {
            split: found
            for split, patterns in _patterns(config["data_files"]).items()
            if (found := _globbed(patterns, config, files))
        }
    if files and all(_CONVERSION.fullmatch(file) for file in files):
        return of_conversion(repository, subset)
    if subset is not None:
        inside = [file for file in files if subset in PurePosixPath(file).parts[:-1]]
        if not inside:
            folders = sorted({part for file in files for part in PurePosixPath(file).parts[:-1]})
            raise hub.unknown("subset", subset, repository.name, folders)
        files = inside
    named = named_splits(PurePosixPath(file) for file in _of_main_form(files))
    return {split: [str(file) for file in found] for split, found in named.items()}


def _of_main_form(files: Sequence[str]) -> list[str]:
    """The files of the form that most have, Parquet first among equals: one table of figures makes no data set."""
    rows = [file for file in files if PurePosixPath(file).name not in _NOT_ROWS]
    forms = [data_file.kind(file)[0] for file in rows]
    main = max(dict.fromkeys(forms), key=lambda form: (forms.count(form), form == "parquet"), default="")
    return [file for file, form in zip(rows, forms, strict=True) if form == main]


def _config(name: str, configs: Sequence[Mapping[str, Any]], subset: str | None) -> Mapping[str, Any]:
    known = {str(item.get("config_name", "default")): item for item in configs}
    if subset is not None:
        if subset not in known:
            raise hub.unknown("subset", subset, name, list(known))
        return known[subset]
    default = next((item for item in configs if item.get("default")), known.get("default"))
    if default is None and len(configs) == 1:
        default = configs[0]
    if default is None:
        raise _subset_needed(name, list(known))
    return default


def of_conversion(repository: Repository, subset: str | None) -> Named:
    found: dict[str, dict[str, list[str]]] = {}
    for file in sorted(repository.files):
        if match := _CONVERSION.fullmatch(file):
            found.setdefault(match[1], {}).setdefault(match[2], []).append(file)
    if subset is not None and found:
        if subset not in found:
            raise hub.unknown("subset", subset, repository.name, list(found))
        return found[subset]
    if len(found) > 1 and "default" not in found:
        raise _subset_needed(repository.name, list(found))
    return found.get("default") or next(iter(found.values()), {})


def _subset_needed(name: str, known: list[str]) -> UsageError:
    return UsageError(
        f"data set '{name}' has {len(known)} subsets and none is named",
        fix=f"Set data.subset to one of {', '.join(known[:20])}{', …' if len(known) > 20 else ''}",
    )


def _patterns(data_files: Any) -> Mapping[str, Sequence[str]]:
    """The `data_files` of a card: one pattern, a list of them, or a list of split and path."""
    if isinstance(data_files, Mapping):
        return {str(split): _listed(paths) for split, paths in data_files.items()}
    listed = _listed(data_files)
    if listed and isinstance(listed[0], Mapping):
        return {str(item.get("split", "train")): _listed(item.get("path")) for item in listed}
    return {"train": listed}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _matching(data_files: Any, config: Mapping[str, Any], files: Sequence[str]) -> list[str]:
    return [file for patterns in _patterns(data_files).values() for file in _globbed(patterns, config, files)]


def _globbed(patterns: Sequence[str], config: Mapping[str, Any], files: Sequence[str]) -> list[str]:
    from fsspec.utils import glob_translate  # type: ignore[import-untyped]

    folder = str(config.get("data_dir") or "").strip("/")
    wanted = [f"{folder}/{pattern}" if folder else str(pattern) for pattern in patterns]
    shapes = [re.compile(glob_translate(pattern.removeprefix("./"))) for pattern in wanted]
    return sorted(file for file in files if any(shape.match(file) for shape in shapes))
