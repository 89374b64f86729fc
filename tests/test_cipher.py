"""What is sealed opens for whom it was sealed, and for nothing else."""

import subprocess
import sys

import numpy as np
import pytest

from reidd.errors import ConfigError
from reidd.gallery import Instance
from reidd.gallery.cipher import SEALED_BYTES, Cipher

KEY, SPACE = bytes(range(32)), bytes(32)
MOMENT = (5, 7, 1_700_000_000)
INSTANCE = Instance(*MOMENT, np.arange(8, dtype=np.float32).tobytes())


@pytest.fixture
def cipher() -> Cipher:
    return Cipher(KEY, SPACE)


def test_a_feature_opens_for_its_instance(cipher):
    stored = cipher.sealed(INSTANCE)
    assert len(stored) == 4 * 8 + SEALED_BYTES
    assert INSTANCE.feature not in stored
    assert cipher.feature(*MOMENT, stored) == INSTANCE.feature


@pytest.mark.parametrize("moved", [(6, 7, 1_700_000_000), (5, 8, 1_700_000_000), (5, 7, 0)])
def test_a_feature_that_was_moved_does_not_open(cipher, moved):
    assert cipher.feature(*moved, cipher.sealed(INSTANCE)) is None


@pytest.mark.parametrize("other", [Cipher(KEY, bytes([1] * 32)), Cipher(bytes(32), SPACE)], ids=["space", "key"])
def test_nothing_opens_in_another_space_or_with_another_key(cipher, other):
    assert other.feature(*MOMENT, cipher.sealed(INSTANCE)) is None
    assert other.label(7, cipher.sealed_label(7, "ann")) is None
    assert not other.made(cipher.check_value())


@pytest.mark.parametrize("stored", [b"", b"short", bytes(60)])
def test_what_was_never_sealed_does_not_open(cipher, stored):
    assert cipher.feature(*MOMENT, stored) is None
    assert cipher.label(7, "no base64") is None
    assert not cipher.made(stored)


def test_a_label_opens_for_its_id_only(cipher):
    stored = cipher.sealed_label(7, "Änne")
    assert cipher.label(7, stored) == "Änne"
    assert cipher.label(8, stored) is None


def test_no_two_sealings_are_alike(cipher):
    assert len({cipher.sealed(INSTANCE)[:12] for _ in range(1000)}) == 1000


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'reidd\[encryption\]'"):
        Cipher(KEY, SPACE)


def test_without_a_key_the_library_is_not_imported(tmp_path):
    program = (
        "import sys; from reidd.gallery import Gallery; import reidd.daemon.lifecycle, reidd.cli\n"
        "Gallery.open(dim=8, space=bytes(32), store_path=__import__('pathlib').Path(sys.argv[1])).close()\n"
        "sys.exit('cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "store")], check=True)


def test_a_digest_is_sealed_the_same_each_time_and_opens_under_its_key_only(cipher):
    digest = bytes(range(16))
    stored = cipher.sealed_digest(digest)
    assert stored == cipher.sealed_digest(digest) != cipher.sealed_digest(bytes(16))
    assert digest not in stored
    assert cipher.digest(stored) == digest
    assert Cipher(bytes(32), SPACE).digest(stored) is None


def test_one_request_is_sealed_with_another_nonce_in_another_space(cipher):
    digest = bytes(range(16))
    other = Cipher(KEY, bytes([1] * 32))
    assert cipher.sealed_digest(digest)[:12] != other.sealed_digest(digest)[:12]
