"""One thread in every test: results are compared byte for byte, and two test runs may share two cores."""

from __future__ import annotations

import torch


torch.set_num_threads(1)
