"""The way into the command line, `reidd` and `python -m reidd`: Ctrl-C is heeded before there is one."""

import signal


def main() -> None:
    """Read the command line's modules, which takes a small board a second, and run it."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        # Else Ctrl-C in that second would show a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from reidd.cli import main as run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
