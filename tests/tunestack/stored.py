"""A folder of stored files that is a mapping: for tests of what reads one, without a cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunestack.stored_files import Folder


class MemoryFolder(Folder):
    """Paths and contents."""

    def __init__(self, contents: Mapping[str, str | bytes], uri: str = "azureml://datastores/d/paths/model") -> None:
        super().__init__(uri, "model", None)
        found = {path: text.encode() if isinstance(text, str) else text for path, text in contents.items()}
        object.__setattr__(self, "contents", found)

    def files(self) -> dict[str, int]:
        return {path: len(content) for path, content in self.contents.items()}  # type: ignore[attr-defined]

    def read(self, name: str, limit: int = 1 << 24) -> bytes | None:
        return self.contents.get(name)  # type: ignore[attr-defined,no-any-return]

    def chunks(self, name: str) -> Iterator[bytes]:
        content = self.contents[name]  # type: ignore[attr-defined]
        yield content[:3]
        yield content[3:]
