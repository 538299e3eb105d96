//! The HTTP hook: another program is asked who may do what, by threads of its own, and the loop goes on meanwhile.
//!
//! The request that waits is deferred in the broker, and pauses its connection alone. A question that is not answered in time, as
//! it should be, or not at all, is a no.

mod exchange;

use crate::Failure;
use crate::auth::{Answers, Tally, Verdict};
use crate::config::{Hook as Settings, HookEvent};
use exchange::Question;
use mqtt_broker_core::{ConnectRequest, Decision, Origin, PublishRequest, SubscribeRequest, Ticket};
use mqtt_codec::ReasonCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The largest answer, in bytes.
const ANSWER: u64 = 16 << 10;

/// The way to the threads that ask. They end when this is dropped.
pub(crate) struct Hook {
    jobs: SyncSender<Job>,
    events: Vec<HookEvent>,
    timeout: Duration,
    tally: Arc<Tally>,
}

struct Job {
    ticket: Ticket,
    event: HookEvent,
    /// The question as it is sent.
    body: Vec<u8>,
    /// When nobody waits for an answer any more.
    deadline: Instant,
}

/// What the threads share.
struct Asker {
    agent: Agent,
    settings: Settings,
    tally: Arc<Tally>,
    /// The last question was answered: what changes is logged, and not every failure.
    well: AtomicBool,
}

/// Why there is no answer.
enum NoAnswer {
    /// It did not come in time.
    Late,
    /// The server or the network failed, in these words.
    Failed(String),
}

impl Hook {
    /// Starts the threads; what they hear goes to the loop by `answers`.
    pub(crate) fn start(settings: Settings, answers: &Answers) -> Result<Self, Failure> {
        let (jobs, todo) = sync_channel(settings.queue);
        let todo = Arc::new(Mutex::new(todo));
        let (events, timeout, threads) = (settings.events.clone(), settings.timeout, settings.threads);
        let tally = Arc::new(Tally::default());
        let agent = agent(&settings)?;
        let asker = Arc::new(Asker { agent, settings, tally: Arc::clone(&tally), well: AtomicBool::new(true) });
        for _ in 0..threads {
            let (asker, todo, answers) = (Arc::clone(&asker), Arc::clone(&todo), answers.clone());
            std::thread::Builder::new()
                .name("hook".into())
                .spawn(move || asker.work(&todo, &answers))
                .map_err(|error| Failure::Runtime(format!("cannot start a thread for the hook: {error}")))?;
        }
        Ok(Self { jobs, events, timeout, tally })
    }

    /// Whether it is to be asked about this.
    pub(crate) fn asks(&self, event: HookEvent) -> bool {
        self.events.contains(&event)
    }

    /// How its questions have ended.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// May this client connect?
    pub(crate) fn connect(&self, request: &ConnectRequest<'_>) -> Decision {
        match Question::connect(request) {
            Some(question) => self.ask(request.ticket, HookEvent::Connect, &question),
            // what is no text cannot be put in JSON
            None => Decision::Deny(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        }
    }

    /// May this message be published?
    pub(crate) fn publish(&self, request: &PublishRequest<'_>) -> Decision {
        let (client, is_will) = match &request.origin {
            Origin::Client(client) => (client, false),
            Origin::Will(client) => (client, true),
            _ => return Decision::Allow,
        };
        self.ask(request.ticket, HookEvent::Publish, &Question::publish(client, request.publication, is_will))
    }

    /// May this client subscribe to this filter?
    pub(crate) fn subscribe(&self, request: &SubscribeRequest<'_>) -> Decision {
        self.ask(request.ticket, HookEvent::Subscribe, &Question::subscribe(request))
    }

    fn ask(&self, ticket: Ticket, event: HookEvent, question: &Question<'_>) -> Decision {
        let Ok(body) = serde_json::to_vec(question) else { return Decision::Deny(failure(event)) };
        match self.jobs.try_send(Job { ticket, event, body, deadline: Instant::now() + self.timeout }) {
            Ok(()) => Decision::Defer(ticket),
            Err(TrySendError::Full(_)) => {
                self.tally.turned_away();
                // CONNACK has a word for it; PUBACK and SUBACK have not
                let is_connect = event == HookEvent::Connect;
                Decision::Deny(if is_connect { ReasonCode::SERVER_BUSY } else { ReasonCode::QUOTA_EXCEEDED })
            }
            Err(TrySendError::Disconnected(_)) => Decision::Deny(failure(event)),
        }
    }
}

/// What a client hears whose question has no answer.
fn failure(event: HookEvent) -> ReasonCode {
    match event {
        HookEvent::Connect => ReasonCode::SERVER_UNAVAILABLE,
        HookEvent::Publish | HookEvent::Subscribe => ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
    }
}

fn agent(settings: &Settings) -> Result<Agent, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if let Some(path) = &settings.ca_file {
        let certificates = crate::transport::certificates(path)?;
        let certificates = certificates.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
    }
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        // a password goes where it was meant to, and nowhere else
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .max_idle_connections(settings.threads)
        .max_idle_connections_per_host(settings.threads)
        .build();
    Ok(config.new_agent())
}

impl Asker {
    /// A thread: one question after the other, until nobody listens.
    fn work(&self, todo: &Mutex<Receiver<Job>>, answers: &Answers) {
        loop {
            // the lock is held while there is nothing to do, and given up with the job
            let job = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { ticket, event, body, deadline }) = job else { return };
            let decision = self.decide(event, &body, deadline);
            if !answers.give(Verdict { ticket, decision, edition: None }) {
                return;
            }
        }
    }

    fn decide(&self, event: HookEvent, body: &[u8], deadline: Instant) -> Decision {
        let answer = match deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => self.ask(event, body, left),
            // it has waited too long: nobody is asked
            _ => Err(NoAnswer::Late),
        };
        self.log(&answer);
        match answer {
            Ok(decision) => {
                match &decision {
                    Decision::Deny(_) | Decision::DenyWith(_) => self.tally.denied(),
                    _ => self.tally.allowed(),
                }
                decision
            }
            Err(NoAnswer::Late) => {
                self.tally.timed_out();
                Decision::Deny(failure(event))
            }
            Err(NoAnswer::Failed(_)) => {
                self.tally.failed();
                Decision::Deny(failure(event))
            }
        }
    }

    fn ask(&self, event: HookEvent, body: &[u8], patience: Duration) -> Result<Decision, NoAnswer> {
        let request = self.agent.post(self.settings.url.clone()).content_type("application/json");
        let request = match &self.settings.authorization {
            Some(value) => request.header("Authorization", value.clone()),
            None => request,
        };
        let mut response = request.config().timeout_global(Some(patience)).build().send(body)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(NoAnswer::Failed(format!("it answers with status {status}")));
        }
        let answer = response.body_mut().with_config().limit(ANSWER).read_to_vec()?;
        exchange::decision(event, &answer).ok_or_else(|| NoAnswer::Failed("its answer is not understood".into()))
    }

    /// Says when the hook fails, and when it does no more.
    fn log(&self, answer: &Result<Decision, NoAnswer>) {
        let was_well = self.well.swap(answer.is_ok(), Ordering::Relaxed);
        match answer {
            Ok(_) if !was_well => info!("the hook answers again"),
            Err(NoAnswer::Late) if was_well => warn!("the hook does not answer in time: clients are refused"),
            Err(NoAnswer::Failed(why)) if was_well => warn!("the hook fails, and clients are refused: {why}"),
            Ok(_) | Err(_) => {}
        }
    }
}

impl From<ureq::Error> for NoAnswer {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::Late,
            error => Self::Failed(error.to_string()),
        }
    }
}
