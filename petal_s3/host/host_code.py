"""Ask the host's own code what it would write into its files."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from pathlib import Path

import yaml

from petal_s3.errors import NotAllowed, Permanent, S3IntegrationError
from petal_s3.host.installed import PROXIES
from petal_s3.host.whole_files import trusted
from petal_s3.host.yaml_file import Json, read

# What the code of another version of the host may raise.
_FOREIGN_ERRORS = (
    *(AssertionError, AttributeError, ImportError, LookupError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError, S3IntegrationError, yaml.YAMLError),
)


def default_proxies(root: Path) -> tuple[str, Json]:
    """What the host would write into ``proxies.yaml`` itself: its own code is asked.

    That is code of the folder ``root``: it is run only where no other user can change it. Raises
    :class:`NotAllowed`, and :class:`Permanent` where it does not tell.
    """
    code = code_of(root)
    assert code is not None, "find_root saw to it"
    if not trusted(code):
        raise NotAllowed(
            f"There is no {root / PROXIES}, and the host's code, which tells what it would write"
            " there, can be changed by another user: it is not run as this one. Start the host"
            " once, then install; or install as the user that the host runs as.",
            code="foreign_code",
        )
    try:
        spec = importlib.util.spec_from_file_location("_petal_app_manager_config", code)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        logging.getLogger(module.__name__).disabled = True
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, PROXIES)
            module.ensure_proxies_config_exists(path)
            return read(path)
    except _FOREIGN_ERRORS as error:
        raise Permanent(
            f"There is no {root / PROXIES}, and the host's code does not tell what it would write"
            " there: start the host once, then install.",
            code="bad_host_file",
        ) from error


def code_of(root: Path) -> Path | None:
    """The code of the host below ``root`` that knows its files; none where there is no host."""
    return next(iter(sorted(root.glob("*/petal_app_manager/config.py"))), None)
