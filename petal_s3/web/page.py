"""The status page: shows at a glance whether the logs are up, and if not, why."""

from __future__ import annotations

from html import escape

from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import StatusView

# No script, nothing from elsewhere: a file may be called anything.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;
color:#1b1f24;background:#fff}
h1{font-size:1.3rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d8dee4;
white-space:nowrap;vertical-align:top}
td:nth-child(3),td:nth-child(6){white-space:normal;overflow-wrap:anywhere}
.verified{color:#116329}.dead{color:#a40e26}.queued,.uploading{color:#7d4e00}
.reason{font-size:1.1rem}
"""


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return ""


def _share(row: RowView) -> str:
    if row.state == "verified" or not row.size:
        return ""
    return f"{100 * row.sent_bytes // row.size} %"


def _row(row: RowView) -> str:
    proof = row.receipt.proof if row.receipt else ""
    cells = (row.id, row.key, _size(row.size), _share(row), row.reason or proof)
    state = escape(str(row.state))
    told = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f"<tr><td class={state}>{state}</td>{told}</tr>"


def _headline(status: StatusView) -> str:
    counts = status.counts
    waiting = counts["queued"] + counts["uploading"]
    if waiting:
        return f"{waiting} not up yet, {_size(status.backlog_bytes)} to send."
    if counts["dead"]:
        return f"{counts['dead']} cannot be sent: a person has to look. All others are up."
    return "All logs are up." if counts["verified"] else "No logs yet."


def page(machine_id: str, bucket_name: str, status: StatusView, rows: list[RowView]) -> str:
    """The page as HTML; everything in it is escaped, it loads nothing and asks again by itself."""
    facts = ", ".join(f"{state} {number}" for state, number in status.counts.items())
    body = "".join(_row(row) for row in rows)
    return (
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
        "<meta http-equiv=refresh content=5>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>petal-s3</title><style>{_STYLE}</style></head><body>"
        f"<h1>Flight logs of {escape(machine_id)} in {escape(bucket_name)}</h1>"
        f"<p class=reason><b>{escape(_headline(status))}</b> {escape(status.reason)}</p>"
        f"<p>Link {escape(status.link)}, credentials {escape(status.credentials)}, "
        f"vehicle {escape(status.flight_state)}. {escape(facts)}.</p>"
        "<table><thead><tr><th>State</th><th>Row</th><th>Key</th><th>Size</th><th>Sent</th>"
        f"<th>Why, or proof</th></tr></thead><tbody>{body}</tbody></table></body></html>"
    )
