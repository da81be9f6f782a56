"""CTC and Whisper models of transformers as victims: they hear and write what transformers says they do."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import speech_models
import torch
import transformers
from model_sources import load_model
from torch import Tensor
from torch.nn import functional

from adversarial.attacks.apgd import apgd
from adversarial.attacks.ctc_target import ctc_target
from adversarial.attacks.deepfool import deepfool
from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.noise import noise
from adversarial.attacks.pgd import pgd
from adversarial.attacks.transfer import transfer
from adversarial.attacks.universal import universal
from adversarial.errors import DataError, ModelError, NotApplicable
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import Threat
from tasks.measuring.batches import Batch
from tasks.measuring.protocol import Attack, GoalName, Measurement, Trial
from tasks.models import LoadedModel
from tasks.speech.goal import TargetTranscript, WorstTranscript
from tasks.speech.hf_ctc import NEVER, CTCVictim, symbols_of
from tasks.speech.hf_whisper import WhisperVictim
from tasks.speech.preprocessing import check_rate, resampled, standardised
from tasks.speech.task import MODELS, make, target_of
from tasks.speech.transcripts import ALPHABET, OTHER, SYMBOLS, Transcriber, decode
from tasks.speech.whisper_decoder import MOST_TOKENS, Writer, normalised, spellings


CPU = torch.device("cpu")
TASK = "speech-digits"
THREAT = Threat.parse("waveform-snr:28@gradient")
MODELS_OF_CTC = [
    ("Wav2Vec2", "group"),
    ("Wav2Vec2", "layer"),
    ("Hubert", "group"),
    ("Hubert", "layer"),
    ("WavLM", "layer"),
]


def loaded(folder: Path) -> LoadedModel:
    return load_model(f"hf:{folder}", TASK)


def utterances(count: int, split: str = "test") -> Batch:
    (batch,) = make().batches(split, count, count, CPU)
    return batch


def at_16_khz(inputs: Inputs) -> Inputs:
    return Inputs(*resampled(inputs, 16_000))


def rows(inputs: Inputs) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    assert inputs.mask is not None
    return [row[mask].numpy() for row, mask in zip(inputs.values, inputs.mask, strict=True)]


def own_frames(scores: Scores, row: int) -> Tensor:
    return scores.values[row] if scores.mask is None else scores.values[row][scores.mask[row]]


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper that has learned the first four utterances of the test split by heart."""
    folder, batch = tmp_path_factory.mktemp("whisper"), utterances(4)
    speech_models.save_whisper(folder, (at_16_khz(batch.inputs), [str(text) for text in batch.truth]))
    return folder


@pytest.fixture(scope="module")
def whisper(whisper_folder: Path) -> WhisperVictim:
    victim = loaded(whisper_folder).victim
    assert isinstance(victim, WhisperVictim)
    return victim


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> CTCVictim:
    folder = tmp_path_factory.mktemp("ctc")
    speech_models.save_ctc(folder)
    victim = loaded(folder).victim
    assert isinstance(victim, CTCVictim)
    return victim


# Hearing


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 11_025, 4_000])
def test_resampling_leaves_rows_alone(rate_hz: int) -> None:
    inputs = utterances(5).inputs
    assert inputs.mask is not None
    together, real = resampled(inputs, rate_hz)
    for row in range(5):
        single = inputs.alone(row)
        own, mask = resampled(single, rate_hz)
        assert bool(mask.all())
        assert int(real[row].sum()) == own.shape[1] == -(-single.values.shape[1] * rate_hz // 8_000)
        assert torch.allclose(together[row][real[row]], own[0], atol=1e-6)
        assert bool((together[row][~real[row]] == 0).all())
    noisy = Inputs(torch.where(inputs.mask, inputs.values, 0.5), inputs.mask)
    assert torch.equal(resampled(noisy, rate_hz)[0], together)  # padding is silence, whatever lies in it


def test_a_tone_keeps_its_pitch_and_size() -> None:
    time = torch.arange(8_000) / 8_000
    tone = torch.sin(2 * torch.pi * 440 * time)[None]
    higher, _ = resampled(Inputs(tone), 16_000)
    wanted = torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)
    assert torch.allclose(higher[0, 100:-100], wanted[100:-100], atol=2e-2)


def test_normalisation_is_that_of_transformers() -> None:
    inputs = utterances(4).inputs
    assert inputs.mask is not None
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=8_000, return_attention_mask=True)
    wanted = extractor(rows(inputs), sampling_rate=8_000, padding=True, return_tensors="pt").input_values
    assert torch.allclose(standardised(inputs.values, inputs.mask), wanted, atol=1e-4)


def test_rates_that_cannot_be_reached() -> None:
    for rate in (0, 16_000.0, "16000", 200_000, 15_999, True):
        with pytest.raises(ModelError, match="sampling_rate"):
            check_rate(rate)


# CTC


@pytest.mark.parametrize(("kind", "norm"), MODELS_OF_CTC)
def test_a_ctc_model_answers_as_in_transformers_and_each_row_as_alone(kind: str, norm: str, tmp_path: Path) -> None:
    module = speech_models.save_ctc(tmp_path, kind, norm)
    found, batch = loaded(tmp_path), utterances(5)
    victim = found.victim
    assert isinstance(victim, CTCVictim)
    assert victim.padded == (norm == "layer" and kind != "WavLM")
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path)
    with torch.no_grad():
        scores = victim(batch.inputs)
        for row, samples in enumerate(rows(at_16_khz(batch.inputs))):
            single = victim(batch.inputs.alone(row))
            assert torch.allclose(own_frames(scores, row), single.values[0], atol=1e-4)
            values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
            logits = module(values).logits[0]
            places = [speech_models.LETTERS.index("<pad>"), speech_models.LETTERS.index("|")]
            places += [speech_models.LETTERS.index(letter.upper()) for letter in ALPHABET[2:]]
            assert torch.allclose(single.values[0, :, : len(ALPHABET)], logits[:, places], atol=1e-4)
            written = tokenizer.convert_ids_to_tokens(logits.argmax(-1).tolist())
            read = "".join(token if len(token) == 1 else OTHER for token in _collapsed(written))
            wanted = " ".join("".join(_read(letter) for letter in read.replace("|", " ").replace("'", "")).split())
            assert decode(Scores(single.values)) == [wanted]
    gradient = _gradient(victim, batch)
    assert batch.inputs.mask is not None
    assert bool((gradient[~batch.inputs.mask] == 0).all())
    assert bool((gradient.abs().amax(1) > 0).all())
    assert found.facts["architecture"] == f"{kind}ForCTC"


def _collapsed(tokens: list[str]) -> list[str]:
    changed = [token for place, token in enumerate(tokens) if place == 0 or token != tokens[place - 1]]
    return [token for token in changed if token != "<pad>"]


def _read(letter: str) -> str:
    return letter.lower() if letter == " " or letter.lower() in ALPHABET else OTHER


def _gradient(victim: Any, batch: Batch) -> Tensor:
    variable = batch.inputs.values.clone().requires_grad_(True)
    goal = make().goal(batch, "worst")
    losses = goal.loss(victim(Inputs(variable, batch.inputs.mask)), "ce")
    (found,) = torch.autograd.grad(losses.sum(), variable)
    assert bool(torch.isfinite(found).all())
    return found


def test_very_short_utterances_are_filled_up(ctc: CTCVictim) -> None:
    inputs = Inputs(torch.full((2, 90), 0.1), torch.tensor([[True] * 90, [True] * 3 + [False] * 87]))
    scores = ctc(inputs)
    assert scores.mask is not None
    assert scores.mask.sum(1).tolist() == [1, 1]
    assert torch.allclose(scores.values[1], ctc(inputs.alone(1)).values[0], atol=1e-5)


def test_letters_beyond_the_alphabet_do_not_vanish() -> None:
    vocabulary = {letter: place for place, letter in enumerate(speech_models.LETTERS)}
    symbols = symbols_of(vocabulary, 0, "|", len(vocabulary))

    def said(*tokens: str) -> str:
        logits = functional.one_hot(torch.tensor([vocabulary[token] for token in tokens]), len(vocabulary)).float()
        scores = Scores(symbols.fold(5 * logits[None]))
        goal = WorstTranscript.of(["one"])
        assert bool(torch.isfinite(goal.loss(scores, "ce")).all())
        assert bool(goal.judge(scores).success) == (decode(scores) != ["one"])
        assert bool(TargetTranscript.of(["two"], ["one"]).judge(scores).success) == (decode(scores) == ["one"])
        return decode(scores)[0]

    assert said("O", "O", "<pad>", "N", "E") == "one"
    assert said("|", "O", "N", "E", "|", "|") == "one"
    assert said("O", "N", "E", "Q") == "oneq"
    assert said("B", "O", "N", "E") == "bone"
    assert said("O", "'", "N", "E") == "one"
    assert said("O", "N", "E", "<unk>") == "one?"


def test_cases_are_folded_by_their_likelihoods() -> None:
    digits = ALPHABET[2:SYMBOLS]
    letters = ["<pad>", "|", *digits, *digits.upper(), ",", "#"]
    vocabulary = {letter: place for place, letter in enumerate(letters)}
    symbols = symbols_of(vocabulary, 0, "|", len(letters) + 2)  # two more that have no name
    logits = torch.randn(1, 3, len(letters) + 2)
    folded = symbols.fold(logits)
    assert folded.shape == (1, 3, len(ALPHABET) + 3)
    assert float(folded[..., SYMBOLS : len(ALPHABET)].max()) == NEVER
    assert torch.allclose(folded.exp().sum(-1), logits.exp().sum(-1), rtol=1e-5)
    place = ALPHABET.index("e")
    pair = logits[..., [vocabulary["e"], vocabulary["E"]]]
    assert torch.allclose(folded[..., place], pair.logsumexp(-1))
    assert torch.allclose(folded[..., 1], logits[..., [vocabulary["|"], vocabulary[","]]].logsumexp(-1))


@pytest.mark.parametrize(
    ("letters", "message"),
    [
        (["<pad>", "|", *ALPHABET[3:]], "lacks 'e'"),
        (["<pad>", *ALPHABET[2:]], "lacks ' '"),
        (["<pad>", "|", *ALPHABET[2:], "one"], "one letter a symbol"),
    ],
)
def test_vocabularies_that_cannot_write_the_words(letters: list[str], message: str, tmp_path: Path) -> None:
    speech_models.save_ctc(tmp_path, letters=letters)
    with pytest.raises(ModelError, match=message):
        loaded(tmp_path)


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def _no_head(folder: Path) -> None:
    transformers.Wav2Vec2ForCTC.from_pretrained(folder).wav2vec2.save_pretrained(folder)


def _changed(folder: Path, file: str, **values: object) -> None:
    plain = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(plain | values))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_weights, "safetensors"),
        (_a_pickle, "safetensors"),
        (_no_head, "lacks weights"),
        (partial(_changed, file="config.json", auto_map={"AutoModelForCTC": "evil.Model"}), "auto_map"),
        (partial(_changed, file="config.json", pad_token_id=3), "blank"),
        (partial(_changed, file="config.json", model_type="whisperer"), "whisperer"),
        (partial(_changed, file="preprocessor_config.json", sampling_rate="16 kHz"), "sampling_rate"),
        (partial(_changed, file="preprocessor_config.json", do_normalize=1), "do_normalize"),
        (partial(_changed, file="preprocessor_config.json", feature_extractor_type="SpeechT5"), "SpeechT5"),
        (partial(_changed, file="tokenizer_config.json", tokenizer_class="Wav2Vec2PhonemeCTCTokenizer"), "Phoneme"),
        (lambda folder: (folder / "vocab.json").unlink(), "vocab.json"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    ],
)
def test_folders_that_cannot_be_used(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    speech_models.save_ctc(tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError, match=message):
        loaded(tmp_path)


# Whisper


def test_the_front_end_is_that_of_transformers(whisper: WhisperVictim, whisper_folder: Path) -> None:
    inputs = at_16_khz(utterances(6).inputs)
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(whisper_folder)
    wanted = extractor(rows(inputs), sampling_rate=16_000, return_tensors="pt").input_features
    assert torch.allclose(whisper.front(inputs.values), wanted, atol=1e-4)
    usual = transformers.WhisperFeatureExtractor()
    window = type(whisper.front)(torch.from_numpy(usual.mel_filters), 400, 160, 3_000)
    wanted = usual(rows(inputs)[:1], sampling_rate=16_000, return_tensors="pt").input_features
    assert wanted.shape == (1, 80, 3_000)
    assert torch.allclose(window(inputs.values[:1]), wanted, atol=1e-4)
    silence = torch.zeros(1, 16_000, requires_grad=True)
    (gradient,) = torch.autograd.grad(whisper.front(silence).sum(), silence)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("spread", [None, 0.3])
def test_whisper_writes_what_transformers_generates(whisper_folder: Path, tmp_path: Path, spread: float | None) -> None:
    folder, batch = whisper_folder if spread is None else tmp_path, utterances(8)
    if spread is not None:
        speech_models.save_whisper(folder, spread=spread)
    victim = loaded(folder).victim
    assert isinstance(victim, WhisperVictim)
    module = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    tokenizer = transformers.WhisperTokenizerFast.from_pretrained(folder)
    features = victim.front(at_16_khz(batch.inputs).values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generated = module.generate(
            features,
            language="en",
            task="transcribe",
            do_sample=False,
            num_beams=1,
            max_new_tokens=victim.writer.longest,
        )
    wanted = [normalised(tokenizer.decode(row, skip_special_tokens=True)) for row in generated]
    scores = victim(batch.inputs)
    assert decode(scores) == wanted
    assert decode(scores) == wanted
    assert len(set(wanted)) == (4 if spread is None else 8)


def test_whisper_reads_each_row_as_alone(whisper: WhisperVictim) -> None:
    batch = utterances(6)
    scores = whisper(batch.inputs)
    assert isinstance(scores.reader, Transcriber)
    texts = [str(text) for text in batch.truth]
    likelihoods = scores.reader.likelihood(scores, texts)
    for row in range(6):
        single = whisper(batch.inputs.alone(row))
        assert torch.allclose(own_frames(scores, row), single.values[0], atol=1e-4)
        assert torch.allclose(likelihoods[row], scores.reader.likelihood(single, [texts[row]])[0], atol=1e-4)
        assert decode(single) == [decode(scores)[row]]
    assert bool((_gradient(whisper, batch).abs().amax(1) > 0).all())


def test_likelihoods_are_those_of_the_decoder(whisper: WhisperVictim, whisper_folder: Path) -> None:
    """Summed over the spellings, against transformers' own loss of each."""
    module = transformers.WhisperForConditionalGeneration.from_pretrained(whisper_folder)
    tokenizer = transformers.WhisperTokenizerFast.from_pretrained(whisper_folder)
    prompt = tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"])
    batch, text = utterances(1), "four seven"
    features = whisper.front(at_16_khz(batch.inputs).values)
    total = []
    for spelling in spellings(text):
        tokens = [*tokenizer.encode(spelling, add_special_tokens=False), tokenizer.eos_token_id]
        fed = torch.tensor([[*prompt, *tokens[:-1]]])
        with torch.no_grad():
            logits = module(input_features=features, decoder_input_ids=fed).logits[0, len(prompt) - 1 :]
        total.append(-functional.cross_entropy(logits, torch.tensor(tokens), reduction="sum"))
    scores = whisper(batch.inputs)
    found = whisper.writer.likelihood(scores, [text])
    assert found[0].item() == pytest.approx(torch.stack(total).logsumexp(0).item() / 3, abs=1e-4)


def test_transcripts_are_normalised() -> None:
    assert normalised(" 1, 2. Four!") == "one two four"
    assert normalised("Don't; STOP - 10%") == "dont stop one zero"
    assert normalised(" ... ") == ""
    assert spellings("one two") == (" one two", " One, two.", " 1, 2.", " 12")
    assert all(normalised(spelling) == "nine zero nine" for spelling in spellings("nine zero nine"))
    assert spellings("hello one") == (" hello one", " Hello, one.")


def test_a_decoder_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    speech_models.save_whisper(tmp_path)
    victim = loaded(tmp_path).victim
    assert isinstance(victim, WhisperVictim)
    assert victim.writer.longest == 60 < MOST_TOKENS
    tokenizer, said = transformers.WhisperTokenizerFast.from_pretrained(tmp_path), []
    endless = Writer(victim.module, tokenizer, [257], end=10**6)
    endless._tokenizer = type("Recorder", (), {"decode": lambda _, tokens, **__: said.append(len(tokens)) or ""})()
    assert endless.transcripts(victim(utterances(2).inputs)) == ["", ""]
    assert said == [63, 63]


def test_what_is_longer_than_the_window_is_an_error(whisper: WhisperVictim) -> None:
    with pytest.raises(DataError, match="48000 samples"):
        whisper(Inputs(torch.zeros(1, 24_001)))


def test_whisper_folders_that_cannot_be_used(whisper_folder: Path, tmp_path: Path) -> None:
    def refused(message: str, file: str, **values: object) -> None:
        for path in whisper_folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        _changed(tmp_path, file, **values)
        with pytest.raises(ModelError, match=message):
            loaded(tmp_path)

    refused("makes 20 bands", "preprocessor_config.json", feature_size=20)
    refused("n_fft", "preprocessor_config.json", n_fft=10**9)
    refused("no language", "generation_config.json", lang_to_id={"<|de|>": 258})
    refused("token 9999", "generation_config.json", suppress_tokens=[9999])
    refused("tokenizer cannot write", "vocab.json", **{"Ġone": 10_000, "1": 10_001})
    refused("auto_map", "config.json", auto_map={})


def test_a_bundle_brings_the_same_model(whisper_folder: Path, tmp_path: Path) -> None:
    """From the carried files alone, beside what else a bundle has there."""
    speech_models.save_ctc(tmp_path / "ctc", "Hubert", "layer")
    module = transformers.WhisperForConditionalGeneration.from_pretrained(whisper_folder)
    module.save_pretrained(tmp_path / "shards", max_shard_size="60KB")
    for path in whisper_folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / "shards" / path.name).write_bytes(path.read_bytes())
    inputs = utterances(2).inputs
    for folder in (whisper_folder, tmp_path / "ctc", tmp_path / "shards"):
        (folder / "training.bin").write_bytes(b"anything")
        first, copy = loaded(folder), tmp_path / f"copy-{folder.name}"
        copy.mkdir()
        for name, file in first.files.items():
            (copy / name).write_bytes(file.read_bytes())
        (copy / "source.json").write_text("{}")
        again = loaded(copy)
        assert first.carried
        assert "training.bin" not in first.files
        assert {path.suffix for path in first.files.values()} <= {".json", ".safetensors", ".txt"}
        assert again.hash == first.hash
        assert again.facts == first.facts
        assert torch.equal(again.victim(inputs).values, first.victim(inputs).values)
    assert len([name for name in first.files if name.endswith(".safetensors")]) > 1
    index = tmp_path / "copy-shards" / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001", "../model-00001"))
    with pytest.raises(ModelError, match=r"names '\.\./model-00001"):
        loaded(tmp_path / "copy-shards")


def test_sources_that_are_no_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(ModelError, match="is not a folder"):
            loaded(place)
    import huggingface_hub

    def offline(name: str, **_: object) -> str:
        raise OSError(f"no network for {name}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"the Hub does not give a model of that id \(no network for me/model\)"):
        load_model("hf:me/model", TASK)


# Both under attack


ATTACKS: dict[str, Attack] = {
    "noise": noise,
    "fgsm": fgsm,
    "pgd": partial(pgd, steps=4),
    "apgd-ce": partial(apgd, steps=4, loss="ce"),
}


def measured(
    victim: Any, attack: Attack | None, goal: GoalName = "worst", **options: Any
) -> tuple[Measurement, Ledger]:
    trial, ledger = Trial(THREAT if attack else None, attack, goal=goal, limit=4, batch_size=3, **options), Ledger()
    return make().measure(victim, trial, ledger), ledger


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_run_on_both_kinds(ctc: CTCVictim, whisper: WhisperVictim, attack: str) -> None:
    for victim in (ctc, whisper):
        found, ledger = measured(victim, ATTACKS[attack], early_stopping=False)
        assert ledger.forwards >= (0 if attack == "noise" else 4)
        assert all(ratio >= 28 - 1e-4 for ratio in found.examples.columns["snr_db"])
        assert not any(finding.severity == "invalid" for finding in found.findings)
    for queue in (1, 2):  # with two, the answers to several passes are joined
        clean, _ = measured(whisper, None, queue=queue)
        assert clean.metric() == 0
    if attack in ("pgd", "apgd-ce"):
        assert measured(whisper, ATTACKS[attack])[0].metric() > 0.2


@pytest.mark.parametrize("kind", ["ctc", "whisper"])
def test_a_gradient_leads_where_its_goal_wants(kind: str, request: pytest.FixtureRequest) -> None:
    victim, batch, task = request.getfixturevalue(kind), utterances(4), make()
    for goal in ("worst", "target"):
        space = task.space(victim, batch, THREAT)
        problem = Problem(
            victim, space, task.goal(batch, goal), THREAT, Keys.of(0, batch.ids), early_stopping=False, width=3
        )
        pgd(problem, steps=4)
        before, after = (
            task.goal(batch, goal).loss(victim(space.apply(d)), "ce") for d in (space.null(), problem.best.d)
        )
        assert bool((after > before).all())


def test_a_ledger_counts_one_forward_a_row_and_step(whisper: WhisperVictim) -> None:
    passes = {"encoder": 0}
    module: Any = whisper.module
    hook = module.model.encoder.register_forward_hook(
        lambda _module, _inputs, output: passes.update(encoder=passes["encoder"] + len(output.last_hidden_state))
    )
    try:
        _, ledger = measured(whisper, partial(pgd, steps=3), early_stopping=False)
    finally:
        hook.remove()
    # And the four rows judged at the end, and looked at: one alone, all again, in reverse, with gradients on.
    assert passes["encoder"] == ledger.forwards + 4 + (1 + 4 + 4 + 4)
    assert ledger.backwards == 4 * 3


def test_universal_and_transfer_run_on_whisper(ctc: CTCVictim, whisper: WhisperVictim) -> None:
    task, batch = make(), utterances(4)

    def problem(victim: Any, surrogates: tuple[Problem, ...] = (), access: str = "gradient") -> Problem:
        threat = Threat.parse(f"waveform-snr:28@{access}")
        space, goal = task.space(victim, batch, threat), task.goal(batch, "worst")
        return Problem(victim, space, goal, threat, Keys.of(0, batch.ids), surrogates=surrogates, early_stopping=False)

    def problems() -> Iterator[Problem]:
        yield problem(whisper)

    learned = universal(problems, epochs=1)
    target = problem(whisper, access="none")
    learned(target)
    assert bool((target.best.d != 0).any())
    reference = task.load_victim(MODELS / "undefended", CPU)
    for victim, surrogate in ((whisper, ctc), (ctc, whisper), (whisper, reference)):
        target = problem(victim, (problem(surrogate),), access="surrogate")
        transfer(target, steps=2)
        assert bool((target.best.d != 0).any(1).all())


def test_a_wanted_transcript_is_recognised(whisper: WhisperVictim) -> None:
    batch, task = utterances(4), make()
    texts = [str(text) for text in batch.truth]
    scores = whisper(batch.inputs)
    assert decode(scores) == texts
    goal = TargetTranscript.of(["zero"] * 4, [texts[0], texts[0], *texts[2:]])
    verdict = goal.judge(scores)
    assert verdict.success.tolist() == [True, False, True, True]
    assert torch.equal(verdict.done, verdict.success)
    scores.values[0, 0, 0] = torch.nan
    assert not bool(goal.judge(scores).success[0])
    assert target_of(batch.ids[0], texts[0]) != texts[0]
    found, ledger = measured(whisper, partial(ctc_target, steps=3), "target", minimum_norm=True)
    assert ledger.backwards == 4 * 3
    assert len(found.examples.columns["reached_target"]) == 4
    with pytest.raises(NotApplicable, match="class decision"):
        measured(whisper, partial(deepfool, steps=1), minimum_norm=True)
    assert task.name == TASK


def test_searching_in_half_precision_confirms(whisper: WhisperVictim) -> None:
    found, ledger = measured(whisper, partial(pgd, steps=3), half=True)
    assert ledger.forwards > 0
    assert not any(finding.severity == "invalid" for finding in found.findings)
