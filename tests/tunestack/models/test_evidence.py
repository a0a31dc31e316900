"""Evidence on disk: what was signed holds, and holds no more as soon as one byte, one file or one name is another."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scripts.fine_tunes import FILES, TAGS
from tests.tunestack.stored import MemoryFolder
from tunestack.errors import GateSaidNo, UsageError
from tunestack.models import acceptance, evidence, evidence_store, provenance, signers, weights
from tunestack.models.acceptance import Stored
from tunestack.models.provenance import Facts
from tunestack.models.signatures import KEY, THROW_AWAY, Signer, Trust

MANIFEST = weights.hashed(MemoryFolder(FILES), lambda done, total: None)
CONTENTS = {"metrics.json": b"{}", "recipe.yml": b"description: x\n"}
WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


def facts(model: str = "m:1", signer: str = KEY) -> Facts:
    times = ("2026-11-21T10:00:00Z", "")
    return Facts(model, WORKSPACE, f"{WORKSPACE}/jobs/j", *times, "azureml://x", "passed", "e", signer, "me", TAGS)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signer, Trust]:
    private = signers.throw_away(tmp_path_factory.mktemp("keys"))
    return Signer(KEY, private), Trust(KEY, private.with_suffix(".pub"))


@pytest.fixture
def made(tmp_path: Path, keys) -> Path:
    return evidence.write(tmp_path / "m-1", facts(), MANIFEST, CONTENTS, keys[0])


def refused(root: Path, trust: Trust, model: str = "m:1", *, production: bool = False) -> str:
    with pytest.raises(GateSaidNo) as caught:
        evidence.check(root, trust, model, production=production)
    return str(caught.value)


def test_what_was_signed_holds_and_says_what_it_was_signed_for(made: Path, keys) -> None:
    found = evidence.check(made, keys[1], "m:1", production=True)
    assert (found.said.model, found.said.job, found.said.gate) == ("m:1", "j", "passed")
    assert found.manifest == MANIFEST


def test_the_statement_is_one_of_in_toto_with_slsas_predicate(made: Path) -> None:
    found = json.loads((made / "evidence" / "provenance.json").read_text())
    assert (found["_type"], found["predicateType"]) == (provenance.STATEMENT, provenance.PREDICATE)
    assert {row["name"]: row["digest"]["sha256"] for row in found["subject"]} == {
        file.path: file.sha256 for file in MANIFEST.files
    }
    definition, details = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    assert set(definition) == {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}
    assert details["metadata"].pop("invocationId").endswith("/workspaces/w/jobs/j")
    assert details["metadata"] == {"startedOn": "2026-11-21T10:00:00Z"}, "an unknown time is left out"
    assert definition["internalParameters"]["tags"] == {name: text for name, text in TAGS.items() if name != "job"}
    assert details["builder"]["id"].startswith("https://management.azure.com/subscriptions/s/")
    depends = {row["annotations"]["what"]: row for row in definition["resolvedDependencies"]}
    assert depends["base model"]["uri"] == TAGS["base_model"]
    assert depends["data, all splits as prepared"]["digest"] == {"sha256": TAGS["data_hash"]}
    assert depends["test rows"]["digest"] == {"sha256": TAGS["test_hash"]}
    assert depends["fine-tuning pipeline"]["uri"] == TAGS["component"]
    assert depends["the scripts"]["uri"] == f"git:commit:{TAGS['commit']}"
    assert all({"uri", "digest", "content"} & set(row) for row in definition["resolvedDependencies"])


@pytest.mark.parametrize("commit", ["", "unknown"])
def test_a_commit_that_nobody_knows_is_not_claimed(commit: str) -> None:
    said = provenance.statement(replace(facts(), tags={**TAGS, "commit": commit}), MANIFEST, {})
    depends = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert "the scripts" not in [row["annotations"]["what"] for row in depends]


def change(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes() + b" ")


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def add(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text("x")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (change("evidence/metrics.json"), "Hash mismatch for 'metrics.json'"),
        (change("evidence/manifest.json"), "Hash mismatch for 'manifest.json'"),
        (change("evidence/provenance.json"), "Hash mismatch for 'provenance.json'"),
        (add("evidence/more.json"), "Extra files found in model 'evidence': more.json"),
        (add("evidence/.gitattributes"), "Extra files found in model 'evidence': .gitattributes"),
        (remove("evidence/recipe.yml"), "Missing files in model 'evidence': recipe.yml"),
        (remove("evidence/manifest.json"), "manifest.json is missing"),
        (remove("evidence/provenance.json"), "provenance.json is missing"),
        (remove("evidence.sig"), "evidence.sig is missing"),
        (lambda root: (root / "evidence.sig").write_text("{}"), "the signature does not hold"),
        (lambda root: (root / "evidence.sig").write_text(""), "the signature does not hold"),
        (lambda root: shutil.rmtree(root / "evidence"), "is missing"),
    ],
)
def test_evidence_that_was_changed_is_refused(made: Path, keys, broken, said) -> None:
    broken(made)
    found = refused(made, keys[1])
    assert found.startswith("the evidence of model 'm:1' is broken: ")
    assert said in found


def test_a_signature_cannot_be_moved_to_other_evidence(made: Path, keys, tmp_path: Path) -> None:
    other = evidence.write(tmp_path / "other", facts("other:1"), MANIFEST, CONTENTS, keys[0])
    shutil.copy(other / "evidence.sig", made / "evidence.sig")
    assert "Hash mismatch for 'provenance.json'" in refused(made, keys[1])
    assert "it speaks of model 'other:1'" in refused(other, keys[1])
    assert evidence.check(other, keys[1], "other:1", production=False)


def test_another_key_is_not_believed_whatever_it_signs(made: Path, tmp_path: Path) -> None:
    theirs = signers.throw_away(tmp_path / "theirs")
    assert "Key mismatch" in refused(made, Trust(KEY, theirs.with_suffix(".pub")))


def signed(tmp_path: Path, keys, **changes: object) -> Path:
    """Evidence that is signed as it should be, over content that is not."""
    root = evidence.write(tmp_path / "bad", facts(), MANIFEST, CONTENTS, keys[0])
    for name, content in changes.items():
        (root / "evidence" / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    keys[0].sign(root / "evidence", root / "evidence.sig")
    return root


def test_a_signature_makes_nothing_true_of_files_that_contradict_each_other(made: Path, tmp_path: Path, keys) -> None:
    less = MANIFEST.record[1:]
    assert "name different files" in refused(signed(tmp_path, keys, manifest=less), keys[1])
    assert "'metrics.json' is not the file that" in refused(signed(tmp_path, keys, metrics='{"x": 1}'), keys[1])
    assert "is no list of files" in refused(signed(tmp_path, keys, manifest="{"), keys[1])
    assert "holds no statement" in refused(signed(tmp_path, keys, provenance={"_type": "x"}), keys[1])
    assert "holds no statement" in refused(signed(tmp_path, keys, provenance="[]"), keys[1])
    found = json.loads((made / "evidence" / "provenance.json").read_text())
    kind = {**found, "predicateType": "https://example.com/other"}
    assert "a statement of another kind" in refused(signed(tmp_path, keys, provenance=kind), keys[1])


def test_a_throw_away_key_is_believed_by_no_production_stack(tmp_path: Path, keys) -> None:
    root = evidence.write(tmp_path / "m-1", facts(signer=THROW_AWAY), MANIFEST, CONTENTS, keys[0])
    assert evidence.check(root, keys[1], "m:1", production=False)
    assert "no production stack believes" in refused(root, keys[1], production=True)


def test_written_again_it_is_the_same_but_for_the_signature_and_nothing_is_left_over(made: Path, keys) -> None:
    before = {file.name: file.read_bytes() for file in (made / "evidence").iterdir()}
    evidence.write(made, facts(), MANIFEST, CONTENTS, keys[0])
    assert {file.name: file.read_bytes() for file in (made / "evidence").iterdir()} == before
    assert [entry.name for entry in made.parent.iterdir()] == ["m-1"]


def test_a_key_that_is_none_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "bad.key").write_text("-----BEGIN NOTHING-----")
    with pytest.raises(UsageError, match=r"bad\.key' is no private key"):
        evidence.write(tmp_path / "m-1", facts(), MANIFEST, CONTENTS, Signer(KEY, tmp_path / "bad.key"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.key"]


def test_the_throw_away_key_is_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    first = signers.throw_away(tmp_path / "signing")
    content = first.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600
    first.with_suffix(".pub").unlink()  # killed between the two
    assert signers.throw_away(tmp_path / "signing").read_bytes() == content
    assert {entry.name for entry in first.parent.iterdir()} == {"throw-away.key", "throw-away.pub"}


@pytest.mark.long
def test_the_published_program_says_the_same(made: Path, keys) -> None:
    line = ["verify", "key", made / "evidence", "--signature", made / "evidence.sig", "--public_key", keys[1].file]
    program = "import sys; from model_signing._cli import main; sys.exit(main())"

    def verify() -> int:
        return subprocess.run([sys.executable, "-c", program, *map(str, line)], capture_output=True).returncode

    assert verify() == 0
    change("evidence/metrics.json")(made)
    assert verify() != 0


def test_a_file_that_is_a_folder_as_well_is_no_evidence(tmp_path: Path) -> None:
    stored = MemoryFolder({"evidence": "x", "evidence/manifest.json": "{}"})
    with pytest.raises(GateSaidNo, match=r"'m:1' is broken: 'evidence/manifest\.json'"):
        evidence_store.fetch(stored, tmp_path, "m:1")


@pytest.mark.parametrize("name", ["../outside", "/outside", "evidence/../../outside", "a\\..\\b", "evidence/a\nb"])
def test_evidence_that_leads_out_of_its_folder_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(GateSaidNo, match="named oddly"):
        evidence_store.fetch(MemoryFolder({name: "x"}), tmp_path / "in", "m:1")
    assert not list(tmp_path.iterdir())


# -- what the service says of a model, held against what was signed

SIGNED = {**TAGS, "job": "j", "files_sha256": MANIFEST.sha256, "gate": "passed"}


@pytest.mark.parametrize("tag", sorted(SIGNED))
def test_every_signed_tag_of_a_model_must_be_as_it_was_signed(made: Path, keys, tag: str) -> None:
    found = evidence.check(made, keys[1], "m:1", production=True)
    files = MemoryFolder(FILES)
    assert acceptance._objections(Stored("m", "1", {**SIGNED, "note": "of no weight"}, files, None), found) == []
    for changed in ({**SIGNED, tag: "x"}, {name: text for name, text in SIGNED.items() if name != tag}):
        (said,) = acceptance._objections(Stored("m", "1", changed, files, None), found)
        assert said == f"its tag '{tag}' is '{changed.get(tag, '')}', and signed was '{SIGNED[tag]}'"


def test_a_model_with_other_files_is_not_the_one_that_was_signed(made: Path, keys) -> None:
    found = evidence.check(made, keys[1], "m:1", production=True)
    less = {name: text for name, text in FILES.items() if name != "MLmodel"}
    for files, said in ((less, "missing are 'MLmodel'"), ({**FILES, "predict.py": "x"}, "added were 'predict.py'")):
        assert acceptance._objections(Stored("m", "1", SIGNED, MemoryFolder(files), None), found) == [said]


@pytest.mark.parametrize(
    ("model", "public"),
    [
        ("azureml://registries/azureml/models/Phi-4/versions/7", True),
        ("azureml://registries/AzureML/models/Phi-4/versions/7", True),
        ("azureml://registries/azureml-mine/models/Phi-4/versions/7", False),
        ("azureml://registries/mine/models/azureml/versions/7", False),
        ("azureml://registries/azureml/models/Phi-4/versions/7/../../../mine", False),
        ("azureml:Phi-4:7", False),
        ("Phi-4:7", False),
    ],
)
def test_only_a_model_of_azures_own_registries_needs_no_evidence(model: str, public: bool) -> None:
    assert acceptance.is_public(model) is public
