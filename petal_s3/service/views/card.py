"""The autopilot's card, as it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field

from petal_s3.service.views.view import View

CardState = Literal[
    "seen", "settled", "fetching", "fetched", "proven", "skipped", "gone", "changed"
]


class CardFigures(View):
    """What is on the card, and whether it may be erased."""

    root: str = Field(description="where the logs lie on the card; empty: it was never listed")
    heard: bool = Field(description="whether the autopilot is heard now")
    listed_at: int | None = Field(
        description="when it was listed last, in seconds since 1970 by this device's clock"
    )
    on_card: int = Field(description="logs that lie on the card")
    to_fetch: int = Field(description="logs that will be fetched without being asked for")
    to_fetch_bytes: int
    fetching: str | None = Field(description="path of the one that is fetched now")
    rate_bytes_s: int = Field(description="fetched, over ten to twenty seconds; 0: not known yet")
    unproven: int = Field(description="logs on the card that are not proven in the bucket")
    left_out: int = Field(description="of these, left out by the settings: fetched when asked for")
    gone: int = Field(description="logs that vanished before all of their bytes were fetched")
    deletes_next: str | None = Field(
        description="path of the oldest: PX4 1.17 and later delete it first when space is short"
    )
    safe_to_erase: bool = Field(
        description="every log of the last two listings, which agree, is proven in the bucket"
    )
    not_safe: str = Field(description="why the card must not be erased; empty where it may")
    code: str = Field(description="of the reason; empty where there is none")
    reason: str = Field(description="why nothing is fetched now; empty where nothing is in the way")


class CardFileView(View):
    """One log of the card."""

    id: int
    path: str = Field(description="on the card")
    size: int = Field(description="bytes, as listed")
    time: int | None = Field(
        description="when it was made, in seconds since 1970, by its path or by the autopilot"
    )
    state: CardState
    fetched_bytes: int = Field(description="that are on this machine's disk")
    code: str = Field(description="of the reason; empty where there is none")
    reason: str = Field(description="why it is not proven; empty where nothing is to be said")
    row: int | None = Field(description="id of the row of the outbox that it became")


class CardView(CardFigures):
    """The card with its logs: those that are fetched next come first."""

    files: list[CardFileView]


def card_facts(card: CardFigures, size: Callable[[int], str]) -> list[str]:
    """What a person should know of the card, a sentence each; ``size``: writes bytes."""
    if not card.root:
        return [f"The autopilot's card was not listed yet. {card.reason}".strip()]
    facts = []
    if card.to_fetch:
        pace = f" at {size(card.rate_bytes_s)}/s" if card.rate_bytes_s else ""
        going = f", now {card.fetching}" if card.fetching else ""
        facts.append(
            f"To fetch from the autopilot's card: {card.to_fetch}, {size(card.to_fetch_bytes)}"
            f"{pace}{going}."
        )
        facts += [card.reason] if card.reason else []
    if card.gone:
        facts.append(f"Vanished from the card before they were fetched: {card.gone}.")
    left = f" ({card.left_out} are fetched only when asked for)" if card.left_out else ""
    safe = "it may be erased" if card.safe_to_erase else "it must not be erased"
    facts.append(
        f"On the card: {card.on_card} logs, {card.unproven} not proven in the bucket{left}; {safe}."
    )
    if card.not_safe and not card.unproven:
        facts.append(card.not_safe)
    if card.unproven and card.deletes_next:
        facts.append(f"PX4 would delete {card.deletes_next} next when space is short.")
    return facts
