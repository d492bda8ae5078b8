"""Where an update has left packages that do not fit, each command says so in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from console import Console

CHECKOUT = Path(__file__).parents[2]
SENTENCE = (
    "Nothing can be sent: aiobotocore {user} needs botocore{wanted}, and botocore 1.44.0 is"
    " installed. Install what fits: {python} -m pip install 'aiobotocore=={user}' boto3\n"
)


def updated(directory: Path) -> Path:
    """A place, to come first on the path, in which somebody has updated boto3.

    botocore is the one that is installed and calls itself 1.44.0; aiobotocore fails as it does
    then.
    """
    about = directory / "botocore-1.44.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: botocore\nVersion: 1.44.0\n")
    broken = directory / "aiobotocore"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('cannot import name NEW_RETRIES')\n")
    return directory


def typed(console: Console, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which finds its packages anew."""
    env = {**os.environ, **console.env, "PYTHONPATH": os.pathsep.join([str(path), str(CHECKOUT)])}
    command = [sys.executable, *words]
    return subprocess.run(command, check=False, env=env, capture_output=True, text=True)


def sentence() -> str:
    from importlib.metadata import requires, version

    (wanted,) = [one for one in requires("aiobotocore") or [] if one.startswith("botocore<")]
    return SENTENCE.format(
        user=version("aiobotocore"), wanted=wanted.removeprefix("botocore"), python=sys.executable
    )


@pytest.mark.parametrize(
    "words",
    ["drain", "serve", "ls", "get k", "verify --all", "bucket setup", "bucket policy", "retry 1"],
)
def test_a_command_that_needs_s3_says_what_to_install(
    console: Console, tmp_path: Path, words: str
) -> None:
    ended = typed(console, updated(tmp_path / "first"), "-m", "petal_s3", *words.split())
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        1,
        "",
        f"{sentence()[:-1]} [packages]\n",
    )
    assert not console.state.exists()


def test_check_says_it_in_one_line(console: Console, tmp_path: Path) -> None:
    ended = typed(console, updated(tmp_path / "first"), "-m", "petal_s3", "check")
    assert (ended.returncode, ended.stdout) == (1, f"FAILED   packages: {sentence()}")
    assert ended.stderr == ""


def test_status_works_and_says_it_too(console: Console, tmp_path: Path) -> None:
    ended = typed(console, updated(tmp_path / "first"), "-m", "petal_s3", "status")
    assert ended.returncode == 0
    assert ended.stdout.endswith(sentence())


def test_a_script_hears_the_same_when_it_imports_the_client(
    console: Console, tmp_path: Path
) -> None:
    script = (
        "import petal_s3\n"
        "try:\n    petal_s3.S3Client\n"
        "except petal_s3.S3IntegrationError as error:\n    print(error.message)\n"
    )
    ended = typed(console, updated(tmp_path / "first"), "-c", script)
    assert ended.stdout == sentence()
