#!/usr/bin/env bash
# Guess: a second client with the same id takes the place of the first: the broker ends the first
#   connection (MQTT 3.1.1, section 3.1.4) and publishes its will.
# What happens: the first stays connected, gets nothing of what it asked for any more, and can still
#   publish. It is told nothing, and its will is not published.
# Version: amqtt 0.12.1, with paho-mqtt 2.2.0. Seen: 2026-11-30.
# Hurt: two robots from one image, with one client id: one looks online and no command reaches it. And a
#   robot that comes back over another link: its old connection stays.
. "$(dirname "$0")/lib.sh"
ask_amqtt <<'PYTHON'
watch = join("watch", "#")
first = join("robot", "commands", will=("state", "robot is gone", 1))
second = join("robot", "commands")
until(lambda: first.left, 5)
said(watch, "commands", "land")
until(lambda: second.got)
time.sleep(0.5)
commands = ([one[0] for one in first.got], [one[0] for one in second.got])
will = "robot is gone" in [one[0] for one in watch.got]
watch.got.clear()
said(first, "state", "still flying")
until(lambda: watch.got, 5)
seen = [one[0] for one in watch.got]
print(f"the first was ended: {first.left}; its will was published: {will}; commands that came to the first and to the second: {commands}")
print(f"then a watcher sees of the first: {seen}")
verdict(
    not first.left and not will and commands == ([], ["land"]) and seen == ["still flying"],
    "the first client stays connected and hears nothing any more",
)
PYTHON
