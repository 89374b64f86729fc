"""The soak's verdict, its report and its picture."""

import json
from pathlib import Path

from figures import note

from soak.growth import BAR_MIB_PER_HOUR, allowance_mib, growth_mib, slope_mib_per_hour
from soak.run import Seen

HOUR_S = 3600.0


def verdict(seen: Seen) -> list[str]:
    """What went wrong that was not injected, in sentences."""
    faults = [f"not injected: {what}" for what in sorted(set(seen.surprises))]
    faults += [f"in the log: {line}" for line in seen.log]
    if len(set(seen.quiet)) > 1:
        faults.append(f"descriptors with nobody connected: {seen.quiet[0]} before, {seen.quiet[-1]} after")
    for who in ("core", "worker"):
        mib = [getattr(sample, f"{who}_mib") for sample in seen.samples]
        grown, allowed = growth_mib(mib), allowance_mib(seen.seconds)
        if grown > allowed:
            faults.append(
                f"the {who} grew by {grown:.2f} MiB from the middle to the last third; {allowed:.2f} are allowed"
            )
        # Over an hour and more the slope is no noise any more.
        if seen.seconds >= HOUR_S and (slope := _slope(seen, who)) > BAR_MIB_PER_HOUR:
            faults.append(f"the {who} grows by {slope:.2f} MiB an hour")
    return faults


def write(seen: Seen, faults: list[str], folder: Path) -> None:
    """Write soak.json and note the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {who: _figures(seen, who) for who in ("core", "worker")}
    report = {
        "faults": faults, "seconds": round(seen.seconds, 1),
        "outcomes": dict(seen.counts), "injected": dict(seen.injected),
        "not_injected": seen.surprises, "slowest_s": round(seen.slowest_s, 3), "descriptors": seen.quiet, **figures,
        "samples": [[round(value, 3) for value in sample] for sample in seen.samples],
    }  # fmt: skip
    (folder / "soak.json").write_text(json.dumps(report) + "\n")
    print(f"injected: {dict(seen.injected)}; outcomes: {dict(seen.counts)}; slowest {seen.slowest_s:.1f} s")
    allowed = allowance_mib(seen.seconds)
    for who, of in figures.items():
        note(
            f"soak of {seen.seconds / 60:.1f} min, the {who}'s growth from middle to last third",
            f"{of['growth_mib']:+.2f} MiB at {of['median_mib']:.0f} (slope {of['slope_mib_per_hour']:+.1f} MiB/h)",
            f"{allowed:.2f} MiB",
        )
    note("soak, descriptors before and after", " and ".join(map(str, seen.quiet)), "equal")
    total = sum(seen.counts.values())
    note(
        "soak, errors that were not injected",
        f"{len(seen.surprises)} of {total}, {sum(seen.injected.values())} faults",
        "0",
    )


def plot(seen: Seen, path: Path) -> None:
    """Draw memory and descriptors over time; says so when there is nothing to draw with."""
    try:
        import matplotlib as mpl
    except ImportError:
        print(f"NO {path}: matplotlib is not installed (pip install --group plot)")
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    minutes = [(sample.s - seen.samples[0].s) / 60 for sample in seen.samples]
    figure, (memory, files) = plt.subplots(2, 1, sharex=True, figsize=(9, 6), layout="constrained")
    memory.plot(minutes, [sample.core_mib for sample in seen.samples], label="core")
    memory.plot(minutes, [sample.worker_mib for sample in seen.samples], label="oldest worker")
    memory.set(ylabel="private memory, MiB")
    memory.set_ylim(0, 1.2 * memory.get_ylim()[1])
    memory.legend()
    files.plot(minutes, [sample.descriptors for sample in seen.samples])
    files.set(ylabel="descriptors of the core", xlabel="minutes")
    files.set_ylim(0, 1.2 * files.get_ylim()[1])
    figure.savefig(path, dpi=100)


def _figures(seen: Seen, who: str) -> dict[str, float]:
    mib = sorted(getattr(sample, f"{who}_mib") for sample in seen.samples)
    in_order = [getattr(sample, f"{who}_mib") for sample in seen.samples]
    return {
        "median_mib": round(mib[len(mib) // 2], 2),
        "growth_mib": round(growth_mib(in_order), 3),
        "slope_mib_per_hour": round(_slope(seen, who), 2),
    }


def _slope(seen: Seen, who: str) -> float:
    return slope_mib_per_hour([s.s for s in seen.samples], [getattr(s, f"{who}_mib") for s in seen.samples])
