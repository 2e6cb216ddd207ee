"""The command line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 for a check that failed, 2 for bad input."""
    from cyclopts import CycloptsError

    from crossmargin.cli._app import app
    from crossmargin.errors import CrossmarginError

    if sys.stdout is None:
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Where the terminal cannot show a sign, a question mark is better than a traceback.
            stream.reconfigure(errors="replace")
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
    except CrossmarginError as error:
        sys.stderr.write(f"{error}\n")
        code = 2
    except CycloptsError as error:
        text = " ".join(str(error).split())
        sys.stderr.write(f"CLI-001: {text} See crossmargin --help.\n")
        code = 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    except BrokenPipeError:
        # The reader has gone (``| head``): nothing is left to say.
        _close_output()
        code = 0
    except OSError as error:
        # Files are read and written by functions that say which; this is the output itself.
        _close_output()
        why = (error.strerror or "unknown reason").lower()
        sys.stderr.write(f"CLI-002: cannot write the output: {why}.\n")
        code = 2
    if arguments is None:
        sys.exit(code)
    return code


def _close_output() -> None:
    """Point the standard output at nothing, so that closing it raises no second error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
