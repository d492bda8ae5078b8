"""Where an update has left packages that do not fit, the host runs on with its own proxy."""

from __future__ import annotations

from pathlib import Path

from aboard import aboard

from petal_s3.demo.services import EmbeddedS3


def test_the_petal_says_what_does_not_fit_and_leaves_the_hosts_proxy(
    cloud: EmbeddedS3, tmp_path: Path
) -> None:
    with aboard(cloud, tmp_path / "updated") as host:
        first = host.host.root / "site-packages"
        about = first / "botocore-1.44.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: botocore\nVersion: 1.44.0\n")
        broken = first / "aiobotocore"
        broken.mkdir()
        (broken / "__init__.py").write_text("raise ImportError('cannot import name NEW_RETRIES')\n")

        host.start()

        told = host.get("status")
        assert (told.status, told.json["code"]) == (503, "packages")
        assert "and botocore 1.44.0 is installed. Install what fits: " in told.json["error"]
        for answer in (host.get("health"), host.post("landed"), host.delete("outbox/1")):
            assert (answer.status, answer.json) == (503, told.json)
        # The host's own proxy has no number of seconds that is ours.
        assert host.get("/debug/proxies").json == {"proxies": ["bucket"]}
        assert host.get("/test/bucket/info").json["config"]["request_timeout"] == 30
        said = host.host.log_text()
        assert f"petal-s3 is not active: {told.json['error']}" in said
        assert "Traceback" not in said
        assert not host.state.exists()
