//! The smallest broker on tokio: this, and [`Host`]. `tokio-broker [ADDR]`
//!
//! Everybody may do everything, so it listens on loopback. Ctrl-C tells every client and ends.

use mqtt_broker_core::{AllowAll, Broker, Config};
use mqtt_examples::tokio_host::Host;
use mqtt_topic::HashSeed;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:1883".into());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);

    let host = Host::new(Broker::new(Config::default(), AllowAll, HashSeed::random())?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    LocalSet::new().run_until(host.serve(listener, stop)).await;
    Ok(())
}
