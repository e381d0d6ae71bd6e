"""Ray on a machine that is busy with other things."""

from functools import wraps

__all__ = ["patient"]


def patient(ray, tries=6):
    """`ray.init` that begins again where its node is slow: Ray waits thirty seconds for it, no setting says more."""
    init = ray.init

    @wraps(init)
    def begin(*given, **named):
        for left in reversed(range(tries)):
            try:
                return init(*given, **named)
            except Exception as error:  # Ray raises no kind of its own
                if "timed out during startup" not in str(error) or not left:
                    raise
                ray.shutdown()
        raise AssertionError

    return begin
