"""Mapping whole Arrow columns to prompt, prompt_id and messages, without a Python object for each cell.

It maps what the types of the columns allow, and says which rows it could not; the reason is `formats`' to give.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from tunestack.sources.batches import schema
from tunestack.sources.formats import SPEAKERS, Format

if TYPE_CHECKING:
    import numpy
    import pyarrow

    Mask = numpy.ndarray[Any, numpy.dtype[numpy.bool_]]


def mapped(table: pyarrow.RecordBatch, found: Format) -> tuple[pyarrow.RecordBatch, Mask | None] | None:
    """The good rows in the schema of `batches`, and which rows these are (None: all).

    None where the columns' types do not allow it, so that each row has to be looked at.
    """
    made = _turns(table, found) if found.role else _pairs(table, found)
    if made is None:
        return None
    messages, good = made
    if not good.all():
        keep = _array(good)
        table, messages = table.filter(keep), messages.filter(keep)
    prompts = _prompts(table, found, messages)
    ids = _ids(table, found, prompts)
    return _record([prompts, ids, messages]), (None if good.all() else good)


def _record(arrays: list[Any]) -> Any:
    import pyarrow

    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema())


def column(table: pyarrow.RecordBatch, path: str) -> Any:
    """A column by its name or by its path through structs; None where there is none."""
    import pyarrow
    from pyarrow import compute

    if path in table.schema.names:
        return table.column(path)
    first, *rest = path.split(".")
    if not rest or first not in table.schema.names:
        return None
    values = table.column(first)
    for part in rest:
        if not pyarrow.types.is_struct(values.type) or values.type.get_field_index(part) < 0:
            return None
        values = compute.struct_field(values, part)
    return values


def _text(values: Any) -> Any:
    """A text column as `string`; None where it is not text."""
    import pyarrow

    kind = values.type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    if pyarrow.types.is_null(kind) or pyarrow.types.is_string(kind):
        return values if values.type == pyarrow.string() else values.cast(pyarrow.string())
    is_text = pyarrow.types.is_large_string(kind) or pyarrow.types.is_string_view(kind)
    return values.cast(pyarrow.string()) if is_text else None


def _turns(table: pyarrow.RecordBatch, found: Format) -> tuple[Any, Mask] | None:
    """A list of who speaks and what, as messages."""
    import numpy
    import pyarrow
    from pyarrow import compute

    key = "conversations" if found.name == "sharegpt" else "messages"
    values = column(table, found.paths[key])
    if values is None or not (pyarrow.types.is_list(values.type) or pyarrow.types.is_large_list(values.type)):
        return None
    if found.name == "sharegpt" and "system" in found.paths and column(table, found.paths["system"]) is not None:
        return None  # a turn to put before the others: rare, and row by row is right
    flat = values.flatten()
    if not pyarrow.types.is_struct(flat.type):
        return None
    names = [field.name for field in flat.type]
    if found.role not in names or found.content not in names:
        return None
    contents = _text(compute.struct_field(flat, found.content))
    roles = _text(compute.struct_field(flat, found.role))
    if contents is None or roles is None:
        return None
    if found.name == "sharegpt":
        at = compute.index_in(roles, value_set=pyarrow.array(list(SPEAKERS)))
        roles = pyarrow.array(list(SPEAKERS.values())).take(at)
    lengths = compute.list_value_length(values)
    good = numpy.ones(len(values), dtype=bool)
    if lengths.null_count:
        good &= lengths.is_valid().to_numpy(zero_copy_only=False)
        lengths = lengths.fill_null(0)
    counts = lengths.to_numpy(zero_copy_only=False).astype(numpy.int32)
    offsets = numpy.concatenate([numpy.zeros(1, numpy.int32), counts.cumsum(dtype=numpy.int32)])
    if contents.null_count or roles.null_count:
        wrong = compute.or_(contents.is_null(), roles.is_null()).to_numpy(zero_copy_only=False)
        good[numpy.repeat(numpy.arange(len(counts)), counts)[wrong]] = False
    return _lists(offsets, contents, roles), good


def _pairs(table: pyarrow.RecordBatch, found: Format) -> tuple[Any, Mask] | None:
    """Columns of a question, an answer and perhaps a system text, as messages."""
    import numpy
    import pyarrow
    from pyarrow import compute

    texts: dict[str, Any] = {}
    for key, path in found.paths.items():
        values = column(table, path)
        if values is not None and key != "prompt_id":
            text = _text(values)
            if text is None:
                return None
            texts[key] = text
    if found.name == "alpaca":
        question, answer = texts["instruction"], texts["output"]
        if "input" in texts:
            extra = compute.fill_null(texts["input"], "")
            both = compute.binary_join_element_wise(question, extra, "\n\n")
            question = compute.if_else(compute.equal(extra, ""), question, both)
    else:
        question, answer = texts["prompt"], texts["response"]
    count = table.num_rows
    good = compute.and_(question.is_valid(), answer.is_valid()).to_numpy(zero_copy_only=False)
    system = compute.fill_null(texts["system"], "") if "system" in texts else None
    has = (
        compute.not_equal(system, "").to_numpy(zero_copy_only=False)
        if system is not None
        else numpy.zeros(count, dtype=bool)
    )
    # The three columns one after the other, taken row by row: system where there is one, question, answer.
    parts = [question, answer] if system is None else [question, answer, system]
    names = pyarrow.array([role for role, _ in zip(("user", "assistant", "system"), parts, strict=False)])
    order = numpy.stack([numpy.arange(count) + 2 * count, numpy.arange(count), numpy.arange(count) + count], axis=1)
    wanted = numpy.stack([has, numpy.ones(count, dtype=bool), numpy.ones(count, dtype=bool)], axis=1)
    index = order[wanted]
    contents = pyarrow.concat_arrays(parts).take(pyarrow.array(index))
    roles = names.take(pyarrow.array(index // count if count else index))
    offsets = numpy.concatenate([numpy.zeros(1, numpy.int32), (2 + has).cumsum(dtype=numpy.int32)])
    return _lists(offsets, contents, roles), good


def _lists(offsets: Any, contents: Any, roles: Any) -> Any:
    import pyarrow

    turns = pyarrow.StructArray.from_arrays([contents, roles], ["content", "role"])
    return pyarrow.ListArray.from_arrays(pyarrow.array(offsets, pyarrow.int32()), turns)


def _array(values: Any) -> Any:
    import pyarrow

    return pyarrow.array(values)


def _prompts(table: pyarrow.RecordBatch, found: Format, messages: Any) -> Any:
    """The source's own prompts where the format has them, else each row's first user turn; never null."""
    from pyarrow import compute

    own = column(table, found.paths["prompt"]) if found.role and "prompt" in found.paths else None
    own = None if own is None else _text(own)
    if own is not None and not own.null_count and not compute.any(compute.equal(own, "")).as_py():
        return own
    first = _first_questions(messages)
    if own is None:
        return first
    return compute.if_else(compute.equal(compute.fill_null(own, ""), ""), first, own)


def _first_questions(messages: Any) -> Any:
    import numpy
    import pyarrow
    from pyarrow import compute

    turns = messages.flatten()
    is_user = compute.equal(turns.field("role"), "user").to_numpy(zero_copy_only=False)
    counts = compute.list_value_length(messages).to_numpy(zero_copy_only=False)
    rows, places = numpy.unique(numpy.repeat(numpy.arange(len(counts)), counts)[is_user], return_index=True)
    index = numpy.full(len(counts), -1, dtype=numpy.int64)
    index[rows] = numpy.flatnonzero(is_user)[places]
    found = turns.field("content").take(pyarrow.array(index, mask=index < 0))
    return compute.fill_null(found, "")


def _ids(table: pyarrow.RecordBatch, found: Format, prompts: Any) -> Any:
    import pyarrow
    from pyarrow import compute

    own = column(table, found.paths["prompt_id"])
    own = None if own is None else _text(own)
    if own is not None and not own.null_count and not compute.any(compute.equal(own, "")).as_py():
        return own
    digests = [hashlib.sha256(prompt.as_buffer()).hexdigest() for prompt in prompts]
    made = pyarrow.array(digests, pyarrow.string())
    return made if own is None else compute.if_else(compute.equal(compute.fill_null(own, ""), ""), made, own)
