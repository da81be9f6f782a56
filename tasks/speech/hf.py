"""Speech models of transformers: letters by CTC, or transcripts token by token."""

from __future__ import annotations

import torch

from adversarial.entries import TaskEntry
from tasks.data import CustomData
from tasks.models import LoadedModel, Source
from tasks.models.folders import read_json
from tasks.speech import hf_ctc, hf_whisper
from tasks.speech.hf_folders import fetched


def load(source: Source, task: TaskEntry, device: torch.device, data: CustomData | None = None) -> LoadedModel:
    """Raises ModelError where the folder is of neither kind, and what the loaders of both raise."""
    kind = str(read_json(fetched(source), "config.json").get("model_type", ""))
    if kind == "whisper":
        return hf_whisper.load(source, task, device, data)
    return hf_ctc.load(source, task, device, data)
