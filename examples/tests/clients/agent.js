// One client of the npm package mqtt that does as it is told and reports by lines: see agent.py, whose command line and lines it has.
//
// MQTT_NPM names the directory in whose node_modules the package lies.
//
// Lines: `subscribed`, and `message`, topic, QoS, RETAIN and payload with tabs between.
// It ends with the code of the CONNACK when it is refused, with 1 when the connection is lost (unless --reconnect).
"use strict";

const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const { parseArgs } = require("node:util");

const mqtt = createRequire(path.resolve(process.env.MQTT_NPM, "package.json"))("mqtt");

const { values: args, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    host: { type: "string" },
    port: { type: "string" },
    version: { type: "string" },
    id: { type: "string", default: "" },
    keep: { type: "boolean", default: false },
    reconnect: { type: "boolean", default: false },
    cafile: { type: "string" },
    ws: { type: "boolean", default: false },
    user: { type: "string" },
    password: { type: "string" },
    "will-topic": { type: "string" },
    "will-payload": { type: "string" },
    "will-qos": { type: "string" },
    "will-retain": { type: "boolean", default: false },
    filter: { type: "string", multiple: true, default: [] },
    topic: { type: "string" },
    payload: { type: "string" },
    qos: { type: "string", default: "0" },
    retain: { type: "boolean", default: false },
  },
});
const [what] = positionals;
const version = Number(args.version);

const options = {
  host: args.host,
  port: Number(args.port),
  clientId: args.id,
  protocolId: version === 3 ? "MQIsdp" : "MQTT",
  protocolVersion: version,
  clean: !args.keep,
  reconnectPeriod: args.reconnect ? 100 : 0,
  // the subscription is part of the session; and what is asked of the broker is to be what the test asks
  resubscribe: false,
};
if (version === 5 && args.keep) {
  options.properties = { sessionExpiryInterval: 600 };
}
options.protocol = (args.ws ? "ws" : "mqtt") + (args.cafile === undefined ? "" : "s");
if (args.cafile !== undefined) {
  options.ca = fs.readFileSync(args.cafile);
}
if (args.ws) {
  options.path = "/mqtt";
}
if (args.user !== undefined) {
  options.username = args.user;
  options.password = args.password;
}
if (args["will-topic"] !== undefined) {
  options.will = {
    topic: args["will-topic"],
    payload: args["will-payload"],
    qos: Number(args["will-qos"]),
    retain: args["will-retain"],
  };
}

const PACKET_IDENTIFIER_NOT_FOUND = 0x92;

const client = mqtt.connect(options);
let started = false;
let done = false;

client.on("message", (topic, payload, packet) => {
  console.log(["message", topic, packet.qos, Number(packet.retain), payload.toString()].join("\t"));
});

// A refusal comes as an error with the code of the CONNACK; what goes wrong in the network has a text for a code.
client.on("error", (error) => {
  console.error(String(error));
  if (typeof error.code === "number" && error.code > 0) {
    process.exit(error.code);
  }
});

client.on("close", () => {
  if (!args.reconnect && !done) {
    process.exit(1);
  }
});

client.on("connect", () => {
  if (what !== "sub" || started) {
    return;
  }
  started = true;
  const filters = {};
  for (const text of args.filter) {
    const at = text.indexOf(":");
    filters[text.slice(at + 1)] = { qos: Number(text.slice(0, at)) };
  }
  client.subscribe(filters, (error) => {
    if (error) {
      console.error(String(error));
      process.exit(1);
    }
    console.log("subscribed");
  });
});

if (what === "pub") {
  client.publish(args.topic, args.payload, { qos: Number(args.qos), retain: args.retain }, (error) => {
    // A PUBREL sent again because its PUBCOMP was lost: the broker has forgotten the identifier, so the message is complete.
    if (error && !(args.reconnect && error.code === PACKET_IDENTIFIER_NOT_FOUND)) {
      console.error(String(error));
      process.exit(1);
    }
    done = true;
    client.end(false, () => process.exit(0));
  });
}
