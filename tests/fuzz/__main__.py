"""`FUZZ=TARGET python -m fuzz [libFuzzer's arguments]`; takes atheris."""

import os
import sys

import atheris

with atheris.instrument_imports(include=["reidd", "fuzz"]):
    from fuzz.targets import TARGETS

# libFuzzer runs itself again when it minimises a corpus: as a command of the shell, with the same arguments.
atheris.Setup([f"{sys.executable} -m fuzz", *sys.argv[1:]], TARGETS[os.environ["FUZZ"]])
atheris.Fuzz()
