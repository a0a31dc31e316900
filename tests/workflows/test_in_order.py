"""The commands of the workflows, read from their files and run in the order of a model's life, each as its identity.

What GitHub does is given by hand: the values of a job's `env`, and who is logged in. Nothing is interpreted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from localcloud import client, environment
from localcloud.cloud import PRINCIPAL_ID, SUBSCRIPTION
from localcloud.principals import Federated
from tests.conftest import HANG_SECONDS
from tests.e2e.conftest import CATALOG, RECIPE, Story, make_talkative
from tests.tiny_model import make_tiny_model
from tests.workflows.reading import GITHUB, ROOT, commands, load

REPOSITORY = "acme/tunestack"
# The tiny model under a name whose price is known: a workflow says what a fine-tune costs before it starts one.
NAME, VERSION = "SmolLM2-135M-Instruct", "99"
DIALS = {"tunestack:owner": "test"}
KEPT = {"PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true"}
PULUMI = {"PULUMI_SKIP_CONFIRMATIONS": "true", "PULUMI_OPTION_SKIP_PREVIEW": "true"}


def as_priced(text: str) -> str:
    """The tiny model's catalog entry or recipe, under the name and version above."""
    named = text.replace("Tiny-Chat/versions/1", f"{NAME}/versions/{VERSION}").replace("Tiny-Chat", NAME)
    return named.replace('version: "1"', f'version: "{VERSION}"')


@dataclass
class Organisation:
    """The bootstrap's outputs, a copy of the checkout, and what jobs are given in their `env`."""

    story: Story
    made: Mapping[str, dict[str, str]] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.story.folder / "project"

    def run(self, line: str, values: Mapping[str, str], principal: Federated | None = None, status: int = 0) -> str:
        env = {**environment.for_command(client.find(self.story.state), principal=principal), **values}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.project,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3 * HANG_SECONDS,  # a line may be a whole fine-tune
        )
        print(f"{time.monotonic() - began:6.1f} s  {line[:90]}", file=sys.stderr)
        assert done.returncode == status, f"$ {line}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        return done.stdout.strip() if status == 0 else done.stdout + done.stderr

    def state_of(self, name: str) -> dict[str, str]:
        """Where the state of an environment is, and the stack that stands for it on the local cloud."""
        url = f"azblob://{name}?storage_account={self.made['state_account']}"
        return {"PULUMI_STACK": f"local-{name}", "PULUMI_BACKEND_URL": url}

    def written(self, name: str) -> set[Path]:
        """Every blob of an environment's state: stacks, their history, and locks."""
        return set((self.story.state / "blobs" / self.made["state_account"] / name).rglob("*"))

    def as_owner(self, line: str, name: str) -> str:
        return self.run(line, {**self.state_of(name), **PULUMI})

    def job(self, workflow: str, job: str, name: str, status: int = 0, **more: str) -> list[str]:
        """Run a job's commands for one environment; what each printed. A wanted failure is that of the last one."""
        described = load(GITHUB / "workflows" / f"{workflow}.yml")["jobs"][job]
        values = {**self.state_of(name), "ARM_SUBSCRIPTION_ID": SUBSCRIPTION, **more}
        assert set(described["env"]) == set(values), f"{workflow}.{job} has other variables: {set(described['env'])}"
        values["PULUMI_OPTION_SKIP_PREVIEW"] = "true"
        who = re.sub(r"\$\{\{.*\}\}", name, described.get("environment", "preview"))
        subject = "pull_request" if who == "preview" else f"environment:{who}"
        identity = Federated(self.made["clients"][who], f"repo:{REPOSITORY}:{subject}")
        lines = commands(workflow, job)
        return [
            self.run(line, values, identity, status if number == len(lines) else 0)
            for number, line in enumerate(lines, 1)
        ]


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisation]:
    folder = tmp_path_factory.mktemp("organisation")
    tiny = make_talkative(make_tiny_model(folder / "tiny" / "mlflow_model_folder"))
    (folder / "catalog").mkdir()
    (folder / "catalog" / "tiny.yaml").write_text(as_priced(CATALOG.format(folder=tiny)))
    project = folder / "project"
    project.mkdir()
    for name in ("infra", "scripts", "pipelines"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Pulumi.yaml", project)
    (project / ".venv").symlink_to(Path(sys.executable).parents[1])
    (project / "tiny.yml").write_text(as_priced(RECIPE))
    made = Organisation(Story(folder))
    made.story.start()
    try:
        _bootstrap(made)
        yield made
    finally:
        assert made.story.server
        made.story.server.terminate()
        made.story.server.wait(timeout=HANG_SECONDS)


def _bootstrap(made: Organisation) -> None:
    """What docs/gitops.md sets up by hand: the bootstrap, the shared registry, and the stacks with their operators."""
    line = (
        "cd infra/bootstrap && pulumi stack init local && pulumi config set repository $REPOSITORY && "
        'pulumi config set --path "administrators[0]" $ME && pulumi config set --path "environments[0]" dev && '
        'pulumi config set --path "environments[1]" prod && pulumi up >&2 && pulumi stack output --json'
    )
    given = {"REPOSITORY": REPOSITORY, "ME": f"ServicePrincipal:{PRINCIPAL_ID}", **PULUMI}
    made.made = json.loads(made.run(line, given))
    ml, prod = (f"ServicePrincipal:{made.made['principals'][who]}" for who in ("ml", "prod"))
    (made.project / "Pulumi.local-shared.yaml").write_text(
        yaml.safe_dump({"config": {**DIALS, "tunestack:purpose": "registry", "tunestack:operators": [ml, prod]}})
    )
    registry = made.run(
        "pulumi stack init local-shared >&2 && pulumi up >&2 && pulumi stack output registry_name", PULUMI
    )
    for name, operators in (("dev", [ml]), ("prod", [])):
        config = {**DIALS, "tunestack:leaseCap": "never", "tunestack:sharedRegistry": registry}
        (made.project / f"Pulumi.local-{name}.yaml").write_text(
            yaml.safe_dump({"config": {**config, "tunestack:operators": operators}})
        )
        key = made.made["secrets"][name]
        made.as_owner(f"pulumi stack init local-{name} --secrets-provider {key}", name)
    made.given["registry"] = registry


def test_a_model_goes_from_a_pull_request_to_prod_and_each_step_is_an_identity_of_its_own(
    organisation: Organisation,
) -> None:
    job, registry = organisation.job, organisation.given["registry"]

    # preview: the plan of what is not there yet, by somebody who cannot make it.
    job("preview", "plan", "dev")
    page = (organisation.project / "build/plan.md").read_text()
    assert page.startswith("### The plan of stack `local-dev` may be carried out:")
    assert "#### Policies" in page
    assert "$" in page

    # deploy: dev, then prod. What the variables spare is a second preview and copies of the state.
    job("deploy", "dev", "dev", **KEPT)
    job("deploy", "prod", "prod", **KEPT)

    # finetune ends when the job is submitted; nightly finds no drift, and the model when the job has ended.
    name = job("finetune", "submit", "dev", RECIPE="tiny.yml")[-1]
    # The verdict at its end is read from dev's storage, which is its operators' and not the owner's.
    ml = Federated(organisation.made["clients"]["ml"], f"repo:{REPOSITORY}:environment:ml")
    organisation.run(f"scripts/submit_finetune.py --attach {name}", organisation.state_of("dev"), ml)
    job("nightly", "drift", "dev")
    by = {"TUNESTACK_SIGNING_KEY": ""}  # with a throw-away key: only GitHub gives a workflow an identity
    (model,) = job("nightly", "register", "dev", **by)
    assert re.fullmatch(rf"{NAME}-[\w-]+:\d{{10}}", model)
    assert job("nightly", "register", "dev", **by) == [""]

    # promote: dev's model, in prod, from the registry that both know.
    believed = {"TUNESTACK_SIGNER": "", "TUNESTACK_ISSUER": ""}
    (promoted,) = job("promote", "copy", "dev", REGISTRY=registry, MODEL=model, **believed)
    models = f"azureml://registries/{registry}/models"
    assert promoted == f"{models}/{model.replace(':', '/versions/')}"
    served = {"MODELS": models, "MODEL": model, "SLOT": "blue", "PLAN": "all-at-once.yml"}
    assert job("promote", "serve", "prod", **served, **believed) == ["blue", "blue=100"]

    # sweep: leases of dev, by somebody who has no right to what serves prod.
    job("sweep", "leases", "dev")


@pytest.mark.parametrize(
    ("who", "subject", "line", "of"),
    [
        ("preview", "pull_request", "pulumi up --yes --skip-preview", "dev"),
        ("dev", "environment:dev", "pulumi stack export", "prod"),
        ("ml", "environment:ml", "pulumi up --yes --skip-preview", "dev"),
        ("prod", "environment:dev", "pulumi stack export", "prod"),
        ("prod", "ref:refs/heads/main", "pulumi stack export", "prod"),
    ],
)
def test_no_identity_does_anothers_work_and_none_answers_to_anothers_subject(
    organisation: Organisation, who: str, subject: str, line: str, of: str
) -> None:
    identity = Federated(organisation.made["clients"][who], f"repo:{REPOSITORY}:{subject}")
    before = organisation.written(of)
    said = organisation.run(line, organisation.state_of(of), identity, status=1)
    # A refused write makes Pulumi 3.259 itself fail, in the `Close` of its blob writer, before it can say what for.
    assert re.search(r"AuthorizationPermissionMismatch|AADSTS700213|azureblob\.\(\*writer\)\.Close", said), said
    assert organisation.written(of) == before
