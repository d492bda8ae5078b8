"""A cloud that enforces permissions, and one user in it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import boto3

from petal_s3.demo.services import EmbeddedS3

Json = dict[str, Any]


def allow(*actions: str) -> Json:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


def deny(*actions: str) -> Json:
    return {"Effect": "Deny", "Action": list(actions), "Resource": "*"}


def enforce_after(server: EmbeddedS3, requests: float) -> None:
    """Signatures and policies count once ``requests`` more have come."""
    request = urllib.request.Request(
        f"{server.url}/moto-api/reset-auth",
        data=str(requests).encode(),
        method="POST",
        headers={"Content-Type": "text/plain"},
    )
    urllib.request.urlopen(request, timeout=10).close()


class Account:
    """A server that can be told to look at signatures and policies."""

    def __init__(self, server: EmbeddedS3) -> None:
        self._server = server
        self.url = server.url
        self._clients: list[Any] = []
        self._iam = self._client("iam", "anybody", "anything")
        self.key = self._made("user")
        """What the commands sign with."""
        self.s3 = self._client("s3", *self.key)
        """The same user, without petal-s3."""
        root = self._made("root")
        self._allow("root", allow("*"))
        self.root = self._client("s3", *root)
        """Somebody who may do everything."""
        self.allow(allow("*"))

    def _client(self, service: str, key: str, secret: str) -> Any:
        self._clients.append(
            boto3.client(
                service,
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id=key,
                aws_secret_access_key=secret,
            )
        )
        return self._clients[-1]

    def _made(self, name: str) -> tuple[str, str]:
        self._iam.create_user(UserName=name)
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def allow(self, *statements: Json) -> None:
        """The user's whole policy, from now on."""
        self._allow("user", *statements)

    def _allow(self, name: str, *statements: Json) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        self._iam.put_user_policy(
            UserName=name, PolicyName="p", PolicyDocument=json.dumps(document)
        )

    def enforce(self) -> None:
        """From now on signatures and policies count."""
        enforce_after(self._server, 0)

    def close(self) -> None:
        for client in self._clients:
            client.close()
