"""Traffic: weights always sum to 100, a failed check puts back what was, a killed shift is taken up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tunestack.deployments import traffic
from tunestack.deployments.endpoint import Deployment
from tunestack.deployments.scoring import Answer
from tunestack.deployments.traffic import BEFORE, SHIFT, CanaryPlan, Check
from tunestack.errors import CloudError, GateSaidNo, UsageError


class Slots:
    """An endpoint in memory, with the same manners: weights of 0 are not kept."""

    name = "chat"

    def __init__(self, weights, *others, state="Succeeded"):
        self.weights = dict(weights)
        self.tags = {name: {} for name in (*weights, *others)}
        self.state = state
        self.history = []

    def traffic(self):
        return dict(self.weights)

    def deployments(self):
        return {name: self.deployment(name) for name in self.tags}

    def deployment(self, name):
        return Deployment(name, "m", self.state, dict(self.tags[name]), {}) if name in self.tags else None

    def set_traffic(self, weights):
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.history.append(self.weights)

    def set_tags(self, deployment, tags):
        self.tags[deployment.name] = dict(tags)


class Asked:
    """Answers as told: `fails` is the number of the request that goes wrong."""

    def __init__(self, fails=0, text="Hello", slot=None):
        self.count, self.fails, self.text, self.slot = 0, fails, text, slot

    def ask(self, body, slot=""):
        self.count += 1
        if self.count == self.fails:
            raise CloudError("the model answered with status 500")
        return Answer(self.text, self.slot or slot, 0.1, {})


CANARY = CanaryPlan(steps=(10, 100))
WEIGHTS = some.lists(some.integers(0, 100), min_size=1, max_size=4).filter(any)


@given(WEIGHTS, some.integers(1, 100), some.booleans())
def test_weights_sum_to_100_and_the_slot_gets_its_share(parts, percent, is_new):
    before = {f"s{number}": weight for number, weight in enumerate(parts)}
    slot = "new" if is_new else "s0"
    if percent < 100 and not any(weight for name, weight in before.items() if name != slot):
        with pytest.raises(UsageError, match="no other deployment has traffic"):
            traffic.weights_for(before, slot, percent)
        return
    found = traffic.weights_for(before, slot, percent)
    assert sum(found.values()) == 100
    assert found[slot] == percent
    assert all(found[name] == 0 for name, weight in before.items() if not weight and name != slot)


def test_the_first_slot_gets_all():
    slots = Slots({}, "blue")
    assert traffic.shift(slots, Asked(), "blue", CanaryPlan(steps=(100,))) == {"blue": 100}
    assert slots.weights == {"blue": 100}


def test_a_canary_goes_by_its_steps_each_checked_and_keeps_what_was_before():
    slots, asked = Slots({"blue": 100}, "green"), Asked()
    traffic.shift(slots, asked, "green", CANARY)
    assert slots.history == [{"blue": 90, "green": 10}, {"green": 100}]
    assert asked.count == 3
    assert slots.tags == {"blue": {BEFORE: "100"}, "green": {BEFORE: "0"}}


def test_run_again_it_says_so_and_writes_nothing():
    slots = Slots({"blue": 100}, "green")
    traffic.shift(slots, Asked(), "green", CANARY)
    slots.history.clear()
    assert traffic.shift(slots, Asked(), "green", CANARY) == {"blue": 0, "green": 100}
    assert slots.history == []
    assert slots.tags["blue"] == {BEFORE: "100"}


@pytest.mark.parametrize("fails", [2, 3])
def test_a_failed_check_puts_back_what_was_before(fails):
    slots = Slots({"blue": 100}, "green")
    with pytest.raises(GateSaidNo, match="status 500"):
        traffic.shift(slots, Asked(fails=fails), "green", CANARY)
    assert slots.weights == {"blue": 100}
    assert SHIFT not in slots.tags["green"]


def test_a_slot_that_fails_before_the_shift_gets_nothing():
    slots = Slots({"blue": 100}, "green")
    with pytest.raises(GateSaidNo):
        traffic.shift(slots, Asked(fails=1), "green", CANARY)
    assert (slots.history, slots.tags["green"]) == ([], {})


@pytest.mark.parametrize(("asked", "said"), [(Asked(text=""), "empty"), (Asked(slot="blue"), "'blue' answered")])
def test_an_answer_that_is_empty_or_from_elsewhere_is_no_answer(asked, said):
    with pytest.raises(GateSaidNo, match=said):
        traffic.shift(Slots({"blue": 100}, "green"), asked, "green", CANARY)


class Killed(BaseException):
    """The process ends here."""


def test_a_killed_shift_is_taken_up_and_still_remembers_the_weights_before_it():
    slots = Slots({"blue": 100}, "green")

    class Dies(Asked):
        def ask(self, body, slot=""):
            if self.count == 1:
                raise Killed
            return super().ask(body, slot)

    with pytest.raises(Killed):
        traffic.shift(slots, Dies(), "green", CANARY)
    assert slots.weights == {"blue": 90, "green": 10}
    traffic.shift(slots, Asked(), "green", CANARY)
    assert slots.weights == {"green": 100}
    assert slots.tags == {"blue": {BEFORE: "100"}, "green": {BEFORE: "0"}}
    traffic.roll_back(slots, Asked(), Check())
    assert slots.weights == {"blue": 100}


def test_a_rollback_can_be_rolled_back():
    slots = Slots({"blue": 100}, "green")
    traffic.shift(slots, Asked(), "green", CANARY)
    assert traffic.roll_back(slots, Asked(), Check()) == {"blue": 100, "green": 0}
    assert traffic.roll_back(slots, Asked(), Check()) == {"blue": 0, "green": 100}


def test_a_rollback_to_a_slot_that_does_not_answer_changes_nothing():
    slots = Slots({"blue": 100}, "green")
    traffic.shift(slots, Asked(), "green", CANARY)
    with pytest.raises(GateSaidNo):
        traffic.roll_back(slots, Asked(fails=1), Check())
    assert slots.weights == {"green": 100}


def test_without_a_shift_there_is_nothing_to_roll_back():
    with pytest.raises(UsageError, match="no shift to roll back"):
        traffic.roll_back(Slots({"blue": 100}), Asked(), Check())


def test_a_rollback_whose_slot_is_gone_is_refused():
    slots = Slots({"blue": 100}, "green")
    traffic.shift(slots, Asked(), "green", CANARY)
    del slots.tags["blue"]
    with pytest.raises(UsageError, match="which is not 100"):
        traffic.roll_back(slots, Asked(), Check())


def test_an_absent_deployment_is_named_beside_those_that_are_there():
    with pytest.raises(UsageError, match="no deployment 'gren'; deployments are: blue, green"):
        traffic.shift(Slots({"blue": 100}, "green"), Asked(), "gren", CANARY)


def test_a_deployment_that_failed_gets_no_traffic():
    with pytest.raises(UsageError, match="in state 'Failed'"):
        traffic.shift(Slots({"blue": 100}, "green", state="Failed"), Asked(), "green", CANARY)


@pytest.mark.parametrize(
    "text", ["steps: [100, 10]", "steps: [0, 100]", "steps: [10, 110]", "steps: []", "steps: [10, 10]"]
)
def test_a_plan_rises_from_1_to_100(tmp_path, text):
    (tmp_path / "plan.yml").write_text(text)
    with pytest.raises(UsageError, match="'steps'"):
        traffic.read_plan(tmp_path / "plan.yml")
