"""One client that hears its own message, with paho-mqtt 1.6.1. Arguments: host, port.

Prints one line per thing that happens, and ends when the message was acknowledged, has come,
and a second message that was sent behind it has come too: so the first did not come twice.
"""

import sys

import paho.mqtt.client as mqtt

acknowledged, came = [], []


def on_connect(client, userdata, flags, rc):
    print("connected", rc, flush=True)
    client.subscribe("home/+/temp", qos=1)


def on_subscribe(client, userdata, mid, granted_qos):
    print("granted", *granted_qos, flush=True)
    client.publish("home/kitchen/temp", "21.4", qos=1, retain=False)


def on_publish(client, userdata, mid):
    print("acknowledged", mid, flush=True)
    acknowledged.append(mid)
    if len(acknowledged) == 1:
        client.publish("home/attic/temp", "18.0", qos=1, retain=False)
    end_when_done(client)


def on_message(client, userdata, msg):
    print("message", msg.topic, msg.payload.decode(), "qos", msg.qos, "retain", int(msg.retain), flush=True)
    came.append(msg.topic)
    end_when_done(client)


def end_when_done(client):
    if len(acknowledged) == 2 and "home/attic/temp" in came:
        client.disconnect()


client = mqtt.Client(client_id="thermostat-1", clean_session=True)
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_publish = on_publish
client.on_message = on_message
client.connect(sys.argv[1], int(sys.argv[2]), 60)
client.loop_forever()
