"""Models that carry code in every place where a library would run it: neither `check` nor `submit` does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hf_models
import pytest
import speech_models
import torch
import transformers
from click.testing import CliRunner, Result
from stable_baselines3 import PPO
from stores import KEY
from test_bring_sb3 import rewritten, rewritten_inside, saved

from benchmarks.cli.main import cli
from benchmarks.running.executors import Serial
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import save_key
from tasks.image.architectures import Perceptron
from tasks.models.torch_folder import save


IMAGE, TEXT, SPEECH, CONTROL = "image-digits", "sentiment-reviews", "speech-digits", "control-cartpole"
MARK = "the-code-ran"


class Shell:
    """Unpickled, it runs a command."""

    def __init__(self, mark: Path) -> None:
        self.line = f"touch '{mark}'"

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.line,)


class Trap(NamedTuple):
    """A model that leaves a mark where its code runs. make: puts it into a folder and returns what names it.

    refused: what is said of it; empty where it is a sound model without the code.
    """

    task: str
    make: Callable[[Path, Path], str]
    refused: str = ""


def code(mark: Path) -> str:
    return f"open({str(mark)!r}, 'w').close()\n\nclass Evil: ...\n\ndef generate(*_, **__): ...\n"


def agent_weights(folder: Path, mark: Path) -> str:
    changed = {"policy_pth": rewritten_inside(saved({"x": torch.zeros(1)}), pickle.dumps(Shell(mark)))}
    return f"sb3:{rewritten(an_agent(folder), folder / 'evil.zip', **changed)}"


def agent_settings(folder: Path, mark: Path) -> str:
    path, pickled = an_agent(folder), pickle.dumps(Shell(mark))
    with zipfile.ZipFile(path) as archive:
        settings = json.loads(archive.read("data"))
    for name in ("lr_schedule", "policy_class", "observation_space", "clip_range"):
        settings[name] = {":type:": "<class 'function'>", ":serialized:": base64.b64encode(pickled).decode()}
    changed = {"policy.optimizer_pth": saved(Shell(mark)), "pytorch_variables_pth": pickled}
    evil = rewritten(path, folder / "evil.zip", data=json.dumps(settings).encode(), **changed)
    return f"sb3:{evil}"


def an_agent(folder: Path) -> Path:
    PPO("MlpPolicy", "CartPole-v1", seed=0, n_steps=32, batch_size=16, device="cpu").save(folder / "agent.zip")
    return folder / "agent.zip"


def torch_weights(folder: Path, mark: Path) -> str:
    a_module(folder)
    pickled = pickle.dumps({"weight": Shell(mark)})
    (folder / "model.safetensors").write_bytes(pickled)
    hf_models.edit(folder, "card.json", weights_sha256=hashlib.sha256(pickled).hexdigest())
    return f"torch:{folder}"


def torch_checkpoint(folder: Path, mark: Path) -> str:
    a_module(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Shell(mark)}, folder / "model.pt")
    return f"torch:{folder}"


def a_module(folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        save(Perceptron(width=8), folder, task=IMAGE, architecture="perceptron", arguments={"width": 8})


def image_checkpoint(folder: Path, mark: Path) -> str:
    hf_models.save_image(folder)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Shell(mark)}, folder / "pytorch_model.bin")
    return f"hf:{folder}"


def mapped(name: str, make: Callable[[Path], object], **auto_map: Any) -> Callable[[Path, Path], str]:
    """A folder with a module of code that one of its settings names."""

    def made(folder: Path, mark: Path) -> str:
        make(folder)
        (folder / "evil.py").write_text(code(mark))
        hf_models.edit(folder, name, auto_map=auto_map)
        return f"hf:{folder}"

    return made


def image(folder: Path) -> None:
    hf_models.save_image(folder, processor=transformers.ViTImageProcessor(size={"height": 16, "width": 16}))


def generating(folder: Path, mark: Path) -> str:
    speech_models.save_whisper(folder)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code(mark))
    return f"hf:{folder}"


def beside(folder: Path, mark: Path) -> str:
    """What transformers' Trainer and others leave beside a model, each of it live."""
    image(folder)
    for name in ("modeling_vit.py", "configuration_vit.py", "image_processing_vit.py", "__init__.py", "setup.py"):
        (folder / name).write_text(code(mark))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        torch.save(Shell(mark), folder / name)
    return f"hf:{folder}"


AUTO = {"AutoConfig": "evil.Evil", "AutoModelForImageClassification": "evil.Evil"}
TRAPS = {
    "agent-weights": Trap(CONTROL, agent_weights, "nothing is unpickled"),
    "agent-settings": Trap(CONTROL, agent_settings),
    "torch-weights": Trap(IMAGE, torch_weights, "pickles are never loaded"),
    "torch-checkpoint": Trap(IMAGE, torch_checkpoint, "model.pt; such files can run code and are never loaded"),
    "image-checkpoint": Trap(IMAGE, image_checkpoint, "pytorch_model.bin; such files can run code and are never"),
    "image-model": Trap(IMAGE, mapped("config.json", image, **AUTO), "has auto_map"),
    "image-processor": Trap(
        IMAGE, mapped("preprocessor_config.json", image, AutoImageProcessor="evil.Evil"), "has auto_map"
    ),
    "text-tokenizer": Trap(
        TEXT, mapped("tokenizer_config.json", hf_models.save_text, AutoTokenizer=["evil.Evil", "evil.Evil"]), "auto_map"
    ),
    "ctc-extractor": Trap(
        SPEECH, mapped("preprocessor_config.json", speech_models.save_ctc, AutoFeatureExtractor="evil.Evil"), "auto_map"
    ),
    "whisper-generation": Trap(SPEECH, generating, "has custom_generate/generate.py"),
    "image-beside": Trap(IMAGE, beside),
}


def command(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def test_the_code_would_run(tmp_path: Path) -> None:
    mark = tmp_path / MARK
    for run in (lambda: pickle.loads(pickle.dumps(Shell(mark))), lambda: exec(code(mark), {})):
        run()
        assert mark.exists()
        mark.unlink()


@pytest.mark.parametrize("name", TRAPS)
def test_nothing_of_a_model_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.running.executors.Process", Serial)  # spares a process for each
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    trap, mark, folder = TRAPS[name], tmp_path / MARK, tmp_path / "model"
    folder.mkdir()
    model = trap.make(folder, mark)
    assert not mark.exists()
    checked = command("check", model, "--task", trap.task)
    assert not mark.exists()
    assert (checked.exit_code, trap.refused in checked.output) == (1 if trap.refused else 0, True), checked.output
    save_key(tmp_path / "key.pem", KEY)
    places = [
        "--key",
        str(tmp_path / "key.pem"),
        "--bundle",
        str(tmp_path / "one.rab"),
        "--out",
        str(tmp_path / "runs"),
    ]
    options = ["--task", trap.task, "--name", "evil", "--suite", "mini@1", "--limit", "1"]
    sent = command("submit", model, *options, *places)
    assert not mark.exists()
    assert not (tmp_path / "modules" / "transformers_modules").exists()
    if trap.refused:
        assert trap.refused in str(sent.exception), sent.output
        assert not (tmp_path / "one.rab").exists()
        return
    assert sent.exit_code == 0, sent.output
    shutil.rmtree(folder)
    bundle = open_bundle(tmp_path / "one.rab")
    assert {Path(file).suffix for file in bundle.model_files} <= {".safetensors", ".json"}
    carried = [bundle.model_file(file) for file in bundle.model_files]
    assert not any(MARK.encode() in data or b"serialized" in data for data in carried)
    verified = command("verify", str(tmp_path / "one.rab"), "--rerun", "1", "--nonce", "00")
    assert verified.exit_code == 0, verified.output
    assert not mark.exists()
