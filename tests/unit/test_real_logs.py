"""What this code says of real logs that lie beside the checkout, where they do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from petal_s3.logs.log_file import FlightLog

REAL_LOGS = Path(__file__).resolve().parents[2].parent / "shared" / "flight_logs"
EXPECTED = {
    "v0_auavx21_cut_midmessage.ulg": ("ulog", "truncated"),
    "v1_appended_x3.ulg": ("ulog", "complete"),
    "v1_cubeorange_6s.ulg": ("ulog", "complete"),
    "v1_sitl_events_epoch_ts.ulg": ("ulog", "complete"),
    "v2_0_index_cut_off.bag": ("rosbag", "truncated"),
    "v2_0_lz4.bag": ("rosbag", "complete"),
    "v2_0_no_messages.bag": ("rosbag", "complete"),
    "v2_0_uncompressed_12conn.bag": ("rosbag", "complete"),
    "v2_0_unindexed.bag": ("rosbag", "unindexed"),
}

pytestmark = pytest.mark.skipif(not REAL_LOGS.is_dir(), reason="no real logs beside the checkout")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_log_gets_its_verdict_from_4_kib(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = os.pread

    def counted(fd: int, length: int, offset: int) -> bytes:
        read.append(length)
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    log = FlightLog.read(REAL_LOGS / name)
    assert (log.kind, log.verdict) == EXPECTED[name]
    assert sum(read) <= 4096


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".ulg")])
def test_the_facts_of_a_real_ulog_are_those_that_px4s_reader_finds(name: str) -> None:
    pyulog = pytest.importorskip("pyulog")
    facts = FlightLog.read(REAL_LOGS / name).facts
    read = pyulog.ULog(str(REAL_LOGS / name), message_name_filter_list=["none"])
    assert facts["boot-us"] == str(read.start_timestamp)
    for fact, key in (("sys-uuid", "sys_uuid"), ("ver-hw", "ver_hw"), ("ver-sw", "ver_sw")):
        assert facts.get(fact) == read.msg_info_dict.get(key)
    assert facts.get("appended", "0") == ("3" if read.has_data_appended else "0")


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".bag")])
def test_the_facts_of_a_real_bag_are_those_that_a_ros_reader_finds(name: str) -> None:
    rosbag1 = pytest.importorskip("rosbags.rosbag1")
    log = FlightLog.read(REAL_LOGS / name)
    reader = rosbag1.Reader(REAL_LOGS / name)
    if log.verdict != "complete":
        with pytest.raises(rosbag1.ReaderError):
            reader.open()
        return
    with reader:
        assert log.facts["conn-count"] == str(len(reader.connections))


@pytest.mark.parametrize("name", ["v1_cubeorange_6s.ulg", "v1_sitl_events_epoch_ts.ulg"])
def test_cuts_of_a_real_ulog_are_told_from_whole_ones(name: str, tmp_path: Path) -> None:
    content = (REAL_LOGS / name).read_bytes()
    ends, position = [], 16
    while position < len(content):
        position += 3 + int.from_bytes(content[position : position + 2], "little")
        ends.append(position)
    path = tmp_path / "cut.ulg"
    path.write_bytes(content)
    for end in reversed(ends[2000::500]):
        os.truncate(path, end + 1)
        cut = FlightLog.read(path).verdict
        os.truncate(path, end)
        assert (FlightLog.read(path).verdict, cut) == ("complete", "truncated"), end
