"""To import this is to check that the packages fit, before aiobotocore is imported.

Raises what :func:`petal_s3.core.packages.unfit` finds, in place of aiobotocore's ``ImportError``.
"""

from __future__ import annotations

from petal_s3.core.packages import unfit

_found = unfit()
if _found is not None:
    raise _found
