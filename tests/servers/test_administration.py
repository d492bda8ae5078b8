"""An administrator sets up and checks a bucket, whatever of it the server offers."""

from __future__ import annotations

import contextlib

import pytest

from petal_s3.admin.bucket_setup import DesiredBucket, Step, setup_steps
from petal_s3.admin.permission_checks import Finding, try_all
from petal_s3.admin.removable import Removable
from petal_s3.admin.removal import removal_steps
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import S3IntegrationError
from tests.servers.drone import EVERY, MACHINE, Drone

# Over http a policy that wants TLS would shut out who sets it.
STEPS = {"bucket", "public access", "versioning", "lifecycle", "cors"}
WITHOUT_SETTINGS = {"juicefs", "nanio", "rclone", "localbucket"}


def desired_of(drone: Drone, *, tls_only: bool = False) -> DesiredBucket:
    settings = load_settings(**drone.settings())
    return DesiredBucket(
        bucket=drone.bucket,
        region=settings.region,
        sse=settings.sse,
        upload_prefix=settings.upload_prefix,
        on_aws=False,
        machines=[MACHINE],
        origins=["https://fleet.example"],
        tls_only=tls_only,
        over_http=True,
    )


async def set_up(drone: Drone, *, tls_only: bool = False) -> list[Step]:
    settings, desired = load_settings(**drone.settings()), desired_of(drone, tls_only=tls_only)
    return [step async for step in setup_steps(settings, desired)]


async def take_back(drone: Drone, *steps: Removable) -> list[Step]:
    settings, desired = load_settings(**drone.settings()), desired_of(drone)
    return [step async for step in removal_steps(settings, desired, steps)]


async def checked(drone: Drone) -> list[Finding]:
    service = await drone.open()
    found = try_all(
        service.s3,
        service.ownership,
        region=service.settings.region,
        sse=service.settings.sse,
    )
    return [one async for one in found]


@EVERY
async def test_setup_makes_each_step_that_the_server_offers_and_names_the_others(
    drone: Drone,
) -> None:
    steps = await set_up(drone)

    assert {step.name for step in steps} >= STEPS, drone.story()
    assert [step for step in steps if not step.fine and step.outcome != "not offered"] == []
    again = await set_up(drone)
    assert {step.name: step.outcome for step in again if step.outcome != "not offered"} == {
        step.name: "unchanged" for step in steps if step.outcome != "not offered"
    }, drone.story()
    outcomes = {step.name: step.outcome for step in steps}
    if drone.server.kind.name in WITHOUT_SETTINGS:
        assert outcomes["lifecycle"] == "not offered"
    else:
        rules = drone.cloud.get_bucket_lifecycle_configuration(Bucket=drone.bucket)["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)


@EVERY
async def test_setup_makes_a_bucket_that_is_missing(drone: Drone) -> None:
    drone.cloud.delete_bucket(Bucket=drone.bucket)

    steps = await set_up(drone)

    assert (steps[0].name, steps[0].outcome) == ("bucket", "changed"), drone.story()
    assert drone.stored() == []


@pytest.mark.parametrize("server", ["seaweedfs-4.48", "seaweedfs-4.39"], indirect=True)
async def test_over_http_setup_locks_no_machine_out_unless_it_is_asked_to(drone: Drone) -> None:
    await set_up(drone)
    await drone.open()
    row = await drone.bring(drone.write())
    assert row.state == "verified", drone.story()

    with contextlib.suppress(S3IntegrationError):  # it may refuse the very next request
        await set_up(drone, tls_only=True)
    late = await drone.bring(drone.write("late.ulg", seed=7), attempts=1)

    assert late.state == "queued", drone.story()
    assert "TLS-only policy of the bucket" in drone.said(late)


@EVERY
async def test_each_step_of_setup_can_be_taken_back_and_the_bucket_stays(drone: Drone) -> None:
    await set_up(drone)

    steps = await take_back(drone, *Removable)

    assert [step for step in steps if not step.fine and step.outcome != "not offered"] == []
    assert drone.stored() == []  # the bucket is there
    again = await take_back(drone, *Removable)
    # ministack encrypts by itself, as AWS does, and shows it again once it was removed.
    sets_again = {"encryption"} if drone.server.kind.name == "ministack" else set()
    outcomes = {step.outcome for step in again if step.name not in sets_again}
    assert outcomes <= {"unchanged", "not offered"}, drone.story()


@EVERY
async def test_check_finds_what_uploads_need_and_leaves_nothing_behind(drone: Drone) -> None:
    found = await checked(drone)

    assert [one for one in found if one.state == "failed"] == [], drone.story()
    assert drone.stored() == []
    assert drone.open_uploads() == []


@pytest.mark.parametrize("server", ["juicefs", "nanio", "localbucket", "fauxqs"], indirect=True)
async def test_check_names_the_setting_where_encryption_is_refused_or_not_confirmed(
    drone: Drone,
) -> None:
    drone.given["sse"] = "AES256"

    found = await checked(drone)

    (encryption,) = [one for one in found if one.check == "encryption"]
    assert encryption.state == "failed", drone.story()
    assert "PETAL_S3_SSE" in f"{encryption.found} {encryption.advice}"
    assert drone.stored() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_SECRET_ACCESS_KEY", "another-secret"), ("AWS_ACCESS_KEY_ID", "ANOTHERKEY0001")],
)
async def test_wrong_keys_are_blamed_and_not_permissions(
    drone: Drone, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    path = drone.write()
    monkeypatch.setenv(name, value)
    await drone.open()

    row = await drone.bring(path, attempts=2)

    assert row.state == "queued", drone.story()
    said = drone.said(row)
    assert "permission" not in said
    assert "fetched" not in said  # these keys are fixed: no new ones can be had
    block = drone.service.drainer.block
    assert block is not None, said
    assert "key" in block.reason.lower() or "credential" in block.reason.lower()
