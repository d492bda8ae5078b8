"""The status page: shows at a glance whether the logs are up, and if not, why."""

from __future__ import annotations

from html import escape

from petal_s3.service.views.card import card_facts
from petal_s3.service.views.rows import RowView, percent
from petal_s3.service.views.status import StatusView, spoken_s, tries_of, trouble_of

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


def _row(row: RowView) -> str:
    proof = row.receipt.proof if row.receipt else ""
    share = "" if row.state == "verified" else f"{percent(row)} %"
    way = row.received_by or ""
    cells = (row.id, row.key, _size(row.size), share, row.reason or proof, way)
    state = escape(str(row.state))
    told = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f"<tr><td class={state}>{state}</td>{told}</tr>"


def _facts(status: StatusView) -> list[str]:
    """What the headline does not say, a sentence each."""
    heard = status.link_seen_s
    ago = "" if heard is None else f" (S3 answered {spoken_s(heard)} ago)"
    facts = [trouble_of(status)] if trouble_of(status) else []
    if status.backlog_bytes:
        pace = f" at {_size(status.rate_bytes_s)}/s" if status.rate_bytes_s else ""
        left = "" if status.eta_s is None else f", about {spoken_s(status.eta_s)}"
        facts.append(f"To send: {_size(status.backlog_bytes)}{pace}{left}.")
    tries = tries_of(status)
    facts += [tries] if tries else []
    facts += [] if status.card is None else card_facts(status.card, _size)
    facts.append(
        f"Link {status.link}{ago}, credentials {status.credentials}, vehicle {status.flight_state}."
    )
    counts = ", ".join(f"{state} {number}" for state, number in status.counts.items())
    return [*facts, f"{counts}."]


def page(machine_id: str, bucket_name: str, status: StatusView, rows: list[RowView]) -> str:
    """The page as HTML; everything in it is escaped, it loads nothing and asks again by itself."""
    facts = " ".join(_facts(status))
    body = "".join(_row(row) for row in rows)
    return (
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
        "<meta http-equiv=refresh content=5>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>petal-s3</title><style>{_STYLE}</style></head><body>"
        f"<h1>Flight logs of {escape(machine_id)} in {escape(bucket_name)}</h1>"
        f"<p class=reason><b>{escape(status.headline)}</b></p><p>{escape(facts)}</p>"
        "<table><thead><tr><th>State</th><th>Row</th><th>Key</th><th>Size</th><th>Sent</th>"
        "<th>Why, or proof</th><th>Received by</th></tr></thead>"
        f"<tbody>{body}</tbody></table></body></html>"
    )
