"""A certificate authority of one run, and the certificates of its servers."""

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

_KEY_SIZE: Final = 2048
_PEM: Final = serialization.Encoding.PEM


class Authority:
    """A certificate authority that nobody trusts who does not load its `pem`."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_SIZE)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of one run")])
        certificate = self._certificate(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.pem = certificate.public_bytes(_PEM).decode()
        """Its own certificate."""

    def server_context(self, *, address: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
        """Return the context of a server at an address, with a certificate that expires in so many days."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_SIZE)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate = self._certificate(x509.Name([]), key, names, days=days)
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "server.pem")
            path.write_bytes(private + certificate.public_bytes(_PEM))
            context.load_cert_chain(path)
        return context

    def _certificate(
        self, subject: x509.Name, key: rsa.RSAPrivateKey, extension: x509.ExtensionType, *, days: int = 1
    ) -> x509.Certificate:
        expires = datetime.now(UTC) + timedelta(days=days)
        own, issuer = key.public_key(), self._key.public_key()
        return (
            x509.CertificateBuilder(self._name, subject, own, x509.random_serial_number())
            .not_valid_before(expires - timedelta(days=2))
            .not_valid_after(expires)
            .add_extension(extension, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
            .sign(self._key, hashes.SHA256())
        )
