"""`--config` that also finds the packaged configs by name."""

from typing import Any

from jsonargparse import ActionConfigFile

from fex.resources import config_path

__all__ = ["PackagedConfig"]


class PackagedConfig(ActionConfigFile):
    """Looks for the file in the working directory, then among the packaged configs."""

    @staticmethod
    def apply_config(parser: Any, cfg: Any, dest: str, value: Any, **kwargs: Any) -> None:
        """Hook of jsonargparse."""
        if isinstance(value, str) and "\n" not in value:
            try:
                value = str(config_path(value))
            except FileNotFoundError as error:
                parser.error(str(error))
        ActionConfigFile.apply_config(parser, cfg, dest, value, **kwargs)
