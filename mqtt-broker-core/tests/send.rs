//! What the types promise.
#![allow(missing_docs)]
use mqtt_broker_core::{AllowAll, Broker};

#[test]
fn a_broker_may_move_to_another_thread() {
    fn needs_send<T: Send + 'static>() {}
    needs_send::<Broker<AllowAll>>();
}
