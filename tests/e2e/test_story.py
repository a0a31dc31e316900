"""The whole story with the real engine, the unmodified SDKs and every script, killed half-way."""

from __future__ import annotations

import json
import re
from dataclasses import fields

from tests.e2e.conftest import TINY, Story
from tunestack.outputs import StackOutputs


def test_the_whole_story(story: Story) -> None:
    run = story.run
    run("pulumi stack select --create local")
    data = run("scripts/prepare_data.py --recipe tiny.yml")
    assert "pulumi up" in run(f"scripts/submit_finetune.py --recipe tiny.yml --data {data}", status=3)

    # Up, and up again: no changes; the outputs are the contract.
    run("pulumi up")
    run("pulumi up --expect-no-changes")
    assert set(json.loads(run("pulumi stack output --json"))) == {field.name for field in fields(StackOutputs)}

    # Data, fine-tune, register: each can be run again and finds what is there.
    assert run("scripts/prepare_data.py --recipe tiny.yml") == data
    job = run(f"scripts/submit_finetune.py --recipe tiny.yml --data {data}")
    assert run(f"scripts/submit_finetune.py --recipe tiny.yml --data {data}") == job
    model = run(f"scripts/register_model.py --job {job}")
    assert re.fullmatch(r"SmolLM2-135M-Instruct-[\w-]+:\d{10}", model)
    assert run(f"scripts/register_model.py --job {job}") == model

    # First roll-out, with a changed tag between its steps.
    run(f"scripts/deploy_model.py --model {TINY} --slot blue")
    assert "green" in run("scripts/shift_traffic.py --to green", status=2)
    run("scripts/shift_traffic.py --to blue")
    run(f"scripts/deploy_model.py --model {model} --slot green")
    run("scripts/shift_traffic.py --to green --percent 10")
    assert story.traffic() == {"blue": 90, "green": 10}
    run("pulumi config set owner first && pulumi up")
    assert story.traffic() == {"blue": 90, "green": 10}
    run("scripts/shift_traffic.py --to green --plan canary.yml")
    assert story.traffic()["green"] == 100

    # Killed and started again: everything is there and served.
    story.kill()
    story.start()
    sample = f"--sample {data}/sample.jsonl --parameter max_new_tokens=8"
    run(f"scripts/invoke.py {sample}")
    assert run(f"scripts/submit_finetune.py --recipe tiny.yml --data {data}") == job

    # Second roll-out, back to blue, with another changed tag.
    run("scripts/shift_traffic.py --rollback")
    assert story.traffic() == {"blue": 90, "green": 10}
    run("scripts/shift_traffic.py --to blue")
    run("pulumi config set owner second && pulumi up && pulumi up --expect-no-changes")
    assert story.traffic()["blue"] == 100

    # Down, and the proof, which sees what is left before.
    assert "endpoint" in run("scripts/sweep.py --everything", status=5).lower()
    run("scripts/deploy_model.py --delete green --delete blue")
    run("pulumi destroy")
    assert run("scripts/sweep.py --everything") == "nothing left"
