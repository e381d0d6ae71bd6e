"""What stands in for a removed piece of a spectrogram."""

from fex.images.removal import Black

__all__ = ["Silence"]


class Silence(Black):
    """The quietest level of a spectrogram, which is its 0 (`fex.sounds.LogMel`)."""

    name = "silence"
