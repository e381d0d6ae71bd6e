"""What is wrong with a checkpoint of a run, said before anything is built."""

from fex.storage.checkpoint import read_plain

__all__ = ["check_checkpoint"]

# Without these Lightning fails later, in many ways.
_TYPES = {"state_dict": dict, "pytorch-lightning_version": str}
_FIT_TYPES = {"callbacks": dict, "loops": dict, "optimizer_states": list, "lr_schedulers": list}
_WORDS = ("last", "best", "hpc")  # what Lightning takes for a checkpoint beside paths


def check_checkpoint(path: str, *, fit: bool) -> None:
    """Whether a run can start from it.

    Args:
        path: a file; words and addresses are Lightning's to resolve.
        fit: whether training goes on with it, which needs more than its weights.

    Raises:
        ValueError: it cannot be read, or lacks what is restored.
    """
    if path in _WORDS or "://" in path:
        return
    found = read_plain(path)
    found = found if isinstance(found, dict) else {}
    needed = _TYPES | (_FIT_TYPES if fit else {})
    missing = [key for key, kind in needed.items() if not isinstance(found.get(key), kind)]
    if missing:
        raise ValueError(f"{path} is no checkpoint of fex-train (it has no `{missing[0]}`).")
