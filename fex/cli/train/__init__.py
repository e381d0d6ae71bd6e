"""`fex-train`: trains what a config describes, with Lightning.

A config names data, module and callbacks; runs stop gracefully and go on where they were.
Read `train`, `command`, `checkpoint_io`, `graceful_stop`, `loop_progress`.
"""

from fex.cli.train.train import main

__all__ = ["main"]
