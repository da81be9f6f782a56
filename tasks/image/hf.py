"""Image classifiers of transformers as victims of the digits: the task's 8 x 8 grey pixels go in, or a user's own, and
what the model's image processor would do to them happens inside of the victim, differentiably.

Vision Transformer, Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, and its kin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from adversarial.entries import TaskEntry
from adversarial.inputs import Inputs, Scores
from adversarial.victims import freeze
from tasks.data import CustomData
from tasks.image.custom_data import shape_of
from tasks.image.preprocessing import SHAPE, FrontEnd, check_front_end, front_end
from tasks.models import LoadedModel, Source, hash_of
from tasks.models.folders import CONFIG, PROCESSOR, fetched, files_of, load_pretrained
from tasks.models.labels import LabelMap, label_map, plain


SETTINGS: Final = (CONFIG, PROCESSOR)
_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLASSES: Final[Mapping[str, tuple[str, ...]]] = {
    str(digit): (str(digit), word, f"digit {digit}", f"{digit} - {word}") for digit, word in enumerate(_WORDS)
}


class ImageVictim:
    """From pixels, float [batch, channels, height, width] in [0, 1], to logits [batch, classes], and one more where the
    model has outputs that are no class of the data: the largest of them, so that such a decision is wrong and not lost.
    """

    differentiable = True

    def __init__(self, module: nn.Module, front: FrontEnd, labels: LabelMap) -> None:
        self.module = freeze(module)
        self._front, self._labels = front, labels

    def __call__(self, inputs: Inputs) -> Scores:
        logits: Tensor = self.module(pixel_values=self._front(inputs.values)).logits
        return Scores(self._labels.scores(logits))


def load(
    source: Source,
    task: TaskEntry,  # noqa: ARG001
    device: torch.device,
    data: CustomData | None = None,
) -> LoadedModel:
    """A folder or Hub id with model.safetensors, config.json and, if it has one, preprocessor_config.json.

    Raises ModelError for other files, for labels that are not the task's, and for a front end that cannot be followed.
    """
    folder = fetched(source, SETTINGS)
    module = load_pretrained("AutoModelForImageClassification", folder, SETTINGS)
    config: Any = module.config
    classes: Mapping[str, tuple[str, ...]] = CLASSES
    shape: tuple[int, ...] = SHAPE
    if data is not None:
        classes = {name: (plain(name),) for name in data.manifest.classes}
        shape = shape_of(data)
    labels = label_map(config, classes)
    front = front_end(folder, config, shape)
    checked = check_front_end(front, folder, shape)
    files = files_of(folder, SETTINGS)
    return LoadedModel(
        source=source,
        victim=ImageVictim(module.to(device), front.to(device), labels),
        hash=hash_of(files),
        files=files,
        facts={
            "architecture": type(module).__name__,
            "parameters": sum(tensor.numel() for tensor in module.parameters()),
            "labels": str(labels),
            "front_end": str(front),
            "front_end_checked": "against the image processor" if checked else "no",
        },
        others=int(bool(labels.others)),
        notes=labels.notes(),
    )
