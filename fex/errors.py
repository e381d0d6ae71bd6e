"""Errors of its own kind, in a module that imports nothing: the command line shows them before torch is loaded."""

__all__ = ["BlackBoxError"]


class BlackBoxError(RuntimeError):
    """The black box broke, in code that is its owner's: says what it raised, and on which inputs."""
