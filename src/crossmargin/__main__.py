"""Run the command line with ``python -m crossmargin``."""

from crossmargin.cli import main

main()
