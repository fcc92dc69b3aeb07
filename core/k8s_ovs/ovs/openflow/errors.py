"""What a switch's error message says, by name.

Names and numbers: OpenFlow 1.4 section 7.5.4 and Open vSwitch
``include/openvswitch/ofp-errors.h``, those that an answer to flow-mods, bundles and statistics
can carry.
"""

from __future__ import annotations

from struct import Struct

__all__ = ["error_name"]

_ERROR = Struct("!HH")
_EXPERIMENTER_ERROR = Struct("!HHI")
_EXPERIMENTER = 0xFFFF
_NICIRA = 0x2320

#: Error type -> (prefix, names in the order of their codes).
_NAMES: dict[int, tuple[str, tuple[str, ...]]] = {
    0: ("OFPHFC", ("INCOMPATIBLE", "EPERM")),
    1: (
        "OFPBRC",
        (
            "BAD_VERSION",
            "BAD_TYPE",
            "BAD_STAT",
            "BAD_VENDOR",
            "BAD_SUBTYPE",
            "EPERM",
            "BAD_LEN",
            "BUFFER_EMPTY",
            "BUFFER_UNKNOWN",
            "BAD_TABLE_ID",
            "IS_SLAVE",
            "BAD_PORT",
            "BAD_PACKET",
            "MULTIPART_BUFFER_OVERFLOW",
        ),
    ),
    2: (
        "OFPBAC",
        (
            "BAD_TYPE",
            "BAD_LEN",
            "BAD_VENDOR",
            "BAD_VENDOR_TYPE",
            "BAD_OUT_PORT",
            "BAD_ARGUMENT",
            "EPERM",
            "TOO_MANY",
            "BAD_QUEUE",
            "BAD_OUT_GROUP",
            "MATCH_INCONSISTENT",
            "UNSUPPORTED_ORDER",
            "BAD_TAG",
            "BAD_SET_TYPE",
            "BAD_SET_LEN",
            "BAD_SET_ARGUMENT",
        ),
    ),
    3: (
        "OFPBIC",
        (
            "UNKNOWN_INST",
            "UNSUP_INST",
            "BAD_TABLE_ID",
            "UNSUP_METADATA",
            "UNSUP_METADATA_MASK",
            "BAD_EXPERIMENTER",
            "BAD_EXP_TYPE",
            "BAD_LEN",
            "EPERM",
            "DUP_INST",
        ),
    ),
    4: (
        "OFPBMC",
        (
            "BAD_TYPE",
            "BAD_LEN",
            "BAD_TAG",
            "BAD_DL_ADDR_MASK",
            "BAD_NW_ADDR_MASK",
            "BAD_WILDCARDS",
            "BAD_FIELD",
            "BAD_VALUE",
            "BAD_MASK",
            "BAD_PREREQ",
            "DUP_FIELD",
            "EPERM",
        ),
    ),
    5: (
        "OFPFMFC",
        (
            "UNKNOWN",
            "TABLE_FULL",
            "BAD_TABLE_ID",
            "OVERLAP",
            "EPERM",
            "BAD_TIMEOUT",
            "BAD_COMMAND",
            "BAD_FLAGS",
        ),
    ),
    12: (
        "OFPMMFC",
        (
            "UNKNOWN",
            "METER_EXISTS",
            "INVALID_METER",
            "UNKNOWN_METER",
            "BAD_COMMAND",
            "BAD_FLAGS",
            "BAD_RATE",
            "BAD_BURST",
            "BAD_BAND",
            "BAD_BAND_VALUE",
            "OUT_OF_METERS",
            "OUT_OF_BANDS",
        ),
    ),
    17: (
        "OFPBFC",
        (
            "UNKNOWN",
            "EPERM",
            "BAD_ID",
            "BUNDLE_EXIST",
            "BUNDLE_CLOSED",
            "OUT_OF_BUNDLES",
            "BAD_TYPE",
            "BAD_FLAGS",
            "MSG_BAD_LEN",
            "MSG_BAD_XID",
            "MSG_UNSUP",
            "MSG_CONFLICT",
            "MSG_TOO_MANY",
            "MSG_FAILED",
            "TIMEOUT",
            "BUNDLE_IN_PROGRESS",
        ),
    ),
}

#: Open vSwitch's own errors have a type and no code.
_NICIRA_NAMES = {
    2: "NXBRC_NXM_INVALID",
    3: "NXBRC_NXM_BAD_TYPE",
    4: "NXBRC_MUST_BE_ZERO",
    11: "NXBAC_MUST_BE_ZERO",
    12: "NXFMFC_HARDWARE",
    13: "NXFMFC_BAD_TABLE_ID",
    15: "NXBAC_BAD_CONJUNCTION",
    42: "NXBAC_CT_DATAPATH_SUPPORT",
    43: "NXBMC_CT_DATAPATH_SUPPORT",
}


def error_name(body: bytes) -> str:
    """The name of the error in the body of an error message, its numbers where it has none."""
    if len(body) < _ERROR.size:
        return "an error without type and code"
    kind, code = _ERROR.unpack_from(body)
    if kind == _EXPERIMENTER and len(body) >= _EXPERIMENTER_ERROR.size:
        vendor = _EXPERIMENTER_ERROR.unpack_from(body)[2]
        name = _NICIRA_NAMES.get(code) if vendor == _NICIRA else None
        return name or f"error {code} of vendor {vendor:#x}"
    prefix, names = _NAMES.get(kind, ("", ()))
    return f"{prefix}_{names[code]}" if code < len(names) else f"error type {kind} code {code}"
