//! The key `hook`: the HTTP server that is asked who may do what.

use serde::Deserialize;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::{HeaderValue, Uri};

/// The HTTP server that is asked, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "HookTable")]
pub(crate) struct Hook {
    /// Where the questions go.
    pub(crate) url: Uri,
    /// What it is asked about.
    pub(crate) events: Vec<HookEvent>,
    /// The header `Authorization` of each question.
    pub(crate) authorization: Option<HeaderValue>,
    /// The authorities whose certificate the server must have, PEM.
    pub(crate) ca_file: Option<PathBuf>,
    /// How long a client waits for an answer.
    pub(crate) timeout: Duration,
    /// Questions asked at once.
    pub(crate) threads: usize,
    /// Questions that may wait to be asked.
    pub(crate) queue: usize,
}

/// What a hook may be asked about.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HookEvent {
    /// Who connects.
    Connect,
    /// What is published.
    Publish,
    /// What is subscribed to.
    Subscribe,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HookTable {
    url: String,
    events: Option<Vec<HookEvent>>,
    authorization: Option<String>,
    ca_file: Option<PathBuf>,
    timeout_ms: Option<NonZeroU32>,
    threads: Option<NonZeroUsize>,
    queue: Option<NonZeroUsize>,
}

impl TryFrom<HookTable> for Hook {
    type Error = String;
    fn try_from(table: HookTable) -> Result<Self, String> {
        let no_url = || format!("`{}` is no URL such as http://127.0.0.1:8080/mqtt", table.url);
        let url: Uri = table.url.parse().map_err(|_| no_url())?;
        match (url.scheme_str(), &table.ca_file) {
            (Some("http"), _) | (Some("https"), Some(_)) => {}
            (Some("https"), None) => return Err("with https, `ca_file` says whose certificate is good".into()),
            _ => return Err(no_url()),
        }
        let authorization = table.authorization.map(HeaderValue::try_from).transpose();
        let mut authorization: Option<HeaderValue> =
            authorization.map_err(|_| "`authorization` holds what no HTTP header may hold")?;
        if let Some(header) = &mut authorization {
            header.set_sensitive(true); // it is not shown by mistake
        }
        let events = table.events.unwrap_or_else(|| vec![HookEvent::Connect]);
        if events.is_empty() {
            return Err("`events` is empty: it would be asked nothing".into());
        }
        Ok(Self {
            url,
            events,
            authorization,
            ca_file: table.ca_file,
            timeout: Duration::from_millis(table.timeout_ms.map_or(2_000, |count| count.get().into())),
            threads: table.threads.map_or(4, NonZeroUsize::get),
            queue: table.queue.map_or(256, NonZeroUsize::get),
        })
    }
}
