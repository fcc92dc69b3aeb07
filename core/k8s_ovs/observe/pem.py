"""Are these certificates and keys, in PEM, and do they fit?

Asked before a library uses them, which names neither file nor flag where they are not.
"""

from __future__ import annotations

import ssl

__all__ = ["certificate_problem", "key_problem"]


def certificate_problem(data: bytes) -> str:
    """Why a file with this content has no certificates; "": it has."""
    try:
        # What stands between certificates may be in any language.
        _context().load_verify_locations(cadata=data.decode("ascii", errors="ignore"))
    except (ssl.SSLError, ValueError):
        return "no certificate in PEM"
    return ""


def key_problem(certificate: str, key: str) -> str:
    """Why the file `key` is not the key of the certificate in the file `certificate`; "": it is."""
    try:
        _context().load_cert_chain(certificate, key, password=_refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"the key of another certificate than {certificate}"
        return "no key in PEM"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return str(error.strerror)
    return ""


def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _refuse() -> str:
    # Without this OpenSSL asks at the terminal.
    raise ValueError("a key that is encrypted")
