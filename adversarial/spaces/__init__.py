"""The places that attacks work in: balls on continuous surfaces, choices on words."""

from adversarial.spaces.ball import Ball as Ball
from adversarial.spaces.protocol import ContinuousSpace as ContinuousSpace
from adversarial.spaces.protocol import DiscreteSpace as DiscreteSpace
from adversarial.spaces.protocol import Space as Space
from adversarial.spaces.surfaces import embeddings as embeddings
from adversarial.spaces.surfaces import observations as observations
from adversarial.spaces.surfaces import pixels as pixels
from adversarial.spaces.surfaces import snr_db as snr_db
from adversarial.spaces.surfaces import waveform as waveform
from adversarial.spaces.words import Choices as Choices
from adversarial.spaces.words import words as words
