"""What the core does by itself never ends it."""

import sqlite3
from contextlib import closing

import pytest
from galleries import features, opened

from reidd.daemon.auditing import Unwritten
from reidd.daemon.housekeeping import Housekeeping
from reidd.daemon.recorder import Recorder
from reidd.gallery import Act


@pytest.mark.parametrize("error", [sqlite3.DatabaseError, sqlite3.OperationalError])
def test_a_log_that_cannot_be_read_ends_nothing(tmp_path, monkeypatch, error):
    def fails(*_):
        raise error("database disk image is malformed")

    monkeypatch.setattr("reidd.gallery.audit_table.lines", fails)
    with opened(tmp_path) as gallery, closing(Recorder(gallery, service=None, unwritten=Unwritten())) as recorder:
        with gallery.transaction():
            gallery.note([Act(who="local", what="forget", id=7)])
        Housekeeping(gallery, publisher=None, recorder=recorder, audit_days=365).tick(0.0)
        gallery.add(1, features(1))
