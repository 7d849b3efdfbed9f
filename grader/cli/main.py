"""The program `kvdojo`: finds the command, runs it, and turns every ending into an exit code.

Knows the commands by name only; each is imported when it is called (`COMMANDS`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.shell_completion import shell_complete

from grader import __version__
from grader.cli import terminal
from grader.ground.display import escape_for_display
from grader.ground.errors import Exit, KvdojoError, UserError
from grader.ground.invocation import program

# what `kvdojo --help` lists, in the order a newcomer meets them; `grader.cli.NAME_command` is the module of NAME
if TYPE_CHECKING:
    from grader.content import Catalogue

COMMANDS = {
    "list": "List the challenges.",
    "walk": "See how a bug is found, step by step.",
    "show": "Show a challenge's brief.",
    "start": "Begin a challenge in a work folder.",
    "grade": "Grade a file.",
    "watch": "Grade a file at every save.",
    "studio": "Do the challenges in a browser.",
    "trace": "Show where a file departs from the reference.",
    "more": "Tell one thing more about what fails.",
    "hint": "Give a hint for the bug in focus.",
    "repro": "Write a case as a script for your debugger.",
    "suspect": "Name a line you suspect, before you edit it.",
    "log": "Tell an attempt from its start.",
    "today": "Practise what is due again: one small bug.",
    "explain": "Tell the stories of the bugs you fixed.",
    "use": "Choose the attempt that commands take.",
    "reset": "Put the starter back, keeping a backup.",
    "solution": "Show the reference, or how a file differs.",
    "case": "Begin, check and add test cases.",
    "bug": "Add bugs and decoys from an edited reference.",
    "matrix": "Show which case catches which bug.",
    "challenge": "Begin a challenge of your own.",
    "plant": "Make a variant with chosen bugs.",
    "batch": "Grade a class of submissions.",
    "check": "Check challenges as an author must.",
    "arena": "Measure debugging agents.",
    "export": "Hand results to a course system.",
}

# these take a sandbox, which imports torch while the command itself is imported and read
SANDBOXED = {"grade", "trace", "watch"}
HELP = ["-h", "--help"]
COMPLETE = "_KVDOJO_COMPLETE"  # set by the shell when it completes a line

# what no program can help; anything else that reaches `main` as an OSError is our bug
SYSTEM = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
    *(errno.EMFILE, errno.ENFILE),
}

# in help texts, the program's name at the beginning of an example
EXAMPLE = re.compile(r"(?<![\w./\\-])kvdojo (?=[a-z])")

EPILOG = """\b
Begin with:
  kvdojo list
  kvdojo start CHALLENGE
  kvdojo grade CHALLENGE

\b
Exit status: 0 all passed, 1 something failed, 2 usage, 3 invalid content,
4 internal error of the grader, 130 interrupted."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"grader.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command), f"{cmd_name} is not a command"
        _name_as_called(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and for an unknown name suggest the nearest one."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing and not name.startswith("-"):
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what to begin with."""
        _name_as_called(self)
        super().format_epilog(ctx, formatter)


def _name_as_called(command: click.Command) -> None:
    """Let the examples in a command's help name the program as the reader called it."""
    for text in ("help", "epilog"):
        if written := getattr(command, text):
            setattr(command, text, EXAMPLE.sub(lambda _: f"{program()} ", written))
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _name_as_called(inner)


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": HELP, "max_content_width": 100},
)
@click.version_option(__version__, prog_name="kvdojo", message="%(prog)s %(version)s")
def cli() -> None:
    """Find the bugs that break LLM inference, in KV-cached attention."""
    try:
        os.getcwd()
    except OSError:
        raise UserError("the current folder no longer exists: change to another one.") from None


def main(arguments: Sequence[str] | None = None, catalogue: Catalogue | None = None) -> int:
    """Run one command line and return its exit code; nothing is raised but `SystemExit`.

    Without a `catalogue` the commands are about the challenges of this checkout.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    terminal.make_streams_robust()
    if instruction := os.environ.get(COMPLETE):
        return shell_complete(cli, {"obj": catalogue}, "kvdojo", COMPLETE, instruction)
    ahead = arguments is None and given[:1] and given[0] in SANDBOXED and not {*HELP} & {*given}
    try:
        with _sandbox_ahead() if ahead else contextlib.nullcontext():
            code = _run(given, catalogue)
    except (Exception, KeyboardInterrupt) as error:
        code = Exit.INTERNAL
        if not (isinstance(error, BrokenPipeError) and _reader_left(error)):
            code = _explain(error, as_json=wants_json(given))
    terminal.flush()
    return int(code)


@contextlib.contextmanager
def _sandbox_ahead() -> Iterator[None]:
    """Let torch be imported in the sandbox's process from now on; a command that needs none ends it."""
    from grader.sandbox.spawn import begin_ahead, end_unused

    begin_ahead()
    try:
        yield
    finally:
        end_unused()


def _run(arguments: list[str], catalogue: Catalogue | None) -> int:
    """Run the command; click's own `main` would end with 1, a verdict here, on any broken pipe."""
    try:
        with cli.make_context(program(), arguments, obj=catalogue) as ctx:
            returned = cli.invoke(ctx)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return returned if isinstance(returned, int) else Exit.PASSED


def _reader_left(error: BaseException) -> bool:
    """Say whether the broken pipe is our own output: help text, which click prints."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_globals.get("__name__") == "click.utils"


def wants_json(arguments: Sequence[str]) -> bool:
    """Say whether the caller asked for a JSON document, judged before anything is parsed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _explain(error: BaseException, *, as_json: bool) -> Exit:
    """Tell the user about a failure and choose the exit code."""
    code, kind, message = _classify(error)
    if kind == "bug" and (hidden := _hidden_module()):
        terminal.err(f"kvdojo: {hidden}")
        return Exit.USAGE
    if as_json:
        fault = {"kind": kind, "message": message}
        document = {"schema": "kvdojo/error/v1", "verdict": "error", "error": fault}
        # standard output may be what failed; the exit code remains
        with contextlib.suppress(OSError):
            terminal.out(json.dumps(document, indent=2))
    if kind == "bug":
        terminal.err(_traceback(error))
        terminal.err("This is a bug in kvdojo, not in your file; please report the lines above.")
    elif isinstance(error, click.exceptions.NoArgsIsHelpError):
        terminal.err(error.format_message())
    else:
        lines = [escape_for_display(line, columns=2000) for line in message.split("\n")]
        terminal.err("kvdojo: " + "\n".join(lines))
    return code


def _hidden_module() -> str | None:
    """Name a file that stands in for a module of Python's own library, as one on PYTHONPATH can."""
    library = sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")
    for name in sorted(sys.stdlib_module_names & sys.modules.keys()):
        file = getattr(sys.modules[name], "__file__", None)
        # what was installed on purpose, such as the distutils of setuptools, hides nothing unawares
        if isinstance(file, str) and not file.startswith(library) and "-packages" not in file:
            return (
                f"{file} hides Python's own module {name!r}:"
                " rename it, or take its folder out of PYTHONPATH."
            )
    return None


def _classify(error: BaseException) -> tuple[Exit, str, str]:
    """Return the exit code, the kind for programs, and the message for people."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Exit.INTERRUPTED, "interrupted", "interrupted"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return Exit.USAGE, "usage", f"which command? See '{program()} --help'"
    if isinstance(error, click.UsageError):
        return Exit.USAGE, "usage", _usage_line(error)
    if isinstance(error, click.ClickException):
        return Exit.USAGE, "usage", error.format_message()
    if isinstance(error, OSError) and error.errno in SYSTEM:
        return Exit.INTERNAL, "system", f"the system refused: {error.strerror}"
    if isinstance(error, KvdojoError):
        return error.exit_code, error.kind, str(error)
    return Exit.INTERNAL, "bug", f"{type(error).__name__}: {error}"


def _usage_line(error: click.UsageError) -> str:
    """Return click's message with a pointer to the help of the command at fault."""
    message = error.format_message()
    path = error.ctx.command_path if error.ctx else program()
    if not message.endswith((".", "?", ")")):
        message += "."
    return f"{message} See '{path} --help'."


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
