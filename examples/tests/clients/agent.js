// One client of the npm package mqtt that does as it is told and reports by lines: see agent.py, whose command line and lines it has.
//
// MQTT_NPM names the directory in whose node_modules the package lies.
//
// Lines: those of agent.py.
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
    property: { type: "string", multiple: true, default: [] },
    handling: { type: "string", default: "0" },
    "as-published": { type: "boolean", default: false },
    again: { type: "boolean", default: false },
    riddle: { type: "string" },
  },
});
const [what] = positionals;
const version = Number(args.version);

// Those of one packet, by the names that this client has: receive-maximum is its receiveMaximum.
function properties(packet) {
  const given = args.property.map((words) => words.split(" ")).filter(([of]) => of === packet);
  const named = (name) => name.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(given.map(([, name, value]) => [named(name), Number(value)]));
}

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
if (version === 5) {
  options.properties = properties("connect");
  if (args.keep) {
    options.properties.sessionExpiryInterval = 600;
  }
  if (args.riddle !== undefined) {
    options.properties.authenticationMethod = "riddle";
  }
}
// This client assigns aliases by itself.
options.autoAssignTopicAlias = options.autoUseTopicAlias = args.again;
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
  if (version === 5) {
    options.will.properties = properties("will");
  }
}

const PACKET_IDENTIFIER_NOT_FOUND = 0x92;

const client = mqtt.connect(options);
let started = false;
let done = false;

client.on("message", (topic, payload, packet) => {
  const { subscriptionIdentifier, messageExpiryInterval = "" } = packet.properties ?? {};
  const identifiers = [subscriptionIdentifier ?? []].flat().join(",");
  const fields = [topic, packet.qos, Number(packet.retain), identifiers, messageExpiryInterval, payload.toString()];
  console.log(["message", ...fields].join("\t"));
});

// The server asks for more (AUTH).
client.handleAuth = (_packet, callback) => {
  const answer = { authenticationMethod: "riddle", authenticationData: Buffer.from(args.riddle) };
  callback(null, { cmd: "auth", reasonCode: 24, properties: answer });
};

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
    const asked = version === 5 ? { rh: Number(args.handling), rap: args["as-published"] } : {};
    filters[text.slice(at + 1)] = { qos: Number(text.slice(0, at)), ...asked };
  }
  const asked = properties("subscribe");
  client.subscribe(filters, Object.keys(asked).length > 0 ? { properties: asked } : {}, (error) => {
    if (error) {
      console.error(String(error));
      process.exit(1);
    }
    console.log("subscribed");
  });
});

if (what === "pub") {
  const how = { qos: Number(args.qos), retain: args.retain };
  if (version === 5 && !args.again) {
    how.properties = properties("publish");
  }
  const finish = (error) => {
    // A PUBREL sent again because its PUBCOMP was lost: the broker has forgotten the identifier, so the message is complete.
    if (error && !(args.reconnect && error.code === PACKET_IDENTIFIER_NOT_FOUND)) {
      console.error(String(error));
      process.exit(1);
    }
    done = true;
    client.end(false, () => process.exit(0));
  };
  client.publish(args.topic, args.payload, how, (error) => {
    if (error || !args.again) {
      finish(error);
    } else {
      client.publish(args.topic, args.payload, how, finish);
    }
  });
}
