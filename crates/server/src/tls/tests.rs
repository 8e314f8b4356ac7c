use super::*;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

const CA: &[u8] = include_bytes!("../../testdata/ca.pem");
const SERVER: (&[u8], &[u8]) =
    (include_bytes!("../../testdata/server.pem"), include_bytes!("../../testdata/server.key"));
const CLIENT: (&[u8], &[u8]) =
    (include_bytes!("../../testdata/client.pem"), include_bytes!("../../testdata/client.key"));
const STRANGER: (&[u8], &[u8]) =
    (include_bytes!("../../testdata/stranger.pem"), include_bytes!("../../testdata/stranger.key"));

fn files() -> TlsFiles {
    let (certificate, key) = (SERVER.0.to_vec(), SERVER.1.to_vec());
    TlsFiles { certificate, key, client_ca: Some(CA.to_vec()), client_required: false }
}

fn client(trusts: &[u8], shows: Option<(&[u8], &[u8])>, protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    certificates(trusts).unwrap().into_iter().for_each(|root| roots.add(root).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match shows {
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).unwrap();
            builder.with_client_auth_cert(certificates(chain).unwrap(), key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// What the server makes of a client: the protocol above, and the client's certificate.
async fn shake(tls: &Tls, client: ClientConfig) -> io::Result<(Option<Vec<u8>>, Option<Arc<[u8]>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let listening = watch::Sender::new(());
    let handshakes = tls.clone().handshakes(Duration::from_secs(60), &listening);
    let connector = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    let (served, _connected) = tokio::join!(handshakes.accept(accepted), connector.connect(name, stream));
    served.map(|(stream, certificate)| (stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec), certificate))
}

fn der((chain, _): (&[u8], &[u8])) -> Option<Arc<[u8]>> {
    Some(Arc::from(certificates(chain).unwrap()[0].as_ref()))
}

#[tokio::test]
async fn a_client_chooses_the_protocol_above() {
    let tls = Tls::new(&files()).unwrap();
    for (asks, gets) in [(&[b"http/1.1".as_slice(), b"h2"][..], Some(b"h2".to_vec())), (&[], None)] {
        assert_eq!(shake(&tls, client(CA, None, asks)).await.unwrap().0, gets);
    }
    assert!(shake(&tls, client(CA, None, &[b"gopher"])).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_holds_is_given_on_and_another_is_refused() {
    let tls = Tls::new(&files()).unwrap();
    assert_eq!(shake(&tls, client(CA, Some(CLIENT), &[])).await.unwrap().1, der(CLIENT));
    assert_eq!(shake(&tls, client(CA, None, &[])).await.unwrap().1, None);
    assert!(shake(&tls, client(CA, Some(STRANGER), &[])).await.is_err());
}

#[tokio::test]
async fn who_must_show_a_certificate_and_has_none_is_turned_away() {
    let tls = Tls::new(&TlsFiles { client_required: true, ..files() }).unwrap();
    assert!(shake(&tls, client(CA, None, &[])).await.is_err());
    assert!(shake(&tls, client(CA, Some(CLIENT), &[])).await.is_ok());
}

#[tokio::test]
async fn without_authorities_nobody_is_asked() {
    let tls = Tls::new(&TlsFiles { client_ca: None, ..files() }).unwrap();
    assert_eq!(shake(&tls, client(CA, Some(STRANGER), &[])).await.unwrap().1, None);
}

#[tokio::test]
async fn other_files_are_shown_to_whoever_comes_later_and_bad_ones_change_nothing() {
    let tls = Tls::new(&files()).unwrap();
    let (certificate, key) = (STRANGER.0.to_vec(), STRANGER.1.to_vec());
    assert!(tls.replace(&TlsFiles { key: key.clone(), ..files() }).is_err());
    assert!(shake(&tls, client(CA, None, &[])).await.is_ok());
    tls.replace(&TlsFiles { certificate, key, ..files() }).unwrap();
    assert!(shake(&tls, client(CA, None, &[])).await.is_err());
    assert!(shake(&tls, client(STRANGER.0, None, &[])).await.is_ok());
}

#[tokio::test]
async fn who_says_nothing_is_given_up_in_time_and_when_the_listener_ends() {
    let tls = Tls::new(&files()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (within, ends, expected) in [
        (Duration::ZERO, false, io::ErrorKind::TimedOut),
        (Duration::from_secs(3_600), true, io::ErrorKind::ConnectionAborted),
    ] {
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let mut listening = Some(watch::Sender::new(()));
        let handshakes = tls.clone().handshakes(within, listening.as_ref().unwrap());
        if ends {
            listening = None;
        }
        assert_eq!(handshakes.accept(accepted).await.err().unwrap().kind(), expected);
        drop(listening);
    }
}

#[test]
fn what_is_wrong_with_files_is_said() {
    #[track_caller]
    fn check(files: &TlsFiles, expected: &str) {
        assert_eq!(Tls::new(files).err().unwrap().to_string(), expected);
    }
    check(
        &TlsFiles { key: CLIENT.1.to_vec(), ..files() },
        "the server's key is not the key of the first certificate in its file",
    );
    check(&TlsFiles { key: SERVER.0.to_vec(), ..files() }, "the server's key is no private key in PEM");
    check(&TlsFiles { certificate: SERVER.1.to_vec(), ..files() }, "the server's certificate is no certificate in PEM");
    let client_ca = Some(b"# none yet\n".to_vec());
    check(&TlsFiles { client_ca, ..files() }, "the file of the clients' authorities holds no certificate in PEM");
    assert_eq!(files().leaf().unwrap(), *der(SERVER).unwrap());
}
