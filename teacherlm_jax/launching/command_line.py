"""Command lines of the launchers: their own options, then `--` and the command."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from teacherlm_jax.errors import ExplainedError
from teacherlm_jax.runs import console


def parser(
    program: str, description: str, options: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> argparse.ArgumentParser:
    """Return a parser of options that are given by the heading of their group and by name."""
    names = [name for settings in options.values() for name in settings if name[0] != "-"]
    first = "".join(f"{name.upper()} " for name in names)
    made = argparse.ArgumentParser(
        prog=program,
        usage=f"%(prog)s {first}[options] -- COMMAND --config=FILE.py --config.key=value ...",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for title, settings in options.items():
        group = made.add_argument_group(title)
        for name, setting in settings.items():
            group.add_argument(name, **setting)
    return made


def split(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """Return the options before the first `--`, and the words of the command after it.

    Standard output then escapes characters that its encoding lacks.
    """
    console.prepare_streams()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    separator = arguments.index("--") if "--" in arguments else len(arguments)
    return parser.parse_args(arguments[:separator]), arguments[separator + 1 :]


def with_command(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """Return options and command as `split` does; exit with status 2 if there is no command."""
    options, words = split(parser, arguments)
    if not words:
        parser.error("no command; write it after --, as in -- train --config=FILE.py")
    return options, words


def status_of(launch: Callable[[], int]) -> int:
    """Return the exit status of a launch; 2, and its message on stderr, if it is refused."""
    try:
        return launch()
    except ExplainedError as error:
        print(f"launch: {error}", file=sys.stderr)
        return 2


def positive(text: str) -> int:
    """Return the number in a value of an option, for argparse, which reports an invalid one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a positive integer")
    return int(text)
