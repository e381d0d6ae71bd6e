"""What a run does not say: true of every run, and nothing to act on."""

import logging

__all__ = ["SILENCED", "no_noise"]


# Said at every run, true of every run, and nothing to act on.
SILENCED = (
    ".*args parameter is intended.*",
    ".*treespec, LeafSpec.*",
    ".*is not supported by the model summary.*",
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*in eval mode at the start of training.*",  # the encoder, on purpose
    ".*no pre-optimization state was saved.*",  # checkpoints are of the state after the step, on purpose
)


def no_noise(record: logging.LogRecord) -> bool:
    """Lightning advertises its cloud products, and tells a default at every checkpoint and that of its summary."""
    noise = ("Tip: For seamless cloud", "`weights_only` was not set", "configured with model summary callbacks")
    return not any(text in record.getMessage() for text in noise)
