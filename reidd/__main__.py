"""`python -m reidd` is the command line."""

from reidd.cli import main

main()
