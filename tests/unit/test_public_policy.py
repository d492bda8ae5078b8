"""What a policy allows to everybody, in whatever way it says so."""

from __future__ import annotations

from typing import Any

import pytest

from petal_s3.admin.public_policy import Everybody, for_everybody

READ = "s3:GetObject"
ALLOW = {"Effect": "Allow", "Action": READ, "Resource": "arn:aws:s3:::logs/*"}
ROLE = "arn:aws:iam::111122223333:role/robot"

EVERYBODY: dict[str, dict[str, Any]] = {
    "the word": {"Principal": "*"},
    "of AWS": {"Principal": {"AWS": "*"}},
    "in a list": {"Principal": {"AWS": ["*"]}},
    "a list alone": {"Principal": ["*"]},
    "beside another": {"Principal": {"AWS": ["*", ROLE]}},
    "behind another": {"Principal": {"AWS": [ROLE, "*"]}},
    "twice": {"Principal": {"AWS": ["*", "*"]}},
    "beside another kind": {"Principal": {"AWS": "*", "CanonicalUser": "79a5"}},
    "beside a service": {"Principal": {"AWS": ["*"], "Service": "s3.amazonaws.com"}},
    "all but one": {"NotPrincipal": {"AWS": ROLE}},
}
ALWAYS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "an empty one": {},
    "TLS": {"Bool": {"aws:SecureTransport": "true"}},
    "TLS as JSON's true": {"Bool": {"aws:SecureTransport": True}},
    "TLS in a list": {"BoolIfExists": {"aws:securetransport": ["true"]}},
    "every address": {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}},
    "every address of IPv6": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::/0"]}},
    "every address by another name": {"IpAddressIfExists": {"aws:SourceIp": "10.0.0.0/0"}},
    "anything": {"StringLike": {"aws:Referer": ["*"]}},
    "two that hold": {
        "Bool": {"aws:SecureTransport": "true"},
        "IpAddress": {"aws:SourceIp": "::/0"},
    },
}
NOT_JUDGED: dict[str, Any] = {
    "an address": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}},
    "half of all addresses": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}},
    "all but an address": {"NotIpAddress": {"aws:SourceIp": "192.0.2.1/32"}},
    "without TLS": {"Bool": {"aws:SecureTransport": "false"}},
    "a network": {"StringEquals": {"aws:SourceVpce": "vpce-1"}},
    "one that holds and one that may not": {
        "Bool": {"aws:SecureTransport": "true"},
        "StringEquals": {"aws:PrincipalOrgID": "o-1"},
    },
    "no condition that S3 takes": {"Bool": "true"},
    "none at all": "always",
}
NOBODY: dict[str, dict[str, Any]] = {
    "a role": {"Principal": {"AWS": ROLE}},
    "a service": {"Principal": {"Service": "*"}},
    "nobody": {"Principal": {}},
    "nothing": {},
    "a denial": {"Principal": "*", "Effect": "Deny"},
    "a denial to all but one": {"NotPrincipal": {"AWS": ROLE}, "Effect": "Deny"},
}


def policy(**statement: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{**ALLOW, **statement}]}


@pytest.mark.parametrize("named", EVERYBODY)
@pytest.mark.parametrize("condition", ALWAYS)
def test_everybody_by_any_spelling_and_a_condition_that_always_holds(
    named: str, condition: str
) -> None:
    given = {"Condition": ALWAYS[condition]} if ALWAYS[condition] is not None else {}
    assert for_everybody(policy(**EVERYBODY[named], **given)) == Everybody((READ,))


@pytest.mark.parametrize("named", EVERYBODY)
@pytest.mark.parametrize("condition", NOT_JUDGED)
def test_a_condition_that_is_not_understood_is_told_as_one(named: str, condition: str) -> None:
    found = for_everybody(policy(**EVERYBODY[named], Condition=NOT_JUDGED[condition]))
    assert found == Everybody((), (READ,))


@pytest.mark.parametrize("named", NOBODY)
def test_what_lets_nobody_in_is_nothing(named: str) -> None:
    assert for_everybody(policy(**NOBODY[named])) == Everybody()


def test_a_statement_alone_and_what_it_spares() -> None:
    one = {"Effect": "Allow", "Principal": "*", "NotAction": ["s3:PutObject", "s3:DeleteObject"]}
    told = for_everybody({"Statement": one})
    assert told.actions == ("all but s3:PutObject and s3:DeleteObject",)
    assert for_everybody(None) == Everybody()


def test_what_is_open_is_not_told_again_under_a_condition() -> None:
    tied = {**ALLOW, "Principal": "*", "Condition": NOT_JUDGED["a network"]}
    more = {**tied, "Action": [READ, "s3:PutObject"]}
    found = for_everybody({"Statement": [more, {**ALLOW, "Principal": "*"}]})
    assert found == Everybody((READ,), ("s3:PutObject",))
