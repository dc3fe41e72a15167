"""Certificates for tests with TLS, made by the openssl program."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


class Authority:
    """A certificate authority of its own."""

    def __init__(
        self,
        folder: Path,
        name: str = "authority",
        environment: Mapping[str, str] | None = None,
        days: int = 2,
    ) -> None:
        """
        Args:
            environment: of the openssl program, besides this process's own.
            days: for which its certificates hold.
        """
        if shutil.which("openssl") is None:
            pytest.skip("there is no openssl program to make certificates with")
        self.certificate = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        self._folder = folder
        self._days = days
        self._environment = {**os.environ, **(environment or {})}
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *(
                "-days",
                str(days),
                "-subj",
                f"/CN={name}",
                "-addext",
                "keyUsage=critical,keyCertSign",
            ),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def issue(self, name: str, alternative: str) -> tuple[Path, Path]:
        """A certificate and its key.

        Args:
            alternative: a subject alternative name, such as ``DNS:driver`` or ``IP:127.0.0.1``.
        """
        key, request, certificate, extensions = (
            self._folder / f"{name}.{kind}" for kind in ("key", "csr", "crt", "ext")
        )
        extensions.write_text(f"subjectAltName={alternative}\n")
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request)),
        )
        self._openssl(
            *("x509", "-req", "-in", str(request), "-days", str(self._days), "-CAcreateserial"),
            *("-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-extfile", str(extensions), "-out", str(certificate)),
        )
        return certificate, key

    def server(self, alternative: str, *, clients: "Authority | None" = None) -> ssl.SSLContext:
        """What a server needs; with `clients`, it takes only clients with a certificate of theirs."""
        certificate, key = self.issue("server", alternative)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        if clients is not None:
            context.load_verify_locations(clients.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _openssl(self, *arguments: str) -> None:
        command = ["openssl", *arguments]
        subprocess.run(command, check=True, capture_output=True, env=self._environment)
