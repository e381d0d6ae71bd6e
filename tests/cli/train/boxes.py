"""Functions that a command line names as black boxes."""

import torch


def shares(pictures):
    """Probabilities (R, 3): shares of the colours."""
    means = pictures.mean((2, 3)) + 1e-3
    return means / means.sum(1, keepdim=True)


def logits(pictures):
    """Logits (R, 3)."""
    return pictures.mean((2, 3)) * 20 - 10


def flags(pictures):
    """Probabilities of classes that are not exclusive (R, 3)."""
    return pictures.mean((2, 3))


def gem(texts):
    """Probabilities (R, 2): whether a text has the word."""
    return [[0.1, 0.9] if "gem" in text else [0.8, 0.2] for text in texts]


def bands(spectrograms):
    """Probabilities (R, 2): where the sound lies, in the lower or the upper half of the bands."""
    half = spectrograms.shape[2] // 2
    found = torch.stack([spectrograms[:, :, part].mean((1, 2, 3)) for part in (slice(half, None), slice(half))], 1)
    return (found + 1e-3) / (found + 1e-3).sum(1, keepdim=True)
