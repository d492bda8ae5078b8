"""How many confirmed parts are sent again when the process is killed at random?"""

from __future__ import annotations

import random
import subprocess

from petal_s3.demo.logs import write_bag

from .robot import MIB, robot


def run(kills: int = 100, seed: int = 1) -> list[str]:
    """Kill a draining process ``kills`` times at random moments of one upload after another."""
    luck = random.Random(seed)
    done = uploads = 0
    with robot(rate_bytes_s=25 * MIB) as on:
        while done < kills:
            log = on.logs / f"flight_{uploads}.bag"
            write_bag(log, 60 * MIB, seed=uploads)
            uploads += 1
            while True:
                child = on.child(str(log))  # the same file again is the same row
                try:
                    child.wait(timeout=luck.uniform(0.6, 2.2) if done < kills else 60)
                    break
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                    done += 1
        ledger = on.link.ledger
        sent = sum(ledger.parts(key).sent for key in {r.key for r in ledger.requests("UploadPart")})
        return [
            f"random SIGKILLs: {done} over {uploads} uploads of 60 MiB, {sent} parts sent",
            f"confirmed parts re-sent: {ledger.resent_confirmed_parts} (bar: 0)",
        ]
