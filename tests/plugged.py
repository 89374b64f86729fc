"""A plugin, installed for a test's process and all that it starts."""


def installed(folder, monkeypatch, name, source):
    """Install a plugin as pip would."""
    (folder / f"{name}.py").write_text(source)
    about = folder / f"{name}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[reidd]\n{name} = {name}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
