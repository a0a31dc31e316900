"""Memory while a source is read: that of a batch, whatever the size of the file."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pyarrow
import pytest
from pyarrow import parquet

from tunestack.sources.batches import schema

MIB = 2**20
# Reads a source one batch after the other; prints rows, and the memory that it took beside pages of the file itself.
READ = """
import sys
import numpy, pyarrow.compute, pyarrow.parquet
from tunestack.sources import columns, hub_data, local_data, row_files, sources
from tunestack.recipes.recipe import Data

def taken():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) * 1024

before = taken()
for file in sys.argv[2:]:
    rows, most = 0, 0
    with sources.open(Data(source=file, percent=float(sys.argv[1]))) as tables:
        for batch in tables.batches("all"):
            rows += batch.rows
            most = max(most, taken() - before)
    print(rows, most)
"""


def lines(size: int):
    """Rows of about 7 kB, as those of ultrachat_200k, until there are so many bytes."""
    texts = [random.Random(seed).randbytes(1700).hex().encode() for seed in range(50)]
    written, number = 0, 0
    while written < size:
        line = (
            b'{"prompt": "%d", "prompt_id": "%064x", "messages": '
            b'[{"role": "user", "content": "%d %s"}, {"role": "assistant", "content": "%d %s"}]}'
        ) % (number, number, number, texts[number % 50], number, texts[number % 50])
        written += len(line)
        number += 1
        yield line


def made(file, size: int) -> int:
    """Write a file of rows; how many they are."""
    rows = 0
    if file.suffix == ".parquet":
        with parquet.ParquetWriter(file, schema(), compression="none") as writer:
            some: list[dict] = []
            for line in lines(size):
                some.append(json.loads(line))
                rows += 1
                if len(some) == 20_000:  # row groups of 140 MB: many batches each
                    writer.write_table(pyarrow.Table.from_pylist(some, schema()), row_group_size=len(some))
                    some = []
            writer.write_table(pyarrow.Table.from_pylist(some, schema()))
        return rows
    with file.open("wb") as out:
        if file.suffix == ".csv":
            out.write(b"messages,other\n")
        for line in lines(size):
            if file.suffix == ".json":
                line = (b"," if rows else b"[") + line
            elif file.suffix == ".csv":
                line = b'"' + json.dumps(json.loads(line)["messages"]).replace('"', '""').encode() + b'",\n'
            else:
                line += b"\n"
            out.write(line)
            rows += 1
        if file.suffix == ".json":
            out.write(b"]")
    return rows


def read(percent: float, *files) -> list[tuple[int, int]]:
    """Rows and bytes of memory for each file, read one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(percent), *map(str, files)], capture_output=True, text=True, check=True
    )
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


def test_a_file_three_times_as_long_takes_no_more_memory(tmp_path):
    files = [tmp_path / "short.json", tmp_path / "long.json"]
    rows = [made(file, size) for file, size in zip(files, (24 * MIB, 72 * MIB), strict=True)]
    short, long = read(100, *files)
    assert [short[0], long[0]] == rows
    assert long[1] - short[1] < 24 * MIB


@pytest.mark.long
@pytest.mark.parametrize("percent", [100, 50])
@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "parquet"])
def test_a_file_of_500_mb_takes_the_memory_of_a_batch(tmp_path, form, percent):
    file = tmp_path / f"chats.{form}"
    rows = made(file, 500 * 10**6)
    ((found, taken),) = read(percent, file)
    print(f"{form} {percent} %: {file.stat().st_size / 1e6:.0f} MB, {found} rows, {taken / MIB:.0f} MiB")
    assert found == rows * percent // 100 or found == (rows * percent + 50) // 100
    assert taken < 160 * MIB
