//! What must hold when all is said.
use crate::end::Number;
use crate::world::{TOPICS, World};
use mqtt_session::State;
use mqtt_session::codec::Qos;
use std::collections::BTreeSet;

impl World {
    /// QoS 0 at most once, QoS 1 at least once, QoS 2 exactly once; a refused message may be missing.
    pub(crate) fn check_deliveries(&self) {
        for (from, to) in self.directions() {
            for &(number, _, qos) in &from.published {
                let times = to.accepted.get(&number).copied().unwrap_or(0);
                let refused = to.refused.contains(&number);
                let right = match qos {
                    Qos::AtMostOnce => times <= 1,
                    Qos::AtLeastOnce => times >= 1 || refused,
                    Qos::ExactlyOnce => times == 1 || (times == 0 && refused),
                };
                assert!(right, "message {number} of the {:?} at {qos:?} was accepted {times} times", from.role);
            }
        }
    }

    /// Per topic and QoS, by first arrival.
    pub(crate) fn check_order(&self) {
        for (from, to) in self.directions() {
            for topic in 0..TOPICS.len() {
                for qos in crate::QOS {
                    let mut seen = BTreeSet::new();
                    let of = |list: &[(Number, usize, Qos)]| -> Vec<Number> {
                        list.iter().filter(|(_, t, q)| (*t, *q) == (topic, qos)).map(|(number, ..)| *number).collect()
                    };
                    let arrived: Vec<_> = of(&to.arrived).into_iter().filter(|number| seen.insert(*number)).collect();
                    let sent: Vec<_> = of(&from.published).into_iter().filter(|number| seen.contains(number)).collect();
                    assert_eq!(arrived, sent, "order of topic {topic} at {qos:?} from the {:?}", from.role);
                }
            }
        }
    }

    /// Every QoS 1 and 2 message completes exactly once.
    pub(crate) fn check_completions(&self) {
        for (end, _) in self.directions() {
            for (token, times) in &end.completions {
                assert_eq!(*times, 1, "completions of {token:?} at the {:?}", end.role);
            }
        }
    }

    pub(crate) fn check_at_least_once(&self) {
        let [(client, server), _] = self.directions();
        for &(number, _, qos) in &client.published {
            let came = server.accepted.contains_key(&number) || server.refused.contains(&number);
            assert!(came || qos == Qos::AtMostOnce, "message {number} at {qos:?} is lost");
        }
    }

    pub(crate) fn check_each_arrived_once(&self) {
        for (from, to) in self.directions() {
            for (number, ..) in &from.published {
                assert_eq!(to.accepted.get(number), Some(&1), "message {number} of the {:?}", from.role);
            }
        }
    }

    /// Nothing is kept when all is said (pitfall 42: no identifier leaks).
    pub(crate) fn check_idle(&self) {
        for (end, _) in self.directions() {
            let connection = end.connection.as_ref().unwrap();
            assert_eq!(connection.state(), State::Connected);
            assert!(connection.session().is_empty(), "{:?}", connection.session());
            assert_eq!(connection.session().bytes(), 0);
            assert_eq!(connection.session().inflight(), 0);
            assert_eq!(connection.unacknowledged(), 0);
            assert_eq!(connection.control_backlog(), 0);
            assert!(!connection.has_output());
            assert!(end.unfinished.is_empty(), "{:?}", end.unfinished);
            assert!(end.asked.is_empty(), "not answered: {:?}", end.asked);
        }
    }
}
