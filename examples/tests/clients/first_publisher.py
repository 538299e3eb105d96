"""The publisher most people write first, with paho-mqtt 1.6.1. Arguments: host, port."""

import sys

import paho.mqtt.client as mqtt

host, port = sys.argv[1], int(sys.argv[2])

client = mqtt.Client()
client.connect(host, port, 60)
topic = "home/livingroom/temperature"
client.publish(topic, "22.5")
