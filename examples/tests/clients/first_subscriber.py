"""The subscriber most people write first, with paho-mqtt 1.6.1. Arguments: host, port."""

import sys

import paho.mqtt.client as mqtt


def on_connect(client, userdata, flags, rc):
    print("connected", rc, flush=True)
    client.subscribe("home/livingroom/temperature")


def on_subscribe(client, userdata, mid, granted_qos):
    print("subscribed", granted_qos, flush=True)


def on_message(client, userdata, msg):
    print(msg.topic, msg.payload.decode(), flush=True)


client = mqtt.Client()
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_message
client.connect(sys.argv[1], int(sys.argv[2]), 60)
client.loop_forever()
