"""What a server offers is one value: learnt step by step, kept as text, asked again after a day."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest

from petal_s3.core.settings_loading import load_settings
from petal_s3.outbox.capabilities import bucket_name_of
from petal_s3.s3.capabilities import (
    ASK_AGAIN_S,
    LACKS,
    Capabilities,
    Feature,
    Known,
    read,
    written,
)

NOW = 1_800_000_000
NEW = Capabilities()


def learnt(**features: bool) -> Capabilities:
    known = NEW
    for number, (feature, offered) in enumerate(features.items()):
        known = known.with_(feature, offered=offered, at=NOW + number, by=f"answer {number}")  # type: ignore[arg-type]
    return replace(known, asked_at=NOW)


def test_every_feature_has_a_sentence_for_its_lack() -> None:
    assert set(LACKS) == set(get_args(Feature))
    assert all(text.strip() and not text.endswith(".") for text in LACKS.values())


# -- learning


def test_a_feature_that_was_not_met_is_neither_offered_nor_lacking() -> None:
    for feature in LACKS:
        assert not NEW.offers(feature)
        assert not NEW.lacks(feature)


def test_what_was_learnt_is_known_with_its_moment_and_its_answer() -> None:
    known = NEW.with_("put_condition", offered=False, at=NOW, by="501")
    assert known.lacks("put_condition")
    assert not known.offers("put_condition")
    assert known.known["put_condition"] == Known(False, NOW, "501")
    assert not known.lacks("copy_condition")


def test_learning_leaves_the_value_before_as_it_was() -> None:
    before = learnt(encryption=True)
    after = before.with_("deletion", offered=False, at=NOW, by="403")
    assert not before.lacks("deletion")
    assert after.offers("encryption")
    assert after.asked_at == before.asked_at


def test_what_was_known_before_keeps_its_moment_and_its_answer() -> None:
    known = NEW.with_("encryption", offered=True, at=NOW, by="the first")
    assert known.with_("encryption", offered=True, at=NOW + 9, by="the second") is known


def test_an_answer_that_contradicts_takes_the_place_of_the_one_before() -> None:
    known = NEW.with_("encryption", offered=True, at=NOW, by="the first")
    known = known.with_("encryption", offered=False, at=NOW + 9, by="the second")
    assert known.known["encryption"] == Known(False, NOW + 9, "the second")


# -- asking again


@pytest.mark.parametrize(
    ("after_s", "due"),
    [
        (0, False),
        (ASK_AGAIN_S - 1, False),
        (ASK_AGAIN_S, True),
        (-1, True),
        (10 * ASK_AGAIN_S, True),
    ],
)
def test_everything_is_asked_again_after_a_day_and_when_the_time_went_back(
    after_s: int, due: bool
) -> None:
    assert learnt(encryption=True).due(NOW + after_s) is due


def test_what_was_never_asked_is_due() -> None:
    assert NEW.due(NOW)


def test_what_was_met_on_the_way_does_not_count_as_asked() -> None:
    assert NEW.with_("list_parts", offered=False, at=NOW, by="501").due(NOW)


# -- showing


def test_what_is_missing_is_told_in_one_order_whenever_it_was_learnt() -> None:
    known = learnt(prompt_reads=False, deletion=True, encryption=False, put_condition=False)
    assert [feature for feature, _ in known.missing()] == [
        "encryption",
        "put_condition",
        "prompt_reads",
    ]
    assert dict(known.missing())["prompt_reads"].by == "answer 0"
    assert list(NEW.missing()) == []


def test_status_shows_what_is_known_since_when_by_which_answer_and_what_a_lack_means() -> None:
    assert learnt(deletion=True, list_parts=False).as_json() == {
        "asked_at": NOW,
        "features": {
            "deletion": {"offered": True, "since": NOW, "by": "answer 0", "means": ""},
            "list_parts": {
                "offered": False,
                "since": NOW + 1,
                "by": "answer 1",
                "means": LACKS["list_parts"],
            },
        },
    }
    assert NEW.as_json() == {"asked_at": 0, "features": {}}


# -- keeping


@pytest.mark.parametrize(
    "known", [NEW, learnt(deletion=True, list_parts=False), learnt(**dict.fromkeys(LACKS, False))]
)
def test_what_was_written_is_read_again(known: Capabilities) -> None:
    assert read(written(known)) == known


def test_an_answer_with_any_character_survives() -> None:
    known = NEW.with_("encryption", offered=False, at=NOW, by='"\\\n\x00ü\U0001f681')
    assert read(written(known)) == known


def test_a_feature_of_another_version_is_left_out() -> None:
    text = json.loads(written(learnt(deletion=True)))
    text["known"]["telepathy"] = [True, NOW, "a later version"]
    assert read(json.dumps(text)) == learnt(deletion=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "null",
        "7",
        "[]",
        "{}",
        '"known"',
        '{"known": {}}',
        '{"asked_at": 1}',
        '{"asked_at": 1, "known": []}',
        '{"asked_at": 1, "known": 7}',
        '{"asked_at": "soon", "known": {}}',
        '{"asked_at": null, "known": {}}',
        '{"asked_at": 1, "known": {"deletion": [true]}}',
        '{"asked_at": 1, "known": {"deletion": [true, 1, "by", 4]}}',
        '{"asked_at": 1, "known": {"deletion": true}}',
        '{"asked_at": 1, "known": {"deletion": [true, "then", "by"]}}',
        '{"asked_at": 1e999, "known": {}}',
        '{"asked_at": 1, "known": {"deletion": [true, 1e999, "by"]}}',
        "[" * 100_000,
        written(learnt(deletion=True))[:-3],
    ],
)
def test_text_that_is_no_capabilities_is_nothing_known(text: str) -> None:
    assert read(text) == NEW


# -- the name of a bucket


def named(endpoint_url: str, bucket: str = "logs") -> str:
    given = {"endpoint_url": endpoint_url} if endpoint_url else {}
    return bucket_name_of(
        load_settings(bucket_name=bucket, machine_id="m-1", region="eu-west-1", **given)
    )


def test_a_bucket_is_known_by_its_server_and_its_name() -> None:
    assert named("http://127.0.0.1:9000/") == named("http://127.0.0.1:9000")
    names = {
        named("http://127.0.0.1:9000"),
        named("https://127.0.0.1:9000"),
        named("http://127.0.0.1:9001"),
        named("http://127.0.0.1:9000", "other"),
        named(""),
    }
    assert len(names) == 5


def test_the_name_of_a_bucket_holds_no_password() -> None:
    name = named("https://user:secret@s3.example/base")
    assert name == named("https://s3.example/base")
    assert "secret" not in name
