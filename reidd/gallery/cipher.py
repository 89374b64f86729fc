"""How a stored gallery is encrypted; the only file that knows the cipher."""

import base64
import binascii
import hashlib
import os
from struct import Struct

from reidd.errors import ConfigError
from reidd.gallery.instance import Instance

KEY_BYTES = 32
_NONCE_BYTES, _TAG_BYTES = 12, 16
SEALED_BYTES = _NONCE_BYTES + _TAG_BYTES
"""By how much what is sealed is longer."""
_INSTANCE, _LABEL = Struct("<8sqqq"), Struct("<8sq")


class Cipher:
    """AES-256-GCM under one key, for the features and labels of one feature space.

    What it is about is authenticated with it: a feature moved to another id, instance, time or space does not open.

    Every sealing takes a nonce of 96 bits that are random, or as good as that to whoever has no key, and NIST SP
    800-38D (section 8.3) allows 2^32 of these under one key: five enrolments a second, of a feature and a digest each,
    for thirteen years. Change the key before that.
    """

    def __init__(self, key: bytes, space: bytes):
        """Take a key of 32 bytes. Raises ConfigError where the library is not installed."""
        try:
            # Here, for it takes 50 ms and 10 MiB, and most galleries have no key.
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigError(
                "a gallery key is configured, and the library that encrypts is not installed: "
                "pip install 'reidd[encryption]'"
            ) from None
        self._key, self._gcm, self._forged, self._space = key, AESGCM(key), InvalidTag, space

    def sealed(self, instance: Instance) -> bytes:
        """Give the feature of an instance as it is stored: nonce, encrypted values, tag."""
        about = _INSTANCE.pack(b"feature", instance.number, instance.id, instance.time_ns)
        return self._seal(instance.feature, about)

    def feature(self, number: int, id: int, time_ns: int, stored: bytes) -> bytes | None:
        """Give the feature of an instance, or None when this is not what was sealed for it under this key."""
        return self._open(stored, _INSTANCE.pack(b"feature", number, id, time_ns))

    def sealed_label(self, id: int, label: str) -> str:
        """Give an id's label as it is stored."""
        return base64.b64encode(self._seal(label.encode(), _LABEL.pack(b"label", id))).decode()

    def label(self, id: int, stored: str) -> str | None:
        """Give an id's label, or None when this is not what was sealed for it under this key."""
        try:
            sealed = base64.b64decode(stored, validate=True)
        except (binascii.Error, ValueError):
            return None
        label = self._open(sealed, _LABEL.pack(b"label", id))
        return None if label is None else label.decode()

    def sealed_digest(self, digest: bytes) -> bytes:
        """Give the digest of a request as it is stored, the same each time: in the open, a label could be tried out."""
        # Of the space too: whoever sees seals for two spaces under one nonce can forge others (SP 800-38D, appendix A).
        nonce = hashlib.blake2b(digest + self._space, key=self._key, digest_size=_NONCE_BYTES).digest()
        return nonce + self._gcm.encrypt(nonce, digest, b"digest" + self._space)

    def digest(self, stored: bytes) -> bytes | None:
        """Give the digest of a request, or None when this is not what was sealed under this key."""
        return self._open(stored, b"digest")

    def check_value(self) -> bytes:
        """Give what tells later whether a key is this one, and tells nothing else."""
        return self._seal(b"", b"key")

    def made(self, check_value: bytes) -> bool:
        """Whether a check value is of this key."""
        return self._open(check_value, b"key") is not None

    def _seal(self, plain: bytes, about: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._gcm.encrypt(nonce, plain, about + self._space)

    def _open(self, sealed: bytes, about: bytes) -> bytes | None:
        try:
            return self._gcm.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about + self._space)
        except (self._forged, ValueError):
            return None
