#!/usr/bin/env bash
# Guess: a session without the clean flag gets, when it comes back, in order what was published with QoS 1
#   while it was away.
# What happens: where the broker allows anonymous clients it does so for none, not even for a client that gives
#   a name. Back within a second the client is told that its session is present, and yet what came meanwhile
#   is gone; some seconds later session and subscriptions are gone, too. SUBSCRIBE was granted QoS 1.
#   Where a name is needed everything is kept.
# Version: amqtt 0.12.1, with paho-mqtt 2.2.0. Seen: 2026-11-30.
# Hurt: dashboards and ground stations on a broker without passwords, who rely on QoS 1 over a weak link.
. "$(dirname "$0")/lib.sh"
ask_amqtt <<'PYTHON'
def away(port, name, seconds):
    """Whether the session was said to be there, and what came of the message that was missed and of the next."""
    publisher = join(f"robot-{name}", port=port)
    leave(join(name, "logs/#", clean=False, port=port))
    said(publisher, "logs/new", "missed")
    time.sleep(seconds)
    client = join(name, clean=False, port=port)
    time.sleep(0.5)
    said(publisher, "logs/new", "next")
    time.sleep(0.5)
    leave(client)
    got = [text for text, _qos, _retain in client.got]
    print(f"{name}, then {seconds} s: session present {client.resumed}, received {got}")
    return client.resumed, got


named = away(PORT, "a name is needed", 4)
free = broker(allow_anonymous=True)
short, longer = away(free, "anonymous is allowed", 0), away(free, "anonymous is allowed, longer", 4)
verdict(
    named == (True, ["missed", "next"]) and "missed" not in short[1] and longer == (False, []),
    "where anonymous clients are allowed a persistent session loses what it missed, and then itself",
)
PYTHON
