"""Agents of Stable-Baselines3: the same actions as its own, and nothing in a zip is ever run."""

from __future__ import annotations

import base64
import gc
import io
import json
import pickle
import stat
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from model_sources import load_model, registry, source_of
from stable_baselines3 import A2C, DQN, PPO, SAC
from walk import WALK

from adversarial.attacks.pgd import pgd
from adversarial.entries import TaskEntry
from adversarial.errors import ModelError, UnknownName
from adversarial.inputs import Inputs
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.checking.report import check_model
from tasks.control import sb3_reader
from tasks.control.cartpole import CARTPOLE
from tasks.control.task import Control, make
from tasks.measuring.protocol import Trial
from tasks.models import LoadedModel, load_source, parse, zips


CPU = torch.device("cpu")
TASK = "control-cartpole"
KINDS: dict[str, Callable[[], Any]] = {
    "PPO": lambda: PPO("MlpPolicy", "CartPole-v1", seed=0, n_steps=32, batch_size=16, n_epochs=1, device="cpu"),
    "A2C": lambda: A2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu"),
    "DQN": lambda: DQN("MlpPolicy", "CartPole-v1", seed=0, learning_starts=8, buffer_size=64, device="cpu"),
    "wide": lambda: PPO(
        "MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={"activation_fn": torch.nn.ReLU, "net_arch": [24, 8, 12]}
    ),
    "linear": lambda: A2C("MlpPolicy", "CartPole-v1", seed=0, policy_kwargs={"net_arch": []}),
}


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """The zip and the agent itself, after a handful of steps."""
    folder = tmp_path_factory.mktemp("agents")
    found = {}
    for name, make_agent in KINDS.items():
        agent = make_agent()
        if name in ("PPO", "A2C", "DQN"):
            agent.learn(40)
        if name == "DQN":  # so short a training likes one action best everywhere
            with torch.no_grad():
                values = agent.q_net(torch.from_numpy(observations()))
                agent.q_net.q_net[-1].bias -= values.median(0).values
        agent.save(folder / f"{name}.zip")
        found[name] = (folder / f"{name}.zip", agent)
    return found


def loaded(path: Path, attribute: str = "") -> LoadedModel:
    return load_model(f"sb3:{path}" + (f":{attribute}" if attribute else ""), TASK)


def observations(count: int = 200) -> np.ndarray[Any, np.dtype[np.float32]]:
    draw = np.random.default_rng(0)
    return (3 * draw.normal(size=(count, 4)) * np.array(CARTPOLE.scale)).astype(np.float32)


def rewritten(path: Path, target: Path, **changed: bytes | None) -> Path:
    """A copy of an agent's zip with other files in it; None leaves one out. `_pth` in a name stands for `.pth`."""
    parts = {name.replace("_pth", ".pth"): data for name, data in changed.items()}
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name not in parts:
                new.writestr(name, old.read(name))
        for name, data in parts.items():
            if data is not None:
                new.writestr(name, data)
    return target


def saved(tensors: object) -> bytes:
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def live(pickled: bytes, path: Path) -> bytes:
    """The pickle, once it has been seen to do what it does."""
    pickle.loads(pickled).close()
    path.unlink()
    return pickled


@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_those_of_stable_baselines(agents: dict[str, tuple[Path, Any]], kind: str) -> None:
    path, agent = agents[kind]
    victim, seen = loaded(path).victim, observations()
    own, _ = agent.predict(seen, deterministic=True)
    logits = victim(Inputs(torch.from_numpy(seen))).values
    assert logits.dtype == torch.float32
    assert logits.shape == (200, 2)
    assert logits.argmax(1).tolist() == own.tolist()
    assert 0 < int(own.sum()) < 200
    variable = torch.from_numpy(seen).requires_grad_(True)
    victim(Inputs(variable)).values.sum().backward()
    assert variable.grad is not None
    assert bool((variable.grad != 0).any(1).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_carries_no_pickle_and_brings_the_same_model(
    agents: dict[str, tuple[Path, Any]], kind: str, tmp_path: Path
) -> None:
    first = loaded(agents[kind][0])
    assert sorted(first.files) == ["model.safetensors", "sb3.json"]
    assert first.carried
    assert first.facts["architecture"] == {"wide": "PPO", "linear": "A2C"}.get(kind, kind)
    assert first.facts["activation"] == ("relu" if kind in ("DQN", "wide") else "tanh")
    for name, file in first.files.items():
        (tmp_path / name).write_bytes(file.read_bytes())
    (tmp_path / "source.json").write_text("{}")  # as in a bundle
    again = loaded(tmp_path)
    assert again.hash == first.hash
    assert again.facts == first.facts
    seen = Inputs(torch.from_numpy(observations()))
    assert torch.equal(again.victim(seen).values, first.victim(seen).values)
    kept = first.files["sb3.json"].parent
    del first
    gc.collect()
    assert not kept.exists()


def test_returns_are_those_of_the_agent_in_its_own_environment(agents: dict[str, tuple[Path, Any]]) -> None:
    path, agent = agents["PPO"]
    measured = make().measure(loaded(path).victim, Trial(None, None, limit=2), Ledger())
    environment = gymnasium.make("CartPole-v1")
    for seed, value in zip(CARTPOLE.seeds("test")[:2], measured.examples.values, strict=True):
        seen, over, total = environment.reset(seed=seed)[0], False, 0.0
        while not over:
            seen, reward, ended, cut, _ = environment.step(int(agent.predict(seen, deterministic=True)[0]))
            over, total = ended or cut, total + float(reward)
        assert value == total
    threat = Threat.parse("observations-linf:1@gradient")
    attacked = make().measure(loaded(path).victim, Trial(threat, partial(pgd, steps=2), limit=4), Ledger())
    assert sum(attacked.examples.columns["flipped_steps"]) > 0


def test_code_in_the_weights_is_refused_and_not_run(agents: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", agents["PPO"][0]
    for protocol in range(6):
        pickled = live(pickle.dumps(Payload(mark), protocol), mark)
        checkpoint = saved(OrderedDict(x=torch.zeros(1)))
        inner = rewritten_inside(checkpoint, pickled)
        with pytest.raises(ModelError, match="nothing is unpickled"):
            loaded(rewritten(path, tmp_path / "evil.zip", policy_pth=inner))
        with pytest.raises(ModelError, match="not a zip"):
            loaded(rewritten(path, tmp_path / "evil.zip", policy_pth=pickled))
        with pytest.raises(ModelError, match="not a zip"):
            loaded(written(tmp_path / "plain.pkl", pickled))
        with pytest.raises(ModelError, match="nothing is unpickled"):
            loaded(rewritten(path, tmp_path / "evil.zip", policy_pth=saved({"a": torch.zeros(1), "b": Payload(mark)})))
        assert not mark.exists()


def test_code_in_the_settings_is_not_run(agents: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", agents["PPO"][0]
    pickled = live(pickle.dumps(Payload(mark)), mark)
    with zipfile.ZipFile(path) as archive:
        settings = json.loads(archive.read("data"))
    for name in ("lr_schedule", "policy_class", "observation_space", "policy_kwargs"):
        settings[name] = {":type:": "<class 'function'>", ":serialized:": base64.b64encode(pickled).decode()}
    optimiser = saved(Payload(mark))
    changed = rewritten(
        path,
        tmp_path / "evil.zip",
        data=json.dumps(settings).encode(),
        **{"policy.optimizer_pth": optimiser, "pytorch_variables_pth": pickled},
    )
    found = loaded(changed)
    assert found.hash == loaded(path).hash
    assert not mark.exists()
    assert not any(b"serialized" in file.read_bytes() for file in found.files.values())


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def rewritten_inside(checkpoint: bytes, pickled: bytes) -> bytes:
    """A checkpoint of torch with another pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    return file.getvalue()


def weights(path: Path) -> dict[str, torch.Tensor]:
    with zipfile.ZipFile(path) as archive:
        return sb3_reader.tensors(archive.read("policy.pth"), "policy.pth")


def test_other_agents_are_refused_with_what_they_are(agents: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    path = agents["PPO"][0]
    own = weights(path)
    seen = {name: tensor.numpy() for name, tensor in own.items()}
    reference = agents["PPO"][1].policy.state_dict()
    assert seen.keys() == reference.keys()
    assert all(np.array_equal(seen[name], tensor.numpy()) for name, tensor in reference.items())

    def refused(message: str, changes: dict[str, torch.Tensor] | None = None, **files: bytes | None) -> None:
        if changes is not None:
            files["policy_pth"] = saved(OrderedDict(changes))
        with pytest.raises(ModelError, match=message):
            loaded(rewritten(path, tmp_path / "other.zip", **files))

    refused("continuous actions; PPO,", {"actor.mu.weight": torch.zeros(2, 4), "actor.mu.bias": torch.zeros(2)})
    refused("continuous actions; PPO,", own | {"log_std": torch.zeros(2)})
    refused("agent of QR-DQN; PPO,", {"quantile_net.quantile_net.0.weight": torch.zeros(400, 4)})
    refused("agent of ARS; PPO,", {"action_net.0.weight": torch.zeros(2, 4)})
    refused("agent of recurrent PPO; PPO,", own | {"lstm_actor.weight_ih_l0": torch.zeros(4, 4)})
    refused("unknown algorithm, with weights 'mine.weight'; PPO,", own | {"mine.weight": torch.zeros(2)})
    refused("images", own | {"features_extractor.cnn.0.weight": torch.zeros(8, 3, 4, 4)})
    refused(
        "CartPole-v1 has 4 and 2", own | {"action_net.weight": torch.zeros(3, 64), "action_net.bias": torch.zeros(3)}
    )
    refused("NaN", own | {"action_net.bias": torch.full((2,), torch.nan)})
    refused("follow upon", own | {"action_net.weight": torch.zeros(2, 63)})
    refused("another kind of number", own | {"action_net.bias": torch.zeros(2, dtype=torch.int64)})
    refused(
        "not linear ones", {name: tensor for name, tensor in own.items() if name != "mlp_extractor.policy_net.0.bias"}
    )
    refused("`policy.pth`", policy_pth=None)
    refused("not JSON", data=b"{")
    refused("not JSON", data=b"[" * 100_000)
    refused("policy class of its own", data=b'{"policy_class": {"__module__": "evil"}}')
    refused("features extractor", data=b'{"policy_kwargs": {"features_extractor_class": "<class \'evil.Net\'>"}}')
    refused("by state", data=b'{"use_sde": true}')
    refused("agent of QR-DQN", data=b'{"policy_class": {"__module__": "sb3_contrib.qrdqn.policies"}}')
    refused("agent of maskable", data=b'{"policy_class": {"__module__": "sb3_contrib.common.maskable.policies"}}')
    refused("continuous", data=b'{"action_space": {":type:": "<class \'gymnasium.spaces.box.Box\'>", "_shape": [1]}}')
    refused("several actions", data=b'{"action_space": {":type:": "<class \'gym.spaces.multi_binary.MultiBinary\'>"}}')
    refused(r"of shape \[3\]; those of CartPole-v1 have \[4\]", data=b'{"observation_space": {"_shape": [3]}}')
    refused(r"of shape \[1, 4\]; those of CartPole-v1", data=b'{"observation_space": {"_shape": [1, 4]}}')
    refused("which no agent has", **{"evil.py": b"print()"})
    with pytest.raises(ModelError, match="cannot read"):
        loaded(tmp_path / "absent.zip")
    with pytest.raises(ModelError, match="do not fit"):
        load_model(f"sb3:{path}", "speech-digits")


def test_an_agent_of_continuous_actions_says_so(tmp_path: Path) -> None:
    made = {
        "ppo": lambda: PPO("MlpPolicy", "Pendulum-v1", seed=0, device="cpu"),
        "sac": lambda: SAC("MlpPolicy", "Pendulum-v1", seed=0, buffer_size=8, device="cpu"),
    }
    for name, make_agent in made.items():
        make_agent().save(tmp_path / f"{name}.zip")
        with pytest.raises(
            ModelError, match=f"{name}.zip has continuous actions; PPO, A2C, TRPO and DQN with a choice"
        ):
            loaded(tmp_path / f"{name}.zip")


def with_settings(path: Path, target: Path, **changes: object) -> Path:
    """A copy of an agent's zip with other settings; None takes one away."""
    with zipfile.ZipFile(path) as archive:
        settings = {**json.loads(archive.read("data")), **changes}
    kept = {name: value for name, value in settings.items() if changes.get(name, 0) is not None}
    return rewritten(path, target, data=json.dumps(kept).encode())


@pytest.mark.parametrize(
    ("changes", "algorithm"),
    [
        ({}, "A2C"),
        ({"cg_max_steps": 15, "cg_damping": 0.1, "batch_size": 128, "n_critic_updates": 10}, "TRPO"),
        ({"n_epochs": 10, "clip_range": {":type:": "x"}, "batch_size": 64}, "PPO"),
        ({"batch_size": 64, "my_own": 1}, "unknown"),
        ({"gae_lambda": None}, "unknown"),
    ],
)
def test_algorithms_with_the_same_networks_are_told_apart(
    agents: dict[str, tuple[Path, Any]], changes: dict[str, Any], algorithm: str, tmp_path: Path
) -> None:
    found = loaded(with_settings(agents["A2C"][0], tmp_path / "other.zip", **changes))
    assert (found.facts["architecture"], found.facts["activation"]) == (algorithm, "tanh")
    for name, file in found.files.items():
        (tmp_path / name).write_bytes(file.read_bytes())
    assert loaded(tmp_path).hash == found.hash  # as a bundle brings it


def test_a_zip_says_what_it_does_not_hold(agents: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    path = agents["PPO"][0]
    report = check_model(source_of(f"sb3:{path}"), registry().task(TASK), registry(), CPU)
    notes = {check.name: check.detail for check in report.checks if check.level == "note"}
    assert report.ok
    assert "VecNormalize lie outside of the zip and are not read" in notes["normalisation"]
    assert notes["observations"].startswith("of shape [4], as those of CartPole-v1; their order, units and bounds")
    silent = with_settings(path, tmp_path / "silent.zip", observation_space={":serialized:": "gASV"})
    assert "in a pickle alone" in loaded(silent).notes["observations"]


def test_activations_that_cannot_be_read_are_asked_for(agents: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    path = agents["PPO"][0]
    own = rewritten(path, tmp_path / "own.zip", data=b'{"policy_kwargs": {"activation_fn": "<class \'mine.Swish\'>"}}')
    with pytest.raises(ModelError, match=r"sb3:agent.zip:relu"):
        loaded(own)
    assert loaded(own, "silu").facts["activation"] == "silu"
    silent = rewritten(path, tmp_path / "silent.zip", data=b"{}")
    assert loaded(silent).facts["activation"] == "tanh"
    assert loaded(silent, "relu").facts["activation"] == "relu"
    with pytest.raises(ModelError, match="tanh, not relu"):
        loaded(path, "relu")
    with pytest.raises(UnknownName, match="did you mean 'relu'"):
        loaded(path, "relus")


def test_zips_that_are_not_what_they_seem(agents: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    path = agents["PPO"][0]
    target = tmp_path / "zip.zip"

    def refused(message: str) -> None:
        with pytest.raises(ModelError, match=message):
            loaded(target)

    for name in ("../evil", "/evil", "a/../../evil", "C:\\evil", "a\\b", "", "data/"):
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), b"")
        refused("plain names")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(zips.MOST_BYTES + 1))
    assert target.stat().st_size < 2**20
    refused("unpacks to more than")
    claimed = target.read_bytes()
    size = struct.pack("<I", zips.MOST_BYTES + 1)
    target.write_bytes(claimed.replace(size, struct.pack("<I", 10)))
    refused("cannot be unpacked")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("data", b"{}")
    refused("compressed in a way")
    link = zipfile.ZipInfo("data")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(link, b"/etc/hostname")
    refused("is a link")
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data", b"{}")
    raw = bytearray(target.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(signature) + offset] |= 1
    target.write_bytes(raw)
    refused("encrypted")
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data", b"{}")
        archive.writestr("dat2", b"{}")
    target.write_bytes(target.read_bytes().replace(b"dat2", b"data"))
    refused("twice")
    target.write_bytes(b"PK\x01\x02" * (zips.MOST_MEMBERS + 1))
    refused("more than 2000 files")
    with target.open("wb") as file:
        file.truncate(zips.MOST_BYTES + 1)
    refused("more than")
    target.write_bytes(path.read_bytes()[:5000])
    refused("not a zip")


def test_damaged_checkpoints_are_refused() -> None:
    """Every byte of the pickle changed in turn: it is read as before, or refused with a ModelError."""
    checkpoint = saved(OrderedDict(x=torch.arange(6.0).reshape(2, 3), y=torch.ones(2)))
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        pickled = archive.read(name)
    refused = 0
    for place in range(len(pickled)):
        for change in (1, 0x80):
            broken = bytearray(pickled)
            broken[place] ^= change
            try:
                sb3_reader.tensors(rewritten_inside(checkpoint, bytes(broken)), "policy.pth")
            except ModelError:
                refused += 1
    assert refused > len(pickled)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((2, 4), (4, 1), 0), ((2, 3), (3, 2), 0), ((6,), (1,), 1), ((10**9,), (0,), 0), ((), (), 6), ((0,), (1,), 0)],
)
def test_tensors_stay_in_their_storages(size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> None:
    def rebuilt(*numbers: object) -> bytes:
        class Known:
            def __reduce__(self) -> tuple[object, ...]:
                storage = torch.arange(6.0).untyped_storage()
                typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
                return torch._utils._rebuild_tensor_v2, (typed, *numbers, False, OrderedDict())

        return saved({"x": Known()})

    assert sb3_reader.tensors(rebuilt(1, (2,), (2,)), "checkpoint")["x"].tolist() == [1.0, 3.0]
    with pytest.raises(ModelError, match="out of its storage"):
        sb3_reader.tensors(rebuilt(offset, size, stride), "checkpoint")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"algorithm": "PPO"}',
        '{"algorithm": "SAC", "activation": "tanh", "widths": [4, 2], "stable_baselines3": "2"}',
        '{"algorithm": [], "activation": "tanh", "widths": [4, 2], "stable_baselines3": "2"}',
        '{"algorithm": "PPO", "activation": "tanh", "widths": [4, 1e9, 2], "stable_baselines3": "2"}',
        '{"algorithm": "PPO", "activation": "tanh", "widths": [4, 999999999, 2], "stable_baselines3": "2"}',
        '{"algorithm": "PPO", "activation": "tanh", "widths": [4, 2], "stable_baselines3": "2", "more": 1}',
        '{"algorithm": "PPO", "activation": "tanh", "widths": [8, 2], "stable_baselines3": "2"}',
    ],
)
def test_descriptions_that_do_not_fit_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "sb3.json").write_text(text)
    with pytest.raises(ModelError, match="describe an agent"):
        loaded(tmp_path)


class Line(gymnasium.Env[Any, Any]):
    """What an agent of tests/walk.py sees and does, for Stable-Baselines3 to know the shapes of."""

    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)


def test_an_agent_of_another_environment_is_loaded_by_the_task_that_has_it(tmp_path: Path) -> None:
    agent = PPO("MlpPolicy", Line(), seed=0, n_steps=32, batch_size=16, n_epochs=1, device="cpu")
    agent.save(tmp_path / "agent.zip")
    known, sb3 = catalog(), {"sb3": "tasks.control.sb3:load"}
    digits = known.task("image-digits")
    for name, code in (("walking", lambda: Control("walking", WALK, {})), ("pictures", digits.code)):
        known.add(TaskEntry(name, code, digits.data_hash, "", (), (), "", loaders=sb3))
    source = parse(f"sb3:{tmp_path / 'agent.zip'}", known)
    found = load_source(source, known.task("walking"), known, CPU)
    assert (found.facts["layers"], found.carried) == ("2-64-64-3", True)
    seen = torch.tensor([[3.0, 0.5], [-2.0, 1.0]])
    theirs = agent.policy.get_distribution(seen).distribution.logits.log_softmax(1)
    assert torch.allclose(found.victim(Inputs(seen)).values.log_softmax(1), theirs, atol=1e-5)
    with pytest.raises(ModelError, match=r"maps 2 observations to 3 actions|those of CartPole-v1 have"):
        load_source(source, known.task(TASK), known, CPU)
    with pytest.raises(ModelError, match="an agent acts in an environment, and the task pictures has none"):
        load_source(source, known.task("pictures"), known, CPU)
