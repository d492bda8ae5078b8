#!/usr/bin/env bash
# Guess: what was published while a persistent session was away comes back as it was published: without the
#   flag `retain`, with the lower QoS of publication and subscription, and QoS 0 perhaps not at all.
# What happens: all of it comes with `retain` set, as if it were the last known value of its topic, and with
#   the QoS of the subscription, as also while it is connected: what was published with QoS 0 is kept, too,
#   and comes with QoS 2.
# Version: amqtt 0.12.1, with paho-mqtt 2.2.0. Seen: 2026-11-30.
# Hurt: who drops retained messages, in order not to carry out an old command twice: after a cut of the link
#   the new ones are dropped with them. And who takes a retained message for the newest state.
. "$(dirname "$0")/lib.sh"
ask_amqtt <<'PYTHON'
publisher = join("robot")
client = join("dashboard", "logs/#", qos=2, clean=False)
for qos in (0, 1, 2):
    said(publisher, "logs/new", f"published with QoS {qos}", qos)
until(lambda: len(client.got) == 3)
leave(client)
for qos in (0, 1, 2):
    said(publisher, "logs/new", f"published with QoS {qos}", qos)
back = join("dashboard", clean=False)
until(lambda: len(back.got) == 3)
time.sleep(1)
print("connected: (text, QoS, retain)", *client.got, sep="\n  ")
print("after it was away:", *back.got, sep="\n  ")
verdict(
    len(client.got) == len(back.got) == 3 and not any(retain for _text, _qos, retain in client.got)
    and all(qos == 2 for _text, qos, _retain in client.got)
    and all(retain and qos == 2 for _text, qos, retain in back.got),
    "what was kept for a session comes as retained, with the QoS of the subscription",
)
PYTHON
