//! A broker that is joined to another: a client at the remote broker and an in-process client at its own, and what each hears the
//! other says. `bridge --name site7 --remote hub.example:1883 --out 'sensors/#' --in 'commands/#'`
//!
//! - **QoS 1 and 2.** What the remote sends is acknowledged once our broker has routed it, and not before. What goes out stays in the
//!   bridge's session until the remote has acknowledged it: over cuts, and when the remote has lost the session, in order. QoS 2
//!   arrives exactly once as long as both ends keep the session. While the remote is away, [`link::WAITING`] bounds what waits for it;
//!   the rest is dropped and told. All of ours is in memory: what waits ends with this process; what waits at the remote, for a day, does not.
//! - **Loops (5.0).** A message that crosses is marked with the name of the broker it leaves ([`path::MARK`]). It does not cross to a
//!   broker it has been at, nor for a second time from the same one, nor after [`path::MOST`] crossings, and the broker of a bridge
//!   refuses whatever bears its own name. So nothing goes round, however many bridges stand in a ring, and a broker that is known
//!   to its bridges by its name (`--name` here, `--remote-name` there) never gets back what it has sent. What can go two ways
//!   comes twice. Names must differ; a client that forges a mark harms its own message alone.
//! - **Loops (3.1.1)** have no marks: a topic that would go out and come in again is refused at the start, and rings are not ended.
//!
//! It is a client and a server, and as each what the library is: v4 [MQTT-7.0.0-1].
//!
//! The retained flag crosses as published. Everybody may do everything at our broker, so it listens on loopback.

mod link;
mod path;
mod topics;

use clap::Parser;
use link::{Link, Remote};
use mqtt_broker_core::{Broker, Config};
use mqtt_codec::{Qos, Version};
use mqtt_examples::client::Failure;
use mqtt_examples::options;
use mqtt_examples::tokio_host::Host;
use mqtt_examples::wire::Tls;
use mqtt_topic::HashSeed;
use path::Once;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use topics::{Rules, Way};

/// A broker in memory that is joined to another one.
#[derive(Parser)]
#[command(name = "bridge", version, disable_version_flag = true)]
struct Flags {
    /// Where our broker listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    listen: String,
    /// The name of our broker, unlike that of any other: it marks what leaves it, and is our client identifier at the remote
    #[arg(long, value_parser = options::text)]
    name: String,
    /// The remote broker
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    remote: String,
    /// The name of the remote broker, if it is one of a bridge; else its address stands for it
    #[arg(long, value_name = "NAME", value_parser = options::text)]
    remote_name: Option<String>,
    /// What goes to the remote; repeatable
    #[arg(long = "out", value_name = "FILTER", required_unless_present_any = ["incoming", "both"])]
    outgoing: Vec<String>,
    /// What comes from the remote; repeatable
    #[arg(long = "in", value_name = "FILTER")]
    incoming: Vec<String>,
    /// What goes both ways; repeatable
    #[arg(long, value_name = "FILTER")]
    both: Vec<String>,
    /// The highest quality of service that crosses
    #[arg(short, long, default_value = "1", value_parser = options::qos)]
    qos: Qos,
    /// Stands before each topic at our broker, and not at the remote: `hub/`
    #[arg(long, value_name = "TEXT", default_value = "")]
    local_prefix: String,
    /// Stands before each topic at the remote, and not at ours: `site7/`
    #[arg(long, value_name = "TEXT", default_value = "")]
    remote_prefix: String,
    /// The protocol version at the remote: 311 or 5
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = options::version)]
    protocol_version: Version,
    /// The user name at the remote
    #[arg(short = 'u', long, value_parser = options::text)]
    username: Option<String>,
    /// The password at the remote
    #[arg(short = 'P', long, value_name = "PASSWORD", requires = "username")]
    pw: Option<String>,
    /// Connect under TLS, to a remote whose certificate one of these authorities has signed (PEM)
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// The certificate to show the remote (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["cafile", "key"])]
    cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Without a port there is nothing to connect to, now or later.
fn host_and_port(text: &str) -> Result<String, &'static str> {
    let whole = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if whole { Ok(text.to_string()) } else { Err("a host and a port, as in hub.example:1883 or [::1]:1883") }
}

fn main() -> ExitCode {
    options::run(|flags: Flags| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Other(error.to_string()))?;
        LocalSet::new().block_on(&runtime, run(flags))
    })
}

async fn run(flags: Flags) -> Result<(), Failure> {
    let mut rules = Rules::new(&flags.local_prefix, &flags.remote_prefix).map_err(Failure::Other)?;
    let of = |way, filters: &[String]| filters.iter().map(move |filter| (way, filter.clone())).collect::<Vec<_>>();
    for (way, filter) in
        [of(Way::Out, &flags.outgoing), of(Way::In, &flags.incoming), of(Way::Both, &flags.both)].concat()
    {
        rules.add(way, &filter).map_err(Failure::Other)?;
    }
    if flags.protocol_version != Version::V5 {
        rules.refuse_echoes().map_err(Failure::Other)?;
    }
    let authorities =
        flags.cafile.map(|authorities| Tls { authorities, own: flags.cert.zip(flags.key), any_host: false });
    let remote = Remote {
        name: flags.remote_name.unwrap_or_else(|| flags.remote.clone()),
        address: flags.remote,
        tls: authorities
            .map(|tls| tls.config().map(Arc::new))
            .transpose()
            .map_err(|error| Failure::Other(error.to_string()))?,
        version: flags.protocol_version,
        user_name: flags.username,
        password: flags.pw,
    };
    let cannot = |error| Failure::Other(format!("cannot listen on {}: {error}", flags.listen));
    let listener = TcpListener::bind(&flags.listen).await.map_err(cannot)?;
    println!("listening on {}", listener.local_addr().map_err(cannot)?);

    let policy = Once { name: flags.name.clone() };
    let broker = Broker::new(Config::default(), policy, HashSeed::random());
    let host = Host::new(broker.map_err(|error| Failure::Other(error.to_string()))?);
    let link = Link::new(host.clone(), flags.name, remote, rules, flags.qos)?;
    spawn_local(link.keep());
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    host.serve(listener, stop).await;
    Ok(())
}
