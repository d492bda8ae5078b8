"""What an administrator has to allow where a check was refused."""

from __future__ import annotations

from petal_s3.admin.finding import Finding, trouble
from petal_s3.admin.iam_policy import partition
from petal_s3.errors import (
    ClockSkew,
    NotS3,
    Offline,
    S3CredentialsError,
    S3IntegrationError,
    Throttled,
)

_USE_TLS = (
    "where the bucket's policy is TLS-only, set an https:// PETAL_S3_ENDPOINT_URL, or take the"
    " policy back with `petal-s3 bucket setup --remove tls-only`; else "
)


class Advisor:
    """Turns errors into findings for one machine's home, and notes when to ask no further."""

    def __init__(self, region: str, bucket: str, home: str, *, over_http: bool = False) -> None:
        """``over_http``: a policy that demands TLS would refuse all that is asked."""
        self.arn = f"arn:{partition(region)}:s3:::{bucket}"
        self._home = home
        self._over_http = over_http
        self.ended = False
        """Whether S3 cannot be asked any more for now."""

    @property
    def below(self) -> str:
        """The machine's objects, as a policy names them."""
        return f"{self.arn}/{self._home}*"

    def trouble(self, check: str, error: S3IntegrationError, advice: str = "") -> Finding:
        """A check that ended with ``error``."""
        odd = isinstance(error, NotS3) and error.told is None  # one answer, and S3 is there
        cut_off = isinstance(error, Offline | Throttled | ClockSkew | S3CredentialsError)
        self.ended = self.ended or (cut_off and not odd)
        return trouble(check, error, advice)

    def objects(self, check: str, error: S3IntegrationError, more: str = "") -> Finding:
        """A permission on the machine's objects that is missing, or could not be tried."""
        if error.code != "forbidden":
            return self.trouble(check, error, more.strip())
        return self.refused(check, error, self.below, more)

    def refused(self, check: str, error: S3IntegrationError, where: str, more: str = "") -> Finding:
        """A permission that is missing."""
        allow = f"{self.allow(check, where)}{more}"
        return self.trouble(check, error, f"{allow[0].upper()}{allow[1:]}")

    def allow(self, check: str, where: str) -> str:
        """The advice itself."""
        before = _USE_TLS if self._over_http else ""
        needed = "petal-s3 bucket policy prints all that is needed."
        return f"{before}allow {check} on {where}; {needed}"
