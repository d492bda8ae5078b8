"""What the servers of these tests offer, so that each test meets only the requests it speaks of."""

from __future__ import annotations

from petal_s3.s3.capabilities import Capabilities, Feature, Known

_OFFERED: tuple[Feature, ...] = (
    "encryption",
    "body_checksums",
    "full_checksums",
    "told_checksums",
    "part_etags",
    "md5_etags",
    "joined_etags",
    "list_parts",
    "list_uploads",
    "deletion",
    "prompt_reads",
)
_CONDITIONS: tuple[Feature, ...] = ("put_condition", "complete_condition")
# Conditions are left open: then a key is looked at before the first byte.
KNOWN = Capabilities({feature: Known(True, 0, "given") for feature in _OFFERED})
# Seen to refuse to overwrite.
CONDITIONAL = Capabilities(
    {feature: Known(True, 0, "given") for feature in (*_OFFERED, *_CONDITIONS)}
)
# Seen to refuse a body whose checksum is false, too: as AWS is.
CHECKING = Capabilities({**CONDITIONAL.known, "checked_checksums": Known(True, 0, "given")})
