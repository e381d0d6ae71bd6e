"""What the command lines of YAML files share: `--config` finds the packaged ones by name; mistakes are short."""

from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile, DefaultHelpFormatter

from fex.cli.help_pages import EXIT_CODES
from fex.cli.plain_errors import plain
from fex.storage.old_layout import old_layout
from fex.storage.resources import config_path

__all__ = ["PackagedConfig", "ShortErrors", "check_help", "help_with", "instantiated"]


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
        try:
            ActionConfigFile.apply_config(parser, cfg, dest, value, **kwargs)
        except (UnicodeDecodeError, RecursionError) as error:
            reason = "no text in UTF-8" if isinstance(error, UnicodeDecodeError) else "nested too deeply"
            parser.error(f"The config {value} is {reason} ({error}): give a YAML file.")


class _Lines(DefaultHelpFormatter):
    """Keeps the lines of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def help_with(examples: str) -> dict[str, Any]:
    """Arguments of a parser that ends its help with the exit codes and examples, one a line, each after a new line."""
    return {"epilog": f"{EXIT_CODES}\n\nexamples:{examples}\n", "formatter_class": _Lines}


def check_help(argv: Sequence[str]) -> None:
    """`--KEY.help CLASS` shows the settings of a class; without it jsonargparse asks for "one argument", or shows none.

    Raises:
        ValueError: no class, or a key that the parser does not take for one.
    """
    for word, after in zip(argv, [*argv[1:], "-"], strict=True):
        key, equals, value = word.partition("=")
        if not (key.startswith("--") and key.endswith(".help")):
            continue
        if ".init_args." in key or not (value if equals else not after.startswith("-")):
            raise ValueError(
                f"{word} does not say of which class: write `--model.help lightning_modules.FEXModule`, or --data.help "
                "and --black_box.help alike. Of a class inside it, both: `--model.help lightning_modules.FEXModule "
                "--model.explainer.help fex.nets.ExplainerNet`."
            )


class ShortErrors:
    """Of a jsonargparse parser: says what is wrong without printing every setting there is."""

    def parse_args(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        """As ever; of nested settings jsonargparse has made the word "None" of null on the way."""
        if isinstance(args, list):
            args = [f"{word[:-5]}=null" if isinstance(word, str) and word.endswith("=None") else word for word in args]
        return super().parse_args(args, *rest, **options)  # type: ignore[misc]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Ends the program with code 2, the error and where to look."""
        own: Any = self
        if not own.exit_on_error:
            super().error(message, ex)  # type: ignore[misc]
        message = plain(message)
        message += old_layout(message)
        program = (getattr(ex, "subcommand_parser", None) or own).prog.replace(" [options]", "")
        own.exit(2, f"{program.split()[0]}: error: {message}\nFor all settings: {program} --help\n")


def instantiated(parser: Any, config: Any) -> Any:
    """What a parsed config names, built; the parser's method has had this name since jsonargparse 4.49."""
    build = getattr(parser, "instantiate", None) or parser.instantiate_classes
    return build(config)
