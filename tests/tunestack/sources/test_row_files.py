"""Files of rows: every form and compression gives the same rows; a file that is not what it says is named."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pyarrow import ipc, parquet

from tunestack.errors import UsageError
from tunestack.sources import chunks, csv_rows, data_file, json_rows, row_files
from tunestack.sources.data_file import DataFile
from tunestack.sources.formats import Format

ROWS = [
    {"messages": [{"content": f'qüestion {n}\n"x"', "role": "user"}, {"content": "a", "role": "assistant"}]}
    for n in range(5)
]
MESSAGES = Format.of("messages", {})


def zst(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def separated(delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["other", "messages"])
    writer.writerows(["x\ny", json.dumps(row["messages"], ensure_ascii=False)] for row in ROWS)
    return text.getvalue().encode()


def arrow_stream() -> bytes:
    sink = io.BytesIO()
    table = pyarrow.Table.from_pylist(ROWS)
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def parquet_bytes() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), sink, row_group_size=2)
    return sink.getvalue()


FORMS = {
    "a.jsonl": lambda: "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "no-end.jsonl": lambda: "\n".join(json.dumps(row) for row in ROWS).encode(),
    "crlf.ndjson": lambda: "\r\n\r\n".join(json.dumps(row) for row in ROWS).encode(),
    "bom.jsonl": lambda: b"\xef\xbb\xbf" + "\n".join(json.dumps(row) for row in ROWS).encode(),
    "array.json": lambda: json.dumps(ROWS, ensure_ascii=False).encode(),
    "pretty.json": lambda: json.dumps(ROWS, indent=2).encode(),
    "lines.json": lambda: "\n".join(json.dumps(row) for row in ROWS).encode(),
    "one after the other.json": lambda: "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    "a.csv": lambda: separated(","),
    "a.tsv": lambda: separated("\t"),
    "bom.csv": lambda: b"\xef\xbb\xbf" + separated(","),
    "a.parquet": parquet_bytes,
    "a.arrow": arrow_stream,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(FORMS[name]())
    assert [row["messages"] for row in row_files.read(file)] == [row["messages"] for row in ROWS]
    assert row_files.count(DataFile.of(file)) == len(ROWS)


@pytest.mark.parametrize("name", ["a.jsonl", "array.json", "a.csv"])
@pytest.mark.parametrize("suffix", [*COMPRESS, ".zst"])
def test_every_compression_gives_the_same_rows(tmp_path, name, suffix):
    file = tmp_path / f"{name}{suffix}"
    file.write_bytes((zst if suffix == ".zst" else COMPRESS[suffix])(FORMS[name]()))
    assert len(list(row_files.read(file))) == len(ROWS)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_a_compressed_file_that_was_cut_off_is_an_error(tmp_path, suffix):
    content = os.urandom(20000).hex().encode()
    whole = (zst if suffix == "zst" else COMPRESS[f".{suffix}"])(b'{"messages": "' + content + b'"}\n' + content)
    file = tmp_path / f"a.jsonl.{suffix}"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=f"is not whole or not {suffix}"):
        list(row_files.read(file))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n \n", "has no rows"),
        ("a.txt", b"x", "unknown suffix"),
        ("a.parquet", b"xxxxxxxxxxx", "is not Parquet, as its name says: it begins with b'xxxx'"),
        ("a.parquet", b"PAR1xxxxxxxxxxxx", "is not Parquet"),
        ("a.arrow", b"xxxxxxxxxxxxxxxxx", "is not Arrow"),
        ("a.jsonl.gz", b"{}", "is not gz, as its name says"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "is not JSONL, as its name says: it is gz. Name it 'a.jsonl.gz'"),
        ("a.jsonl", parquet_bytes(), "it is parquet"),
        ("a.csv", b"PK\x03\x04zip", "it is zip"),
        ("a.parquet.gz", gzip.compress(b"x", mtime=0), "cannot be read in parts"),
        ("a.jsonl", b'{"messages": []}\nnot json\n', "line 2 is not JSON"),
        ("a.jsonl", b'{"messages": []}\n{"messages": [}\n', "line 2 is not JSON"),
        ("a.json", b'[{"messages": []},\n{"messages": [}]', "line 2 is not JSON"),
        ("a.json", b'[{"messages": []},\n{"messages": []}\n', "line 3 is not JSON: the array does not end"),
        ("a.json", b'[{"messages": []}\n{"messages": []}]', "line 2 is not JSON: expected ',' or ']', found '{'"),
        ("a.json", b'[{"messages": []}]\nmore', "line 2 is not JSON: something follows the array"),
        ("a.json", b"[]", "has no rows"),
        ("a.csv", b"messages,x\n[],1\n[],1,2\n", "line 3 has more or fewer values than columns: 3 for 2"),
        ("a.csv", b'messages\n"[]', "is not CSV"),
        ("a.csv", b"messages,messages\n[],[]\n", "names the column 'messages' twice"),
        ("a.csv", b"messages,x\r[],1\r", "line 1 holds a carriage return outside quotes. If lines end as on old Macs"),
        ("a.csv", b"mesages\n[]\n", "has no column 'messages', which format 'messages' reads as its messages; did you"),
        ("a.jsonl", '{"messages": []}\n{"x": "é"}\n'.encode("latin-1"), "line 2 is not UTF-8: byte 0xE9 at byte 25"),
        ("a.csv", "messages\n[]\né\n".encode("latin-1"), "line 3 is not UTF-8: byte 0xE9 at byte 13"),
        ("a.json", '[\n{"messages": "é"}]'.encode("latin-1"), "line 2 is not UTF-8: byte 0xE9 at byte 17"),
        ("a.jsonl", '{"messages": []}\n'.encode("utf-16"), "line 1 is UTF-16, not UTF-8: byte 0xFF at byte 1"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path, name, content, said):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        list(row_files.read(file))
    assert str(file) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.jsonl' does not exist"):
        list(row_files.read(tmp_path / "gone.jsonl"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "array.json"])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path, name, monkeypatch):
    """Rows come while there is more to read, so that what comes after the change is not taken for the rest."""
    monkeypatch.setattr(data_file, "BLOCK", 100)
    for module in (json_rows, csv_rows):
        monkeypatch.setattr(module, "ROWS", 1)
    file = tmp_path / name
    file.write_bytes(FORMS[name]() if name != "array.json" else json.dumps(ROWS * 3000).encode())
    found = DataFile.of(file)
    with pytest.raises(UsageError, match="changed while it was read"):
        for _ in row_files.chunks_of(found, MESSAGES):
            os.utime(file)


def test_a_parquet_file_that_is_replaced_while_it_is_read_is_an_error(tmp_path):
    file = tmp_path / "a.parquet"
    file.write_bytes(parquet_bytes())
    found = DataFile.of(file)
    with pytest.raises(UsageError, match="changed while it was read"):
        for _ in row_files.chunks_of(found, MESSAGES):
            other = tmp_path / "other"
            other.write_bytes(parquet_bytes())
            os.replace(other, file)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_a_file_that_becomes_shorter_while_it_is_read_is_an_error_and_not_the_end_of_the_process(tmp_path, form):
    file = tmp_path / f"a.{form}"
    table = pyarrow.Table.from_pylist(
        [{"messages": [{"content": os.urandom(1000).hex(), "role": "user"}]} for _ in range(2000)]
    )
    if form == "parquet":
        parquet.write_table(table, file, row_group_size=500)
    else:
        with ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=500)
    found = DataFile.of(file)
    with pytest.raises(UsageError, match="changed while it was read"):
        for _ in row_files.chunks_of(found, MESSAGES):
            os.truncate(file, 1000)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_text_that_is_not_utf8_in_a_column_is_a_bad_row_with_its_place(tmp_path, form):
    """pyarrow makes no such column; other writers declare bytes as text."""
    texts = pyarrow.array([b"caf\xe9" if n in (1, 4) else b"tea" for n in range(6)])
    text = pyarrow.Array.from_buffers(pyarrow.string(), len(texts), texts.buffers())
    table = pyarrow.table({"prompt": text, "response": ["a"] * 6})
    file = tmp_path / f"a.{form}"
    if form == "parquet":
        parquet.write_table(table, file)
    else:
        with ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    found = Format.of("prompt_response", {})
    (batch,) = (chunks.batch(chunk, found) for chunk in row_files.chunks_of(DataFile.of(file), found))
    assert [(bad.place, bad.reason) for bad in batch.bad] == [
        (f"'{file}' row {row}", "holds text that is not UTF-8") for row in (2, 5)
    ]
    assert list(batch.numbers) == [1, 3, 4, 6]


def test_a_parquet_file_is_read_once_and_so_is_the_head_of_a_csv(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet_bytes())
    (tmp_path / "a.csv").write_bytes(separated(","))
    for name in ("a.parquet", "a.csv"):
        file = DataFile.of(tmp_path / name)
        list(row_files.chunks_of(file, MESSAGES))
        assert 0 < file.read <= file.size


def test_a_file_that_changed_between_counting_and_reading_is_an_error(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(FORMS["a.jsonl"]())
    found = DataFile.of(file)
    assert row_files.count(found) == 5
    file.write_bytes(FORMS["a.jsonl"]() * 2)
    with pytest.raises(UsageError, match="changed while it was read"):
        list(row_files.chunks_of(found, MESSAGES))


def test_a_value_longer_than_any_row_is_an_error_that_says_where_rows_stand(tmp_path, monkeypatch):
    for module in (data_file, json_rows):
        monkeypatch.setattr(module, "LONGEST", 2**20)
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"data": ["x" * 1000] * 5000}))
    with pytest.raises(UsageError, match=r"line 1 is not JSON: a value is longer than 1 MiB; rows stand in an array"):
        list(row_files.read(file))


def test_a_line_longer_than_any_row_is_an_error_and_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(data_file, "LONGEST", 1000)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"messages": "' + b"x" * 10_000_000)
    with pytest.raises(UsageError, match="line 1 is longer than"):
        list(row_files.read(file))


JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-1000, 1000) | some.text(max_size=6),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(some.lists(JSON, max_size=8), some.integers(1, 40), some.sampled_from([None, 1]), some.booleans())
def test_an_array_is_read_the_same_whatever_its_blocks(tmp_path_factory, found, block, indent, is_ascii):
    file = tmp_path_factory.mktemp("json") / "a.json"
    file.write_text(json.dumps(found, indent=indent, ensure_ascii=is_ascii) + "\n", encoding="utf-8")
    opened = DataFile.of(file)
    blocks = opened.blocks
    opened.blocks = lambda size=0, in_lines=True: blocks(block, in_lines)  # type: ignore[method-assign]
    assert [value for chunk in json_rows._items(opened, "item") for value in chunk.values] == found


@settings(max_examples=60)
@given(some.lists(some.sampled_from(["", " ", "{}", '{"a": "b"}', "x", "\t"]), max_size=12), some.integers(1, 30))
def test_rows_are_counted_as_they_are_read(tmp_path_factory, lines, block):
    file = tmp_path_factory.mktemp("lines") / "a.jsonl"
    file.write_text("\n".join(["{}", *lines]))
    opened = DataFile.of(file)
    blocks = opened.blocks
    opened.blocks = lambda size=0, in_lines=True: blocks(block, in_lines)  # type: ignore[method-assign]
    assert row_files.count(opened) == sum(chunk.rows for chunk in row_files.chunks_of(opened, MESSAGES))
