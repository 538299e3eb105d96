"""One paho-mqtt client that does as it is told and reports by lines; runs on paho-mqtt 1.6.1 and on 2.x.

    agent.py sub --host H --port P --version 3|4|5 --filter QOS:FILTER ...
    agent.py pub --host H --port P --version 3|4|5 --topic T --payload M --qos Q [--retain]

A property (5.0) is `--property "PACKET NAME VALUE"`, by the names that mosquitto_sub has.

Lines: `subscribed`, and `message`, topic, QoS, RETAIN, subscription identifiers, message expiry and payload with tabs between.
It ends with the code of the CONNACK when it is refused, with 1 when the connection is lost (unless --reconnect).
"""

import argparse
import os
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["sub", "pub"])
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", type=int, choices=[3, 4, 5], required=True)
    parser.add_argument("--id", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--reconnect", action="store_true")
    parser.add_argument("--cafile")
    parser.add_argument("--ws", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--will-topic")
    parser.add_argument("--will-payload")
    parser.add_argument("--will-qos", type=int, default=0)
    parser.add_argument("--will-retain", action="store_true")
    parser.add_argument("--filter", action="append", default=[])
    parser.add_argument("--topic")
    parser.add_argument("--payload")
    parser.add_argument("--qos", type=int, default=0)
    parser.add_argument("--retain", action="store_true")
    parser.add_argument("--property", action="append", default=[])
    parser.add_argument("--handling", type=int, default=0)
    parser.add_argument("--as-published", action="store_true")
    parser.add_argument("--again", action="store_true")
    return parser.parse_args()


def number(reason):
    """The code, be it an int (1.6.1 before 5.0) or a ReasonCode."""
    return reason if isinstance(reason, int) else reason.value


def report(*fields):
    print("\t".join(str(field) for field in fields), flush=True)


def end(code):
    """Ends at once, from whatever thread, without a DISCONNECT."""
    sys.stdout.flush()
    os._exit(code)


class Agent:
    def __init__(self, args):
        self.args = args
        self.started = False
        settings = {"client_id": args.id, "protocol": args.version}
        settings["transport"] = "websockets" if args.ws else "tcp"
        if args.version < 5:
            settings["clean_session"] = not args.keep
        if hasattr(mqtt, "CallbackAPIVersion"):
            settings["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
            self.client = mqtt.Client(**settings)
            self.client.on_connect = lambda client, data, flags, reason, properties: self.connected(self.code(reason))
            self.client.on_disconnect = lambda client, data, flags, reason, properties: self.disconnected()
        else:
            self.client = mqtt.Client(**settings)
            self.client.on_connect = lambda client, data, flags, reason, properties=None: self.connected(number(reason))
            self.client.on_disconnect = lambda client, data, reason, properties=None: self.disconnected()
        self.client.on_subscribe = lambda *_: report("subscribed")
        self.client.on_message = lambda client, data, message: self.message(message)
        self.client.reconnect_delay_set(1, 1)
        if args.cafile is not None:
            self.client.tls_set(ca_certs=args.cafile)
        if args.user is not None:
            self.client.username_pw_set(args.user, args.password)
        if args.will_topic:
            self.client.will_set(args.will_topic, args.will_payload, args.will_qos, args.will_retain, self.properties("will"))

    def message(self, message):
        properties = getattr(message, "properties", None)
        identifiers = ",".join(str(number) for number in getattr(properties, "SubscriptionIdentifier", []))
        expiry = getattr(properties, "MessageExpiryInterval", "")
        retain = int(message.retain)
        report("message", message.topic, message.qos, retain, identifiers, expiry, message.payload.decode())

    def properties(self, packet):
        """Those of one packet; None if there are none."""
        given = [words.split(" ") for words in self.args.property]
        given = [(name, int(value)) for of, name, value in given if of == packet]
        if not given:
            return None
        kind = {"will": "WILLMESSAGE"}.get(packet, packet.upper())
        properties = Properties(getattr(PacketTypes, kind))
        for name, value in given:
            setattr(properties, name.title().replace("-", ""), value)
        return properties

    def code(self, reason):
        """2.x shows the return codes of 3.x as reason codes of 5.0: as they were on the wire."""
        code = number(reason)
        return {0x84: 1, 0x85: 2, 0x88: 3, 0x86: 4, 0x87: 5}.get(code, code) if self.args.version < 5 else code

    def connect(self):
        settings = {}
        if self.args.version == 5:
            settings["clean_start"] = not self.args.keep
            settings["properties"] = self.properties("connect") or Properties(PacketTypes.CONNECT)
            if self.args.keep:
                settings["properties"].SessionExpiryInterval = 600
        self.client.connect(self.args.host, self.args.port, 60, **settings)

    def connected(self, code):
        if code != 0:
            end(code)
        if self.args.what == "sub" and not self.started:
            self.started = True
            filters = [text.split(":", 1) for text in self.args.filter]
            if self.args.version < 5:
                self.client.subscribe([(filter, int(qos)) for qos, filter in filters])
                return
            asked = {"retainAsPublished": self.args.as_published, "retainHandling": self.args.handling}
            filters = [(filter, SubscribeOptions(qos=int(qos), **asked)) for qos, filter in filters]
            self.client.subscribe(filters, properties=self.properties("subscribe"))

    def disconnected(self):
        if not self.args.reconnect:
            end(1)

    def run(self):
        self.connect()
        if self.args.what == "sub":
            self.client.loop_forever()
            return
        self.client.loop_start()
        what = (self.args.payload, self.args.qos, self.args.retain, self.properties("publish"))
        self.client.publish(self.args.topic, *what).wait_for_publish()
        if self.args.again:
            self.client.publish("", *what).wait_for_publish()
        self.client.on_disconnect = None
        self.client.disconnect()
        self.client.loop_stop()


Agent(arguments()).run()
