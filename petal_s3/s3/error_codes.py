"""The error codes and statuses of S3 and its like: which of our errors each is, in what words."""

from __future__ import annotations

from petal_s3.errors import (
    BadInput,
    ClockSkew,
    Conflict,
    Mismatch,
    NotS3,
    Refused,
    S3BucketError,
    S3CredentialsError,
    S3FileNotFoundError,
    S3IntegrationError,
    Throttled,
    Transient,
    UploadGone,
)

# In each sentence {told} is what was asked and what came. A sentence blames nothing that the
# answer does not say: docs/decisions/0026 has the evidence that each word needs.
_EXPIRED = "S3 does not accept the session credentials ({told})."
_KEYS = "S3 does not accept the access key ({told})."
_FORBIDDEN = "S3 does not allow it to this machine ({told}): check its permissions."
BUCKET = "The bucket cannot be used ({told}): check PETAL_S3_BUCKET_NAME and PETAL_S3_REGION."
_FULL = "The bucket has no room left ({told})."
_CLOCK = "S3 does not accept the time of the request ({told})."
_SLOW = "S3 asks to slow down ({told})."
_GONE = "S3 no longer knows the multipart upload ({told}); it begins anew."
_DIGEST = "S3 says that the bytes do not fit their checksum ({told}); they are sent again."
_TAKEN = "S3 says that an object stands at this key already ({told})."
NO = "S3 refuses this request ({told})."
_NOT_OFFERED = "The server does not offer what was asked of it ({told})."
_ENCRYPTION = (
    "The server does not encrypt as it is asked to ({told}): set PETAL_S3_SSE to what it offers,"
    " or to none."
)
_ADDRESS = (
    "The server does not take the bucket where it was named ({told}): set PETAL_S3_ADDRESS_STYLE."
)
_ARCHIVED = "The object is archived and has to be restored before it can be read ({told})."
_OTHERS = "The bucket belongs to another account ({told}): choose another PETAL_S3_BUCKET_NAME."
UNWELL = "S3 could not do it ({told}); it is tried again."

Meaning = tuple[type[S3IntegrationError], str, str]
"""Which error of ours, its code, and its sentence."""

TABLE: dict[str, Meaning] = {
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "TokenRefreshRequired",
            "InvalidToken",
            "RequestExpired",
        ),
        (S3CredentialsError, "credentials_expired", _EXPIRED),
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        (S3CredentialsError, "credentials_refused", _KEYS),
    ),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestInTheFuture"), (ClockSkew, "clock", _CLOCK)),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AllAccessDisabled",
            "AccountProblem",
            "InvalidSecurity",
            "NotSignedUp",
        ),
        (S3BucketError, "forbidden", _FORBIDDEN),
    ),
    **dict.fromkeys(
        (
            "NoSuchBucket",
            "InvalidBucketName",
            "PermanentRedirect",
            "TemporaryRedirect",
            "IllegalLocationConstraintException",
            "AuthorizationHeaderMalformed",
            "InvalidLocationConstraint",
            "InvalidBucketState",
        ),
        (S3BucketError, "bucket", BUCKET),
    ),
    **dict.fromkeys(
        ("NotImplemented", "MethodNotAllowed"), (S3BucketError, "not_implemented", _NOT_OFFERED)
    ),
    **dict.fromkeys(
        ("InvalidEncryptionAlgorithmError", "KMSNotConfigured"),
        (S3BucketError, "encryption", _ENCRYPTION),
    ),
    **dict.fromkeys(
        ("SecondLevelDomainForbidden", "PathStyleDomainForbidden", "PathStyleRequestNotAllowed"),
        (S3BucketError, "address_style", _ADDRESS),
    ),
    "InvalidObjectState": (Refused, "archived", _ARCHIVED),
    **dict.fromkeys(
        (
            "QuotaExceeded",
            "InsufficientStorage",
            "XMinioStorageFull",
            "ServiceQuotaExceeded",
            "ServiceQuotaExceededException",
        ),
        (S3BucketError, "bucket_full", _FULL),
    ),
    **dict.fromkeys(
        (
            "SlowDown",
            "ServiceUnavailable",
            "RequestLimitExceeded",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
            "TooManyRequestsException",
            "BandwidthLimitExceeded",
            "RequestThrottled",
        ),
        (Throttled, "throttled", _SLOW),
    ),
    **dict.fromkeys(
        ("NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall"),
        (UploadGone, "upload_gone", _GONE),
    ),
    **dict.fromkeys(
        ("BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest", "XAmzContentChecksumMismatch"),
        (Mismatch, "digest_refused", _DIGEST),
    ),
    "InvalidRange": (
        BadInput,
        "no_such_range",
        "Nothing of the object lies in this range ({told}).",
    ),
    "PreconditionFailed": (Conflict, "key_taken", _TAKEN),
    **dict.fromkeys(
        ("NoSuchKey", "NoSuchVersion"),
        (S3FileNotFoundError, "not_found", "There is no such object."),
    ),
    "NoSuchLifecycleConfiguration": (
        S3FileNotFoundError,
        "no_lifecycle",
        "The bucket has no lifecycle rules ({told}).",
    ),
    **dict.fromkeys(
        (
            "NoSuchBucketPolicy",
            "NoSuchCORSConfiguration",
            "ServerSideEncryptionConfigurationNotFoundError",
            "NoSuchPublicAccessBlockConfiguration",
        ),
        (S3FileNotFoundError, "not_set", "The bucket has no such setting ({told})."),
    ),
    "BucketAlreadyExists": (Conflict, "bucket_of_another", _OTHERS),
    "BucketAlreadyOwnedByYou": (Conflict, "bucket_is_yours", "The bucket is yours ({told})."),
    **dict.fromkeys(
        (
            "EntityTooLarge",
            "KeyTooLongError",
            "MetadataTooLarge",
            "InvalidArgument",
            "InvalidRequest",
            "MalformedXML",
            "UnsupportedHeader",
            "MalformedPolicy",
            "InvalidTargetBucketForLogging",
            "CrossLocationLoggingProhibited",
            "TooManyBuckets",
        ),
        (Refused, "s3_refused", NO),
    ),
    **dict.fromkeys(
        (
            "InternalError",
            "RequestTimeout",
            "IncompleteBody",
            "OperationAborted",
            "ConditionalRequestConflict",
        ),
        (Transient, "s3_unwell", UNWELL),
    ),
}

STATUSES: dict[int, Meaning] = {
    301: (S3BucketError, "bucket", BUCKET),
    401: (S3BucketError, "forbidden", NO),
    403: (S3BucketError, "forbidden", NO),
    404: (S3FileNotFoundError, "not_found", "There is no such object."),
    405: (S3BucketError, "not_implemented", _NOT_OFFERED),
    407: (NotS3, "not_s3", "A proxy on the way asks for a login ({told})."),
    412: (Conflict, "key_taken", _TAKEN),
    429: (Throttled, "throttled", _SLOW),
    501: (S3BucketError, "not_implemented", _NOT_OFFERED),
    503: (Throttled, "throttled", _SLOW),
    507: (S3BucketError, "bucket_full", _FULL),
    511: (NotS3, "not_s3", "The network asks for a login ({told})."),
}
