"""Data sets on the hub: only the bytes that are needed, the same rows every time, and what each refusal says."""

from __future__ import annotations

import errno
import io
import os
import random
import threading

import pyarrow
import pytest
from pyarrow import parquet

from tests import hub_server
from tunestack.errors import CloudError, NotConfigured, UsageError
from tunestack.recipes.recipe import Data
from tunestack.sources import hub, sources

NAME = "someone/chats-200k"
CARD = {
    "configs": [
        {
            "config_name": "default",
            "data_files": [
                {"split": split, "path": f"data/{split}-*"}
                for split in ("train_sft", "test_sft", "train_gen", "test_gen")
            ],
        }
    ]
}
SPLITS = {"train": "train_sft", "test": "test_sft", "sample": "test_gen"}


@pytest.fixture
def served(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(hub, "RETRIES", 0)
    with hub_server.serve() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def chats(split: str, rows: int, seed: int) -> pyarrow.Table:
    """Conversations that do not compress, so that bytes in the file are bytes of text."""
    numbers = random.Random(seed)
    return pyarrow.table(
        {
            "prompt": [f"{split} {row}" for row in range(rows)],
            "prompt_id": [f"{row:064x}" for row in range(rows)],
            "messages": [
                [
                    {"content": f"{split} {row}", "role": "user"},
                    {"content": numbers.randbytes(450).hex(), "role": "assistant"},
                ]
                for row in range(rows)
            ],
        }
    )


def parquet_bytes(table: pyarrow.Table, group: int = 100) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, row_group_size=group)
    return sink.getvalue()


@pytest.fixture(scope="module")
def big() -> dict[str, bytes]:
    """About 8 MB in the layout of ultrachat_200k: four splits, the first in two files, row groups of 1.5 % of it."""
    train = chats("train_sft", 6000, 1)
    return {
        "README.md": b"---\n---\n",
        "data/train_sft-00000-of-00002-3d4cd8309148a71f.parquet": parquet_bytes(train.slice(0, 3000)),
        "data/train_sft-00001-of-00002-f0f7a3ab8c1b5b2a.parquet": parquet_bytes(train.slice(3000)),
        "data/test_sft-00000-of-00001-f7dfac4afe5b93f4.parquet": parquet_bytes(chats("test_sft", 2000, 2)),
        "data/train_gen-00000-of-00001-a6c9fb894be3e50b.parquet": parquet_bytes(chats("train_gen", 2000, 3)),
        "data/test_gen-00000-of-00001-d48ba0dd8e0a3d71.parquet": parquet_bytes(chats("test_gen", 2000, 4)),
    }


def data(percent: float = 5, **more) -> Data:
    return Data(**{"source": f"hub:{NAME}", "percent": percent, "splits": SPLITS, **more})


def prompts(tables: sources.Tables, role: str = "train") -> list[str]:
    return [prompt for batch in tables.batches(role) for prompt in batch.table.column("prompt").to_pylist()]


@pytest.mark.parametrize("sampling", ["head", "row_groups"])
def test_five_percent_of_a_data_set_cost_at_most_seven_percent_of_its_bytes(served, big, sampling):
    served.add(NAME, big, card=CARD)
    with sources.open(data(sampling=sampling)) as tables:
        rows = {role: sum(batch.rows for batch in tables.batches(role)) for role in tables.roles}
    assert rows == {"train": 300, "test": 100, "sample": 100}
    read = sum(len(body) for name, body in big.items() if "sft" in name or "test" in name)
    assert tables.bytes_total == read
    assert served.sent <= 0.07 * read  # of the three splits that are read, the hub's own answers included
    assert tables.bytes_read == sum(end - start for _, start, end in served.ranges) <= served.sent


def test_columns_that_are_not_needed_are_not_fetched(served, big):
    table = chats("train", 500, 1)
    extra = random.Random(2).randbytes(500 * 2000)
    wide = table.append_column("image", pyarrow.array([extra[at : at + 2000] for at in range(0, len(extra), 2000)]))
    served.add(NAME, {"train.parquet": parquet_bytes(wide)})
    with sources.open(data(100, splits=None)) as tables:
        assert len(prompts(tables, "all")) == 500
        assert tables.bytes_read < len(extra)


@pytest.fixture(scope="module")
def coarse() -> bytes:
    """One row group; pages and dictionary in the proportion that they have, by default, to a row group of 100 MB."""
    sink = io.BytesIO()
    pages = {"data_page_size": 2**14, "dictionary_pagesize_limit": 2**14, "write_batch_size": 64}
    parquet.write_table(chats("train", 12_000, 1), sink, row_group_size=12_000, **pages)
    return sink.getvalue()


@pytest.mark.parametrize("sampling", ["head", "row_groups"])
def test_of_a_row_group_larger_than_the_share_only_the_beginning_is_fetched(served, coarse, sampling):
    served.add(NAME, {"train.parquet": coarse})
    with sources.open(data(5, splits=None, sampling=sampling)) as tables:
        assert prompts(tables, "all") == [f"train {row}" for row in range(600)]
        assert tables.bytes_read <= 0.07 * tables.bytes_total


def test_the_head_is_the_first_rows_of_the_split(served, big):
    served.add(NAME, big, card=CARD)
    with sources.open(data()) as tables:
        assert tables.rows_expected == {"train": 300, "test": 100, "sample": 100}
        assert prompts(tables) == [f"train_sft {row}" for row in range(300)]
        first = next(tables.batches("train"))
        assert first.place(7) == f"hub:{NAME} data/train_sft-00000-of-00002-3d4cd8309148a71f.parquet row 8"


def test_row_groups_are_chosen_by_the_seed_and_come_in_the_order_of_the_data_set(served, big):
    served.add(NAME, big, card=CARD)
    found = {}
    for seed in (1, 1, 2):
        with sources.open(data(sampling="row_groups", seed=seed)) as tables:
            rows = [int(prompt.split()[1]) for prompt in prompts(tables)]
        assert rows == sorted(rows)
        assert found.setdefault(seed, rows) == rows
    assert found[1] != found[2]
    assert len({row // 100 for row in found[1]}) == 3


def test_single_rows_are_chosen_from_all_and_it_says_that_everything_is_read(served, big):
    served.add(NAME, big, card=CARD)
    with sources.open(data(sampling="rows")) as tables:
        rows = [int(prompt.split()[1]) for prompt in prompts(tables)]
        assert any("reads all of hub:" in note for note in tables.notes)
    assert len(rows) == 300
    assert len({row // 100 for row in rows}) > 50


def test_the_source_names_the_commit_and_reads_the_same_from_it(served, big):
    repo = served.add(NAME, big, card=CARD)
    with sources.open(data()) as tables:
        before = prompts(tables)
    assert tables.source == f"hub:{NAME}@{hub_server.COMMIT}"
    repo.commits["b" * 40] = {**big, "data/train_sft-00000-of-00002-3d4cd8309148a71f.parquet": b"other"}
    repo.refs["main"] = "b" * 40
    with sources.open(data(source=tables.source)) as again:
        assert prompts(again) == before
        assert again.source == tables.source


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(served, big, tmp_path):
    served.add(NAME, big, card=CARD)
    served.break_after = 5 + 20  # footers, then row groups
    with pytest.raises(CloudError, match="what has been fetched is kept"), sources.open(data(100)) as tables:
        prompts(tables)
    kept = tables.bytes_read
    assert kept > 0
    served.break_after, served.sent = None, 0
    with sources.open(data(100)) as tables:
        assert len(prompts(tables)) == 6000
        assert tables.bytes_read + kept <= sum(len(body) for name, body in big.items() if "train_sft" in name)
    assert not list((tmp_path / "cache" / "downloads").iterdir())


def test_a_connection_that_breaks_once_is_made_again(served, big, monkeypatch):
    monkeypatch.setattr(hub, "RETRIES", 5)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    served.add(NAME, big, card=CARD)
    served.breaks = 3
    with sources.open(data()) as tables:
        assert len(prompts(tables)) == 300
    assert not served.breaks


def test_a_data_set_of_other_files_is_read_from_the_conversion_of_the_hub(served):
    table = chats("train", 50, 1)
    repo = served.add(NAME, {"train.jsonl": b'{"messages": []}\n'})
    repo.refs[hub.CONVERTED] = "c" * 40
    repo.commits["c" * 40] = {"default/train/0000.parquet": parquet_bytes(table)}
    with sources.open(data(100, splits=None)) as tables:
        assert tables.source == f"hub:{NAME}@{'c' * 40}"
        assert len(prompts(tables, "all")) == 50
    with sources.open(data(100, splits=None, source=tables.source)) as again:
        assert len(prompts(again, "all")) == 50


def test_a_subset_that_only_the_conversion_knows_is_read_from_there(served):
    repo = served.add(NAME, {"rows.jsonl": b"{}\n", "load.py": b""})
    repo.refs[hub.CONVERTED] = "c" * 40
    repo.commits["c" * 40] = {
        f"{subset}/train/0000.parquet": parquet_bytes(chats(subset, 5, 1)) for subset in ("english", "german")
    }
    with sources.open(data(100, splits=None, subset="german")) as tables:
        assert prompts(tables, "all")[0] == "german 0"
    with pytest.raises(UsageError, match="has 2 subsets and none is named"):
        sources.open(data(100, splits=None))


def test_a_data_set_without_conversion_is_fetched_whole_and_it_says_so(served):
    line = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
    served.add(NAME, {"train.jsonl": line * 40, "test.jsonl": line * 10})
    with sources.open(data(50, splits=None)) as tables:
        assert len(prompts(tables, "train")) == 20
        assert next(tables.batches("test")).place(0) == f"hub:{NAME} test.jsonl line 1"
        assert any("all 0 MB of it are fetched" in note for note in tables.notes)


def test_files_of_another_form_beside_the_data_are_no_data(served):
    body = parquet_bytes(chats("train", 20, 1))
    served.add(NAME, {"data/train-00000-of-00001.parquet": body, "dataset_infos.json": b"{}", "scores.csv": b"a\n1\n"})
    with sources.open(data(100, splits=None)) as tables:
        assert tables.roles == ("all",)
        assert len(prompts(tables, "all")) == 20


def test_a_subset_is_one_of_the_cards_configurations(served, big):
    files = {f"{subset}/train.parquet": parquet_bytes(chats(subset, 20, 1)) for subset in ("english", "german")}
    card = {
        "configs": [
            {"config_name": subset, "data_files": [{"split": "train", "path": f"{subset}/*.parquet"}]}
            for subset in ("english", "german")
        ]
    }
    served.add(NAME, files, card=card)
    with sources.open(data(100, splits=None, subset="german")) as tables:
        assert prompts(tables, "all")[0] == "german 0"
    with pytest.raises(UsageError, match=r"has 2 subsets and none is named. Set data.subset to one of english, german"):
        sources.open(data(100, splits=None))
    with pytest.raises(UsageError, match="no subset 'germen'; did you mean 'german'"):
        sources.open(data(100, splits=None, subset="germen"))


def test_a_split_that_the_data_set_lacks_is_named_with_those_that_it_has(served, big):
    served.add(NAME, big, card=CARD)
    with pytest.raises(UsageError, match=r"no split 'train_stf'; did you mean 'train_sft'.*Its splits are") as caught:
        sources.open(data(splits={"train": "train_stf", "test": "tset_sft"}))
    assert len(caught.value.problems) == 2


def test_a_column_that_the_data_set_lacks_is_named_with_those_that_it_has(served, big):
    served.add(NAME, big, card=CARD)
    with pytest.raises(UsageError, match=r"no column 'mesages'.*did you mean 'messages'.*Its columns are 'prompt'"):
        prompts(sources.open(data(columns={"messages": "mesages"})))


def test_a_data_set_that_does_not_exist_or_is_private_says_how_to_get_in(served, big, monkeypatch):
    with pytest.raises(NotConfigured, match=r"was not found on the hub.*for a private one, set HF_TOKEN"):
        sources.open(data())
    served.add(NAME, big, card=CARD, is_private=True)
    with pytest.raises(NotConfigured, match="does not exist, or is private"):
        sources.open(data())
    monkeypatch.setenv("HF_TOKEN", served.token)
    with sources.open(data()) as tables:
        assert len(prompts(tables)) == 300


def test_a_gated_data_set_names_the_page_where_its_conditions_are_accepted(served, big, monkeypatch):
    served.add(NAME, big, card=CARD, is_gated=True)
    with pytest.raises(NotConfigured, match=f"gated.*Accept its conditions at https://huggingface.co/datasets/{NAME}"):
        prompts(sources.open(data()))
    monkeypatch.setenv("HF_TOKEN", served.token)
    with sources.open(data()) as tables:
        assert len(prompts(tables)) == 300


def test_a_revision_that_does_not_exist_is_named(served, big):
    served.add(NAME, big, card=CARD)
    with pytest.raises(UsageError, match="has no revision 'v9'"):
        sources.open(data(source=f"hub:{NAME}@v9"))


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_is_in_trouble_is_told_from_one_that_refuses(served, status):
    served.status = status
    with pytest.raises(CloudError, match=f"with {status}.*Try again later") as caught:
        sources.open(data())
    assert caught.value.is_passing


def test_no_network_says_so_and_what_opens_the_hub(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(
        CloudError, match=r"from the Hugging Face hub \(127\.0\.0\.1\).*Check the network.*--allow 127\.0\.0\.1"
    ) as caught:
        sources.open(data())
    assert caught.value.is_passing


def test_offline_by_wish_is_said_as_such(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CloudError, match="HF_HUB_OFFLINE is set"):
        sources.open(data())


def test_a_file_that_is_not_the_one_that_was_listed_is_an_error(served, big, monkeypatch):
    repo = served.add(NAME, big, card=CARD)
    tables = sources.open(data())
    repo.commits[hub_server.COMMIT] = {name: body + b"more" for name, body in big.items()}
    with pytest.raises(CloudError, match="changed while it was read"), tables:
        prompts(tables)


def test_a_disk_that_is_full_in_the_middle_keeps_what_came_and_goes_on_later(served, big, monkeypatch):
    """As the system does it: it writes what there is room for and says how much that was, then refuses."""
    served.add(NAME, big, card=CARD)
    write, left, alone = os.pwrite, [2_000_000], threading.Lock()

    def full(file, content, at):
        with alone:  # several ranges come at once
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = write(file, bytes(content)[: left[0]], at)
            left[0] -= written
            return written

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(CloudError, match=r"cannot be written: No space left on device.*run this again"):
        with sources.open(data(100)) as tables:
            prompts(tables)
    monkeypatch.setattr(os, "pwrite", write)
    with sources.open(data(100)) as again:
        assert prompts(again) == [f"train_sft {row}" for row in range(6000)]
        assert again.bytes_read + tables.bytes_read <= sum(
            len(body) for name, body in big.items() if "train_sft" in name
        )


def test_what_was_fetched_and_is_not_what_it_was_is_fetched_anew(served, big, tmp_path):
    served.add(NAME, big, card=CARD)
    served.break_after = 5 + 20
    with pytest.raises(CloudError), sources.open(data(100)) as tables:
        prompts(tables)
    served.break_after = None
    (kept,) = (tmp_path / "cache" / "downloads").glob("*/*train_sft-00000*.parquet")
    with kept.open("r+b") as spoiled:
        spoiled.seek(4)
        spoiled.write(bytes(400_000))
    with pytest.raises(CloudError, match=r"cannot be read.*Run this again: the file is fetched anew"):
        with sources.open(data(100)) as tables:
            prompts(tables)
    with sources.open(data(100)) as again:
        assert prompts(again) == [f"train_sft {row}" for row in range(6000)]


def test_two_runs_at_once_do_not_share_what_they_fetch(served, big, tmp_path):
    served.add(NAME, big, card=CARD)
    with sources.open(data()) as one, sources.open(data()) as other:
        assert prompts(one) == prompts(other)
    assert not list((tmp_path / "cache" / "downloads").iterdir())


def test_a_cache_that_cannot_be_written_is_said_so(served, big, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNESTACK_CACHE", str(tmp_path / "file"))
    served.add(NAME, big, card=CARD)
    with pytest.raises(CloudError, match="Set TUNESTACK_CACHE to a folder elsewhere"):
        prompts(sources.open(data()))
