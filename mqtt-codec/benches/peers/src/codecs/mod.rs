//! One file for those who read a slice, one for those who take their packets out of a buffer.
use crate::{Job, Row, job};
use mqtt_codec::Version;

mod buffers;
mod slices;

use buffers::{
    Mqtt5, MqttbytesV4, MqttbytesV5, MquteV4, MquteV5, NtexV4, NtexV5, RmqttV4, RmqttV5, RumqttcV4, RumqttcV5,
};
use slices::{CoreV4, CoreV5, Mqttrs, Ours, ProtoV4, ProtoV5};

type Visit<'v> = &'v mut dyn FnMut(&'static Row, &'static str, Result<Box<dyn Job>, String>);

/// The codecs of the row's version, one after the other; each job is gone before the next one comes.
pub(crate) fn visit(row: &'static Row, visit: Visit<'_>) {
    macro_rules! each {
        ($($codec:ty),*) => {$(visit(row, <$codec as crate::Codec>::NAME, job::<$codec>(row));)*};
    }
    if row.version == Version::V5 {
        each!(Ours<5>, MqttbytesV5, RumqttcV5, ProtoV5, CoreV5, NtexV5, RmqttV5, Mqtt5<5>, MquteV5);
    } else {
        each!(Ours<4>, Mqttrs, MqttbytesV4, RumqttcV4, ProtoV4, CoreV4, NtexV4, RmqttV4, Mqtt5<4>, MquteV4);
    }
}
