//! Listening for clients of PostgreSQL, as the configuration says.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use search::Engine;
use server::{Admission, Intake, PostgresDoor, PostgresSettings, Tls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, ConfigError};

/// The port that is listened on.
pub(crate) struct PostgresPort(Option<TcpListener>);

impl PostgresPort {
    /// Binds it, where there is one.
    pub(crate) async fn of(config: &Config) -> anyhow::Result<Self> {
        let Some(address) = address(config)? else { return Ok(Self(None)) };
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| {
            format!("could not listen on {address} for clients of PostgreSQL: is there a PostgreSQL already? Set postgres.listen to another port")
        });
        Ok(Self(Some(listener?)))
    }

    /// Where it is.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.0.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Answers until it is stopped.
    pub(crate) fn listen(
        self,
        engine: &Engine,
        intake: &Intake,
        admission: &Admission,
        tls: Option<Tls>,
        config: &Config,
        stop: &watch::Sender<bool>,
    ) -> Option<JoinHandle<()>> {
        let settings = PostgresSettings {
            idle: Duration::from_secs(config.postgres.idle_s),
            certificate_required: config.tls.client_required,
        };
        let door = PostgresDoor::new(engine.clone(), intake.clone(), admission.clone(), settings);
        self.0.map(|listener| tokio::spawn(door.accept(listener, tls, stop.subscribe())))
    }
}

/// An address that keys are safe on: one of this machine, or with TLS.
fn address(config: &Config) -> Result<Option<SocketAddr>, ConfigError> {
    let text = config.postgres.listen.as_str();
    let wrong = |what: String| ConfigError::Value { place: "postgres.listen".into(), what };
    if text.is_empty() {
        return Ok(None);
    }
    let address: SocketAddr =
        text.parse().map_err(|_| wrong(format!("{text:?} is not an address and port, such as 127.0.0.1:5432")))?;
    if config.tls.cert.as_os_str().is_empty() && !address.ip().is_loopback() {
        return Err(wrong(format!(
            "{address} can be reached from other machines, and passwords there are keys: give the server a certificate ([tls] cert and key), or listen on 127.0.0.1"
        )));
    }
    if config.postgres.idle_s == 0 {
        return Err(ConfigError::Value { place: "postgres.idle_s".into(), what: "give at least one second".into() });
    }
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_in_the_clear_on_this_machine_only() {
        let said = |listen: &str, cert: &str| {
            let mut config = Config::default();
            config.postgres.listen = listen.into();
            config.tls.cert = cert.into();
            address(&config).map_err(|error| error.to_string())
        };
        assert_eq!(said("", ""), Ok(None));
        assert!(said("127.0.0.1:5432", "").is_ok() && said("[::1]:5432", "").is_ok());
        assert!(said("0.0.0.0:5432", "").unwrap_err().contains("give the server a certificate"));
        assert!(said("0.0.0.0:5432", "cert.pem").is_ok());
        assert!(said("5432", "").unwrap_err().contains("such as 127.0.0.1:5432"));
    }
}
