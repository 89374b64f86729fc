"""The soak: a daemon under mixed load for minutes or a day, with faults injected, and a verdict on what it became."""
