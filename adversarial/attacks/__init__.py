"""Attacks, one algorithm a file, each written once over Problem and Space. This file is their registry entries."""

from __future__ import annotations

from adversarial.registry import AttackEntry
from adversarial.threats import CONTINUOUS_SURFACES, WORD_SURFACES


_CONTINUOUS = frozenset(CONTINUOUS_SURFACES)
_WORDS = frozenset(WORD_SURFACES)

# A word has no steepest direction: hotflip is the same idea where the choices are candidates.
_NO_STEP = dict.fromkeys(WORD_SURFACES, "words cannot be stepped along a gradient: hotflip is this attack on words")
_NO_CANDIDATES = dict.fromkeys(CONTINUOUS_SURFACES, "replaces words by candidates, and this surface has no words")

# A transcript is a sequence, not one decision among classes.
_CLASSES = _CONTINUOUS - {"waveform"}
_NO_CLASSES = {**_NO_STEP, "waveform": "needs the scores of one class decision, and a transcript has none"}

_NO_COUNT = {
    **dict.fromkeys(
        WORD_SURFACES, "words are counted, not stepped along a gradient: jsma-words is this attack on words"
    ),
    "waveform": _NO_CLASSES["waveform"],
    "embeddings": "sets features to the ends of their range, and word vectors have none: jsma-words is this attack",
}
_NO_WORDS = {**dict.fromkeys(CONTINUOUS_SURFACES, "replaces words by candidates: jsma is this attack on features")}

_NO_EPISODE = dict.fromkeys(
    (*(_CONTINUOUS - {"observations"}), *WORD_SURFACES),
    "wants one action at all steps of an episode, and an example here is one decision",
)
_NO_TRANSCRIPT = dict.fromkeys(
    (*(_CONTINUOUS - {"waveform"}), *WORD_SURFACES),
    "wants a given transcript; cw is this attack where classes are decided",
)

_PGD = {"steps": 40, "relative_step": None, "random_start": True, "restarts": 1, "loss": "ce", "momentum": 0.0}
_APGD = {"steps": 100, "restarts": 1, "loss": "ce", "targets": 0}

ENTRIES: tuple[AttackEntry, ...] = (
    AttackEntry(
        name="none",
        code="adversarial.attacks.none:none",
        summary="the clean pass",
        paper="",
        access="none",
        surfaces=_CONTINUOUS | _WORDS,
    ),
    AttackEntry(
        name="noise",
        code="adversarial.attacks.noise:noise",
        summary="random noise of the budget's size",
        paper="",
        access="none",
        surfaces=_CONTINUOUS | _WORDS,
        defaults={"distribution": "uniform"},
    ),
    AttackEntry(
        name="fgsm",
        code="adversarial.attacks.fgsm:fgsm",
        summary="one step along the gradient",
        paper="https://arxiv.org/abs/1412.6572",
        access="gradient",
        surfaces=_CONTINUOUS,
        excluded=_NO_STEP,
        defaults={"loss": "ce"},
    ),
    AttackEntry(
        name="pgd",
        code="adversarial.attacks.pgd:pgd",
        summary="projected gradient ascent with random starts",
        paper="https://arxiv.org/abs/1706.06083",
        access="gradient",
        surfaces=_CONTINUOUS,
        excluded=_NO_STEP,
        defaults=_PGD,
    ),
    AttackEntry(
        name="bim",
        code="adversarial.attacks.pgd:pgd",
        summary="the basic iterative method (I-FGSM): gradient steps from the clean input",
        paper="https://arxiv.org/abs/1607.02533",
        access="gradient",
        surfaces=_CONTINUOUS,
        excluded=_NO_STEP,
        defaults={**_PGD, "steps": 10, "random_start": False},
    ),
    AttackEntry(
        name="mi-fgsm",
        code="adversarial.attacks.pgd:pgd",
        summary="the momentum iterative method: gradient steps along a gathered direction",
        paper="https://arxiv.org/abs/1710.06081",
        access="gradient",
        surfaces=_CONTINUOUS,
        excluded=_NO_STEP,
        defaults={**_PGD, "steps": 10, "random_start": False, "momentum": 1.0},
    ),
    AttackEntry(
        name="apgd-ce",
        code="adversarial.attacks.apgd:apgd",
        summary="Auto-PGD: the step size of each row adapts itself",
        paper="https://arxiv.org/abs/2003.01690",
        access="gradient",
        surfaces=_CONTINUOUS,
        excluded=_NO_STEP,
        defaults=_APGD,
    ),
    AttackEntry(
        name="apgd-dlr",
        code="adversarial.attacks.apgd:apgd",
        summary="Auto-PGD on the difference of logits ratio, blind to the scale of the logits",
        paper="https://arxiv.org/abs/2003.01690",
        access="gradient",
        surfaces=_CLASSES,
        excluded=_NO_CLASSES,
        defaults={**_APGD, "loss": "dlr"},
    ),
    AttackEntry(
        name="apgd-t",
        code="adversarial.attacks.apgd:apgd",
        summary="Auto-PGD towards each of the likeliest wrong classes",
        paper="https://arxiv.org/abs/2003.01690",
        access="gradient",
        surfaces=_CLASSES,
        excluded=_NO_CLASSES,
        defaults={**_APGD, "loss": "dlr", "targets": 9},
    ),
    AttackEntry(
        name="hotflip",
        code="adversarial.attacks.hotflip:hotflip",
        summary="replacement of the word that gains most to first order, one word a gradient",
        paper="https://arxiv.org/abs/1712.06751",
        access="gradient",
        surfaces=_WORDS,
        excluded=_NO_CANDIDATES,
        defaults={"steps": 8, "loss": "ce", "beam": 1},
    ),
    AttackEntry(
        name="hotflip-one-step",
        code="adversarial.attacks.hotflip:hotflip",
        summary="all replacements at once from one gradient: the fgsm of words",
        paper="https://arxiv.org/abs/1712.06751",
        access="gradient",
        surfaces=_WORDS,
        excluded=_NO_CANDIDATES,
        defaults={"steps": 1, "loss": "ce", "beam": 1},
    ),
    AttackEntry(
        name="deepfool",
        code="adversarial.attacks.deepfool:deepfool",
        summary="steps to the nearest boundary of the victim made linear",
        paper="https://arxiv.org/abs/1511.04599",
        access="gradient",
        surfaces=_CLASSES,
        excluded=_NO_CLASSES,
        defaults={"steps": 50, "overshoot": 0.02, "first_step": 0.5, "candidates": None},
        minimum_norm=True,
    ),
    AttackEntry(
        name="cw",
        code="adversarial.attacks.carlini_wagner:carlini_wagner",
        summary="the smallest distance plus a constant times what the margin lacks, minimised by Adam",
        paper="https://arxiv.org/abs/1608.04644",
        access="gradient",
        surfaces=_CLASSES,
        excluded=_NO_CLASSES,
        defaults={
            "binary_steps": 9,
            "steps": 1000,
            "learning_rate": 0.01,
            "initial_const": 1e-3,
            "confidence": 0.0,
            "abort_early": True,
        },
        minimum_norm=True,
    ),
    AttackEntry(
        name="jsma",
        code="adversarial.attacks.jsma:jsma",
        summary="the most salient pair of features to the end of its range, one pair a gradient",
        paper="https://arxiv.org/abs/1511.07528",
        access="gradient",
        surfaces=frozenset({"pixels", "observations"}),
        excluded=_NO_COUNT,
        defaults={"theta": 1.0, "share": 0.1, "direction": "increase"},
        minimum_norm=True,
    ),
    AttackEntry(
        name="jsma-words",
        code="adversarial.attacks.saliency:saliency",
        summary="the most salient replacement, one word a gradient",
        paper="https://arxiv.org/abs/1604.08275",
        access="gradient",
        surfaces=_WORDS,
        excluded=_NO_WORDS,
        minimum_norm=True,
    ),
    AttackEntry(
        name="hotflip-beam",
        code="adversarial.attacks.hotflip:hotflip",
        summary="hotflip with a beam: every sentence goes on from its best few rewritings",
        paper="https://arxiv.org/abs/1712.06751",
        access="gradient",
        surfaces=_WORDS,
        excluded=_NO_CANDIDATES,
        defaults={"steps": 8, "loss": "ce", "beam": 4},
    ),
    AttackEntry(
        name="greedy-words",
        code="adversarial.attacks.greedy_words:greedy_words",
        summary="every single replacement is scored, and the best one made, word after word",
        paper="https://arxiv.org/abs/1907.11932",
        access="scores",
        surfaces=_WORDS,
        excluded=_NO_CANDIDATES,
        defaults={"exchanges": 2},
    ),
    AttackEntry(
        name="force",
        code="adversarial.attacks.force:force",
        summary="one wanted action at every step of an episode",
        paper="https://arxiv.org/abs/1703.06748",
        access="gradient",
        surfaces=frozenset({"observations"}),
        excluded=_NO_EPISODE,
        defaults={"action": 0, "steps": 10, "relative_step": None, "restarts": 1},
    ),
    AttackEntry(
        name="cw-ctc",
        code="adversarial.attacks.ctc_target:ctc_target",
        summary="the least noise that makes a transcriber say a given text",
        paper="https://arxiv.org/abs/1801.01944",
        access="gradient",
        surfaces=frozenset({"waveform"}),
        excluded=_NO_TRANSCRIPT,
        defaults={"steps": 300, "start_size": 0.3, "shrink": 0.8, "relative_step": 0.05},
        minimum_norm=True,
    ),
    AttackEntry(
        name="transfer",
        code="adversarial.attacks.transfer:transfer",
        summary="momentum steps on other models; the victim is never asked",
        paper="https://arxiv.org/abs/1605.07277",
        access="surrogate",
        surfaces=_CONTINUOUS | _WORDS,
        defaults={
            "steps": 10,
            "relative_step": None,
            "momentum": 1.0,
            "loss": "ce",
            "diversity": 0.0,
            "translation": 0,
        },
    ),
    AttackEntry(
        name="universal",
        code="adversarial.attacks.universal:universal",
        summary="one perturbation for all inputs, learned on other examples",
        paper="https://arxiv.org/abs/1610.08401",
        access="gradient",
        surfaces=_CONTINUOUS,
        stage="fit",
        excluded=dict.fromkeys(
            WORD_SURFACES, "words cannot be stepped along a gradient: trigger-words is this attack on words"
        ),
        defaults={"epochs": 10, "loss": "ce", "momentum": 0.7},
    ),
    AttackEntry(
        name="trigger-words",
        code="adversarial.attacks.trigger_words:trigger_words",
        summary="rules, this word for that one, for all sentences, learned on other examples",
        paper="https://arxiv.org/abs/1908.07125",
        access="gradient",
        surfaces=_WORDS,
        stage="fit",
        excluded=dict.fromkeys(
            CONTINUOUS_SURFACES, "replaces words by candidates: universal is this attack where there are no words"
        ),
        defaults={"rounds": 5, "loss": "margin"},
    ),
)
