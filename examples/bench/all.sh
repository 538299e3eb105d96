#!/bin/sh
# Every scenario with our broker, Debian's mosquitto, and rumqttd and mqttv5 where they are found: examples/bench/all.sh OUT [ROUNDS]
# Writes OUT/*.json and OUT/all.svg, prints the tables. Run it from the root of the repository, on a machine that does nothing else.
set -eu
out=${1:?where to write} rounds=${2:-5}
mkdir -p "$out"
cargo build --release --package mqtt-examples --bin broker --bin bench
bin=${CARGO_TARGET_DIR:-target}/release
PATH=$PATH:/usr/sbin:$PWD/target/peers/bin

# one argument each: name=command line
ours="ours=$bin/broker -q --config {config:examples/bench/broker.toml}"
mosquitto="mosquitto=mosquitto -c {config:examples/bench/mosquitto.conf}"
rumqttd="rumqttd=rumqttd -q -c {config:examples/bench/rumqttd.toml}"
mqttv5="mqttv5=mqttv5 broker --host 127.0.0.1:{port} --allow-anonymous --max-clients 100000 --storage-backend memory"

failed=0
row() { # NAME SCENARIO-AND-OPTIONS..
    name=$1
    shift
    set -- --broker "$ours" "$@"
    command -v mosquitto >/dev/null && set -- "$@" --broker "$mosquitto"
    command -v rumqttd >/dev/null && set -- "$@" --broker "$rumqttd"
    command -v mqttv5 >/dev/null && set -- "$@" --broker "$mqttv5"
    # a broker that loses messages is part of the result
    "$bin/bench" compare --rounds "$rounds" --json "$out/$name.json" "$@" || failed=$((failed + 1))
}

row 01-pairs-qos0 --scenario pairs --broker floor=forward
row 02-pairs-qos0-1k --scenario pairs --size 1024 -m 200000 --broker floor=forward
row 03-pairs-qos1 --scenario pairs -q 1 -m 200000 --broker floor=forward
row 04-pairs-qos2 --scenario pairs -q 2 -m 100000
row 05-fan-out-qos0 --scenario fan-out -m 300
row 06-fan-out-qos1 --scenario fan-out -m 200 -q 1
row 07-fan-in-qos0 --scenario fan-in -m 300000
row 08-fan-in-qos1 --scenario fan-in -m 100000 -q 1
row 09-mixed --scenario mixed -m 20000
row 10-latency --scenario latency -m 60000 --broker floor=forward
row 11-idle --scenario idle
row 12-connect --scenario connect
row 13-retained --scenario retained -m 100000
row 14-offline --scenario offline
row 15-stalled --scenario stalled -m 100000
# what a disk takes: our broker alone stores sessions before it acknowledges
mkdir -p "$out/data"
"$bin/bench" compare --rounds "$rounds" --json "$out/16-durable.json" --scenario durable -q 1 \
    --broker "floor=append:$out/data" --broker "$ours --data {data:$out/data}" || failed=$((failed + 1))
"$bin/bench" plot "$out"/[01]*.json "$out/all.svg"
echo "rows in which a broker failed or lost something: $failed"
