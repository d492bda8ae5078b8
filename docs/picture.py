"""Draw docs/demo.svg from what a real run of the demo prints: python -m docs.picture."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

_FROM = "4. In the middle"


def main() -> int:
    """Play the demo, and keep its end as a picture."""
    demo = subprocess.run(
        [sys.executable, "-m", "petal_s3.demo.show"], capture_output=True, text=True, check=True
    )
    lines = [line.rstrip() for line in demo.stdout.splitlines()]
    start = next(n for n, line in enumerate(lines) if _FROM in line)
    canvas = Console(record=True, width=112, file=io.StringIO())
    for line in lines[start:]:
        heading, summary = re.match(r"\d\. ", line), "identical in S3 and on disk" in line
        canvas.print(Text(line, "bold cyan" if heading else "bold green" if summary else ""))
    Path(__file__).with_name("demo.svg").write_text(canvas.export_svg(title="petal-s3 demo"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
