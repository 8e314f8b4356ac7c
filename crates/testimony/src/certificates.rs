//! What both listeners show and whom they ask to show something, from files that are looked at again while the server runs.

use std::path::Path;
use std::time::Duration;

use access::CertificateNames;
use anyhow::Context as _;
use record::Timestamp;
use server::{Tls, TlsFiles};
use world::World;

use crate::config::{self, Config, ConfigError};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The files of TLS, and what is in force of them.
pub(crate) struct Certificates {
    world: World,
    settings: config::Tls,
    tls: Tls,
    /// What was last taken or turned down.
    seen: Seen,
    /// What the last look saw. It is taken once two looks have seen the same: certificate and key are not replaced in one go.
    glimpsed: Seen,
    /// When the certificate in force ends, until that was told.
    end: Option<Timestamp>,
}

/// The files, or why they could not be read.
type Seen = Result<TlsFiles, String>;

impl Certificates {
    /// Reads what the configuration names; nothing when it wants no TLS.
    ///
    /// # Errors
    /// A server that is to speak TLS does not start without.
    pub(crate) fn of(world: &World, config: &Config) -> anyhow::Result<Option<Self>> {
        check(config)?;
        let settings = config.tls.clone();
        if is_unset(&settings.cert) {
            return Ok(None);
        }
        let files = read(world, &settings)?;
        let tls = Tls::new(&files).with_context(|| named(&settings))?;
        let (end, seen, glimpsed) = (end(&files), Ok(files.clone()), Ok(files));
        let mut certificates = Self { world: world.clone(), settings, tls, seen, glimpsed, end };
        certificates.warn_when_ended();
        Ok(Some(certificates))
    }

    pub(crate) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Looks for other files every so often. When they cannot be used, the former ones stay.
    pub(crate) async fn watch(mut self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            look.tick().await;
            match self.look() {
                None => {}
                Some(Ok(())) => tracing::info!(cert = %self.settings.cert.display(), "took the new certificate"),
                Some(Err(error)) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the certificate on disk cannot be used; the one in force stays"
                ),
            }
            self.warn_when_ended();
        }
    }

    /// Takes or turns down what is there now, if it is something else.
    fn look(&mut self) -> Option<anyhow::Result<()>> {
        let now = read(&self.world, &self.settings).map_err(|error| format!("{error:#}"));
        let is_settled = self.glimpsed == now;
        self.glimpsed.clone_from(&now);
        if !is_settled || self.seen == now {
            return None;
        }
        self.seen.clone_from(&now);
        Some(self.take(now))
    }

    fn take(&mut self, files: Seen) -> anyhow::Result<()> {
        let files = files.map_err(anyhow::Error::msg)?;
        self.tls.replace(&files).with_context(|| named(&self.settings))?;
        self.end = end(&files);
        Ok(())
    }

    fn warn_when_ended(&mut self) {
        let now = Timestamp::from_micros(self.world.clock.now_micros());
        if let Some(end) = self.just_ended(now) {
            tracing::warn!(%end, "the server's certificate has expired: no client that looks at it will speak with this server");
        }
    }

    /// When the certificate in force has ended; told once.
    fn just_ended(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.end.take_if(|end| *end < now)
    }
}

/// What settings can contradict each other in.
fn check(config: &Config) -> Result<(), ConfigError> {
    let tls = &config.tls;
    let wrong = |place: &str, what: &str| Err(ConfigError::Value { place: place.to_owned(), what: what.to_owned() });
    match (is_unset(&tls.cert), is_unset(&tls.key), is_unset(&tls.client_ca)) {
        (false, true, _) => wrong("tls.key", "tls.cert needs its private key, a file in PEM"),
        (true, false, _) => wrong("tls.cert", "tls.key needs its certificate, a file in PEM"),
        (true, true, false) => {
            wrong("tls.client_ca", "no client is asked for a certificate without tls.cert and tls.key")
        }
        (.., true) if tls.client_required => {
            wrong("tls.client_required", "no certificate holds without tls.client_ca, the authorities of clients")
        }
        (.., true) if !config.certificate.is_empty() => wrong(
            "[[certificate]]",
            "no client is asked for a certificate without tls.client_ca, the authorities of clients",
        ),
        _ => Ok(()),
    }
}

fn read(world: &World, settings: &config::Tls) -> anyhow::Result<TlsFiles> {
    let read = |setting: &str, path: &Path| {
        world.disk.read(path).with_context(|| format!("{setting}: could not read {}", path.display()))
    };
    let client_ca = (!is_unset(&settings.client_ca)).then(|| read("tls.client_ca", &settings.client_ca)).transpose()?;
    Ok(TlsFiles {
        certificate: read("tls.cert", &settings.cert)?,
        key: read("tls.key", &settings.key)?,
        client_ca,
        client_required: settings.client_required,
    })
}

fn is_unset(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

fn named(settings: &config::Tls) -> String {
    let mut text = format!("[tls] {} and {}", settings.cert.display(), settings.key.display());
    if !is_unset(&settings.client_ca) {
        text.push_str(&format!(" with {}", settings.client_ca.display()));
    }
    text
}

/// When the server's certificate ends, if that can be read.
fn end(files: &TlsFiles) -> Option<Timestamp> {
    CertificateNames::parse(&files.leaf().ok()?).ok().map(|names| names.expires_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const CERT: &str = "server.pem";
    const KEY: &str = "server.key";
    const CA: &str = "ca.pem";

    fn given(name: &str) -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/testdata").join(name);
        World::real().disk.read(&path).unwrap()
    }

    /// A folder that holds what the other files hold under these names.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            [CERT, KEY, CA].iter().for_each(|name| folder.put(name, &given(name)));
            folder
        }

        fn put(&self, name: &str, bytes: &[u8]) {
            World::real().disk.replace(&self.path(name), bytes).unwrap();
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn config(&self) -> Config {
            let mut config = Config::default();
            (config.tls.cert, config.tls.key) = (self.path(CERT), self.path(KEY));
            config
        }
    }

    fn rule() -> config::Certificate {
        config::Certificate {
            kind: "common-name".into(),
            pattern: "x".into(),
            actor: "service".into(),
            role: "caller".into(),
            scope: String::new(),
        }
    }

    #[test]
    fn what_contradicts_itself_or_cannot_be_read_is_told_at_the_start() {
        let folder = Folder::new();
        let said = |change: &dyn Fn(&mut Config)| {
            let mut config = folder.config();
            change(&mut config);
            let error = Certificates::of(&World::real(), &config).err().unwrap();
            format!("{error:#}").replace(&folder.0.path().display().to_string(), "DIR")
        };
        let lines = [
            said(&|config| config.tls.key = PathBuf::new()),
            said(&|config| config.tls.cert = PathBuf::new()),
            said(&|config| {
                (config.tls.cert, config.tls.key, config.tls.client_ca) = ("".into(), "".into(), "x".into())
            }),
            said(&|config| config.tls.client_required = true),
            said(&|config| config.certificate = vec![rule()]),
            said(&|config| config.tls.cert = folder.path("nowhere.pem")),
            said(&|config| config.tls.client_ca = folder.path("nowhere.pem")),
            said(&|config| config.tls.cert = folder.path(CA)),
            said(&|config| config.tls.cert = folder.path(KEY)),
            said(&|config| config.tls.key = folder.path(CERT)),
            said(&|config| config.tls.client_ca = folder.path(KEY)),
        ];
        insta::assert_snapshot!(lines.join("\n---\n"));
    }

    #[test]
    fn without_a_certificate_there_is_no_tls() {
        assert!(Certificates::of(&World::real(), &Config::default()).unwrap().is_none());
    }

    #[test]
    fn new_files_are_taken_once_they_have_settled_and_bad_ones_are_told_once() {
        let folder = Folder::new();
        let mut certificates = Certificates::of(&World::real(), &folder.config()).unwrap().unwrap();
        assert!(certificates.look().is_none());
        folder.put(CERT, &given("client.pem"));
        assert!(certificates.look().is_none(), "the key may still come");
        folder.put(KEY, &given("client.key"));
        assert!(certificates.look().is_none());
        assert!(certificates.look().unwrap().is_ok());
        assert!(certificates.look().is_none());
        folder.put(KEY, b"half a ke");
        assert!(certificates.look().is_none());
        assert!(certificates.look().unwrap().is_err());
        assert!(certificates.look().is_none());
        World::real().disk.remove(&folder.path(CERT)).unwrap();
        assert!(certificates.look().is_none());
        assert!(certificates.look().unwrap().is_err());
        folder.put(CERT, &given(CERT));
        folder.put(KEY, &given(KEY));
        assert!(certificates.look().is_none());
        assert!(certificates.look().unwrap().is_ok());
    }

    #[test]
    fn when_a_certificate_ends_is_read_from_it() {
        let files = |name: &str| TlsFiles {
            certificate: given(name),
            key: Vec::new(),
            client_ca: None,
            client_required: false,
        };
        assert_eq!(end(&files("expired.pem")), Timestamp::parse("2020-01-02T00:00:00Z").ok());
        assert_eq!(end(&files(KEY)), None);
    }

    #[test]
    fn that_a_certificate_has_ended_is_told_once() {
        let mut certificates = Certificates::of(&World::real(), &Folder::new().config()).unwrap().unwrap();
        let end = certificates.end.unwrap();
        assert_eq!(certificates.just_ended(end), None);
        let later = Timestamp::from_micros(end.as_micros() + 1);
        assert_eq!(certificates.just_ended(later), Some(end));
        assert_eq!(certificates.just_ended(later), None);
    }
}
