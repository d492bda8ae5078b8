"""The closed list of codes that a status or a row can have, with one sentence each.

An error's own sentence, which quotes what was seen, stands in place of the one of the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from petal_s3.s3.tls_dates import ADVICE as DATES

STATES: Mapping[str, str] = MappingProxyType(
    {
        "all_up": "All logs are up.",
        "no_log": "No log has been found yet.",
        "nothing_waits": "No log waits to be sent.",
        "uploading": "Logs are on their way.",
        "its_turn": "It waits its turn.",
        "settling": "Files are still being written, or changed a moment ago.",
        "unscanned": "Files in the log directories are not in the outbox yet.",
        "on_card": "Logs are on the autopilot's card yet: they are being fetched.",
        "some_dead": "Some logs cannot be sent: a person has to look. All others are up.",
    }
)
"""How things are where nothing is in the way."""

HOLDS: Mapping[str, str] = MappingProxyType(
    {
        "no_drain": "No process is uploading. Start the host, or run `petal-s3 drain`.",
        "armed": "The vehicle is armed; uploads wait until it has landed.",
        "listening": "Listening whether the vehicle is armed.",
        "silent": "The autopilot is not heard, so the vehicle may be armed.",
        "deaf": "The host cannot hear whether the vehicle is armed.",
        "paused": "The upload was paused; it goes on where it was.",
        "offline": "There is no link to S3.",
        "stalled": "Nothing of what is sent arrives; the link may be gone.",
        "link_back": "The link is back; sending goes on within a minute, or as soon as asked for.",
        "not_s3": "The answer did not come from S3: the network may need a login.",
        "tls": "The certificate that came is not one for the address of S3.",
        "tls_dates": f"A certificate does not fit this device's date: {DATES}.",
        "clock": "S3 does not accept the time of the request.",
        "throttled": "S3 asks to slow down.",
        "credentials": "There are no valid session credentials.",
        "no_credentials": "There are no credentials.",
        "credentials_expired": "The session credentials have expired.",
        "credentials_refused": "S3 does not accept the access key.",
        "credentials_unsendable": "No request can carry the credentials.",
        "token_service_down": "The token service cannot be reached.",
        "token_service_login": "What this machine authenticates with to the token service cannot be"
        " used.",
        "token_service_refused": "The token service refuses to give credentials.",
        "token_service_nonsense": "The token service's answer holds no credentials that work.",
        "bucket": "The bucket cannot be used: check PETAL_S3_BUCKET_NAME and PETAL_S3_REGION.",
        "bucket_full": "The bucket has no room left.",
        "forbidden": "S3 does not allow it to this machine: check its permissions.",
        "not_implemented": "The server does not offer what was asked of it.",
        "encryption": "The server does not encrypt as it is asked to: set PETAL_S3_SSE.",
        "address_style": "The server does not take the bucket where it was named: set"
        " PETAL_S3_ADDRESS_STYLE.",
        "aws_settings": "The AWS settings of this machine cannot be used.",
        "config": "A setting is missing or wrong.",
        "packages": "Packages that are installed do not fit each other.",
        "storage_full": "The state directory is full, read-only or not ours.",
        "outbox_damaged": "The outbox is damaged; it is rebuilt.",
        "outbox_locked": "Another process holds the outbox for long; it is tried again.",
        "too_many_files": "petal-s3 cannot open any more files: raise the limit of its process.",
        "outbox_gone": "The outbox was removed; it begins anew.",
        "starting": "petal-s3 is starting.",
        "closed": "petal-s3 is stopping.",
    }
)
"""Every row waits for this; it is over as soon as it is seen to be, whatever a row remembers."""

TROUBLES: Mapping[str, str] = MappingProxyType(
    {
        "trouble": "Logs cannot be looked for, or taken in.",
        "unread": "A log directory cannot be read: logs in it are not seen.",
    }
)
"""There may be logs that no row and no count tells of."""

WAITS: Mapping[str, str] = MappingProxyType(
    {
        "not_now": "It is not sent yet.",
        "not_finished": "The file is still being written.",
        "source_away": "The file cannot be read now: its disk is not mounted, or reading fails.",
        "source_changed": "The file changed since it was enqueued; it is examined again.",
        "mismatch": "S3 holds other bytes than the disk; it is sent anew.",
        "digest_refused": "S3 says that the bytes do not fit their checksum; they are sent again.",
        "upload_gone": "S3 no longer knows the multipart upload; it begins anew.",
        "parts_unlisted": "S3 does not list the parts of the upload.",
        "key_taken": "Another object stands at its key; it gets another one.",
        "not_yet_there": "S3 has stored it and does not show it yet.",
        "same_as_other": "Another row with the same bytes is on its way.",
        "copy_changed": "The object in S3 changed while it was compared.",
        "changed": "The object in S3 changed while it was read.",
        "s3_unwell": "S3 could not do it; it is tried again.",
        "s3_refused": "S3 refuses a request about this log.",
        "refused": "The request about this log is refused.",
        "bad_input": "A request about this log is wrong.",
        "no_such_range": "The object in S3 is shorter than it was said to be.",
        "archived": "The object is archived and has to be restored before it can be read.",
        "conflict": "Another object stands where this one belongs.",
        "not_found": "S3 does not know the object.",
        "lease_lost": "Another worker took the row over.",
        "internal": "An error of petal-s3 or of a library it uses; it is tried again.",
    }
)
"""This row waits for it, and the others do not."""

ENDS: Mapping[str, str] = MappingProxyType(
    {
        "source_gone": "Its file was deleted before it could be proven.",
        "not_a_flight_log": "It is no flight log.",
        "not_examined": "It was no log when it was found; `retry` examines it anew.",
        "empty": "The file is empty.",
        "too_large": "The file is larger than PETAL_S3_MAX_FILE_SIZE.",
        "too_short": "The file is too short to be a log.",
        "extension": "The name is not one of a log.",
        "bad_magic": "The content is no log.",
        "bad_header": "The header of the log cannot be read.",
        "type_mismatch": "The name says another kind than the content.",
        "bag_version": "The ROS bag is of a version that is not known.",
        "zero_filled": "The file contains only zeros.",
        "compressed": "The file is compressed: unpack it first.",
        "encrypted": "The log is encrypted.",
        "not_text": "The file is not readable text.",
        "not_regular": "It is not a regular file.",
        "not_allowed": "The file may not be sent: it lies behind a link.",
        "unreadable": "The file cannot be read: permission denied.",
        "bad_name": "The name of the file cannot be used.",
        "bad_path": "The path of the file cannot be used.",
        "object_gone": "Its object is gone from the bucket, or is another one: `petal-s3 resend`"
        " sends it again where its file is still there.",
        "cancelled": "It was cancelled.",
        "deleted": "Its object was deleted on request.",
        "same_file": "It is the same file as that of another row.",
    }
)
"""The row is not sent any more; a person has to look."""

CARD: Mapping[str, str] = MappingProxyType(
    {
        "no_card": "The autopilot shows no directory of logs: look whether its card is inserted.",
        "card_silent": "The autopilot does not answer for its card; it is asked again.",
        "card_refused": "The autopilot refuses what is asked of its card; it is asked again.",
        "card_not_found": "It is not on the card any more; the card is listed again.",
        "card_changed": "The card holds another file than was fetched; it begins anew.",
        "card_shorter": "The file on the card is shorter than it was listed; it begins anew.",
        "card_gone": "It vanished from the card.",
        "card_held": "The autopilot may not be asked now.",
        "baseline": "It was on the card before the first flight: it is fetched when asked for.",
    }
)
"""Of the autopilot's card and its logs: beside those of :data:`HOLDS`, and ``empty``, ``too_large``
and ``bad_path`` for a log that cannot be fetched."""

CODES: Mapping[str, str] = MappingProxyType(
    {**STATES, **TROUBLES, **HOLDS, **WAITS, **ENDS, **CARD}
)


@dataclass(frozen=True)
class Reason:
    """Why nothing is sent: a stable code, and the one sentence that every front end shows."""

    code: str
    sentence: str


def reason(code: str, detail: str = "") -> Reason:
    """The reason of ``code``, in the words of the list or, where there are any, in ``detail``.

    A code that is not in the list, as another version may write, becomes ``not_now``.
    """
    known = code if code in CODES else "not_now"
    return Reason(known, detail or CODES[known])


NO_DRAIN = reason("no_drain")
ITS_TURN = reason("its_turn")
NOT_YET = reason("not_now")
