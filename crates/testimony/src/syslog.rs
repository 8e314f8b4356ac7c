//! Listening for syslog, as the configuration says.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use ingest::{Syslog, SyslogSettings};
use server::{Intake, SyslogDoor, Tls};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use world::World;

use crate::config::{Config, ConfigError};
use crate::mapping;

/// Ports that are listened on.
pub(crate) struct SyslogPorts {
    udp: Option<UdpSocket>,
    tcp: Option<TcpListener>,
    tls: Option<TcpListener>,
    syslog: Arc<Syslog>,
}

impl SyslogPorts {
    /// Binds what is to be listened on.
    pub(crate) async fn of(world: &World, config: &Config) -> anyhow::Result<Self> {
        let settings = &config.syslog;
        if !settings.tls.is_empty() && config.tls.cert.as_os_str().is_empty() {
            let what = "syslog by TLS needs the certificate of [tls]".to_owned();
            return Err(ConfigError::Value { place: "syslog.tls".into(), what }.into());
        }
        let taken = |address: SocketAddr| format!("could not listen for syslog on {address}");
        let udp = match address("syslog.udp", &settings.udp)? {
            Some(address) => Some(UdpSocket::bind(address).await.with_context(|| taken(address))?),
            None => None,
        };
        let mut streams = Vec::new();
        for (place, text) in [("syslog.tcp", &settings.tcp), ("syslog.tls", &settings.tls)] {
            streams.push(match address(place, text)? {
                Some(address) => Some(TcpListener::bind(address).await.with_context(|| taken(address))?),
                None => None,
            });
        }
        let (tls, tcp) = (streams.pop().flatten(), streams.pop().flatten());
        let door = Syslog::new(
            SyslogSettings { utc_offset_minutes: settings.utc_offset_minutes, ..SyslogSettings::default() },
            mapping::read(world, "syslog.mapping", &settings.mapping)?,
        );
        Ok(Self { udp, tcp, tls, syslog: Arc::new(door) })
    }

    /// Takes what comes until it is stopped.
    pub(crate) fn listen(
        self,
        intake: &Intake,
        tls: Option<Tls>,
        stop: &watch::Sender<bool>,
    ) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let door = SyslogDoor { intake: intake.clone(), syslog: self.syslog };
        let mut listeners = Vec::new();
        listeners.extend(self.udp.map(|port| tokio::spawn(door.clone().take_datagrams(port, stop.subscribe()))));
        listeners.extend(self.tcp.map(|port| tokio::spawn(door.clone().accept_streams(port, None, stop.subscribe()))));
        if let Some(port) = self.tls {
            if tls.is_none() {
                bail!("syslog by TLS needs the certificate of [tls]");
            }
            listeners.push(tokio::spawn(door.accept_streams(port, tls, stop.subscribe())));
        }
        Ok(listeners)
    }
}

fn address(place: &str, text: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| ConfigError::Value {
        place: place.into(),
        what: format!("{text:?} is not an address and port, such as 127.0.0.1:5514"),
    })
}
