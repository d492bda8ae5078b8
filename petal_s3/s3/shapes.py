"""The shapes of what botocore takes and gives: their types are known to it alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Params: TypeAlias = Mapping[str, Any]
"""The parameters of an operation, named as botocore names them."""

Answer: TypeAlias = Mapping[str, Any]
"""A parsed answer, with its ``ResponseMetadata``."""
