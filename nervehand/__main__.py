"""`python -m nervehand` is the command `nervehand`."""

from nervehand.cli import main

main()
