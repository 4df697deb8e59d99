"""What rests in host memory: nothing changes by it, and it is not on the device meanwhile."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hand_batch import make_batch, make_model
from test_checkpoint import new_learner, settings, trained
from torch import Tensor

from rlef.learner.offload import Resting
from rlef.learner.update import LocalLearner

CPU = torch.device("cpu")


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets tensors move as if this CPU's memory were a device's."""
    monkeypatch.setattr("rlef.learner.offload.has_own_memory", lambda _device: True)


def states(learner: LocalLearner) -> list[Tensor]:
    assert learner.critic_descent is not None
    found = []
    for descent in (learner.policy_descent, learner.critic_descent):
        state = descent.optimizer.state
        for parameter in descent.optimizer.param_groups[0]["params"]:
            found += [state[parameter]["exp_avg"], state[parameter]["exp_avg_sq"]]
    return found


def test_values_survive_and_the_place_on_the_device_is_given_back(moving: None) -> None:
    tensors = [torch.nn.Parameter(torch.arange(6.0).view(2, 3)), torch.ones(2), torch.tensor(3.0)]
    resting = Resting(lambda: tensors, CPU)
    first = tensors[0].untyped_storage()
    resting.rest()
    assert tensors[0].data_ptr() != first.data_ptr()
    for round_ in range(3):
        with resting.awake():
            on_device = tensors[0].data_ptr()
            assert on_device not in {copy.data_ptr() for copy in resting.host_tensors()}
            tensors[0].data += 1
        assert tensors[0].data_ptr() in {copy.data_ptr() for copy in resting.host_tensors()}
        assert torch.equal(tensors[0], torch.arange(6.0).view(2, 3) + round_ + 1)
    assert len(resting.host_tensors()) == 2  # a scalar stays


def test_constant_tensors_are_copied_once(moving: None) -> None:
    tensor = torch.ones(3)
    resting = Resting(lambda: [tensor], CPU, constant=True)
    resting.rest()
    place = tensor.data_ptr()
    with resting.awake():
        tensor.fill_(2.0)  # against the rules, to see that nothing is copied back
    assert tensor.data_ptr() == place and torch.equal(tensor, torch.ones(3))


def test_on_a_cpu_nothing_moves() -> None:
    tensor = torch.ones(3)
    place = tensor.data_ptr()
    resting = Resting(lambda: [tensor], CPU)
    with resting.awake():
        assert tensor.data_ptr() == place
    assert tensor.data_ptr() == place and not resting.host_tensors()


@pytest.mark.parametrize("offload", ["reference", "all"])
@pytest.mark.parametrize(
    "changes", [{}, {"critic_lora": {"rank": 2}}, {"lora": {"rank": 2}}], ids=str
)
def test_offload_changes_no_bit_and_goes_on(
    offload: str, changes: dict[str, Any], moving: None, tmp_path: Path
) -> None:
    plain = new_learner(make_model(), changes | {"offload": "none"})
    learner = new_learner(make_model(), changes | {"offload": offload})
    other = new_learner(make_model(), changes | {"offload": offload})
    metrics = [one.update(make_batch(), steps=2) for one in (plain, learner)]
    learner.save(tmp_path)
    other.restore(tmp_path)
    metrics += [one.update(make_batch(), steps=2) for one in (plain, learner, other)]
    timeless = [str(found | {"score_s": 0.0}) for found in metrics]
    assert timeless[0] == timeless[1] and len(set(timeless[2:])) == 1
    for tensors in zip(
        *(trained(one) + states(one) for one in (plain, learner, other)), strict=True
    ):
        assert torch.equal(tensors[0], tensors[1]) and torch.equal(tensors[0], tensors[2])
    for one in (learner, other):
        resting = one.policy_descent._states
        places = {copy.data_ptr() for copy in resting.host_tensors()} if resting else set()
        ours = one.policy_descent.optimizer.state.values()
        assert all(s["exp_avg"].data_ptr() in places for s in ours) == (offload == "all")


def test_a_reference_that_others_stand_on_stays(moving: None) -> None:
    for changes, rests in (
        ({}, True),
        ({"critic_lora": {"rank": 2}}, False),
        ({"kl": "none"}, False),
    ):
        learner = LocalLearner(make_model(), settings(**changes), seed=0)
        assert bool(learner._reference.host_tensors()) == rests
