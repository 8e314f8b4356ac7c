//! A server for tests: it answers every request with what it was told to, or never.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What was asked: the head, in lower case, and the body.
pub(super) type Request = (String, String);

pub(super) struct Server {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    count: watch::Receiver<usize>,
}

impl Server {
    /// Answers with a status and a body.
    pub(super) async fn answering(status: u16, headers: &str, body: &str) -> Self {
        let answer = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        Self::start(Some(answer)).await
    }

    /// Reads every request and never answers.
    pub(super) async fn silent() -> Self {
        Self::start(None).await
    }

    async fn start(answer: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), seen.clone(), counted.clone()));
            }
        });
        Self { url, requests, count }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until there have been some requests.
    pub(super) async fn asked(&self, times: usize) {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Option<String>,
    seen: Arc<Mutex<Vec<Request>>>,
    counted: watch::Sender<usize>,
) {
    let mut read = Vec::new();
    while stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() < length.parse::<usize>().unwrap() {
            continue;
        }
        seen.lock().unwrap().push((head, body.to_owned()));
        counted.send_modify(|count| *count += 1);
        if let Some(answer) = &answer {
            stream.write_all(answer.as_bytes()).await.unwrap();
            read.clear();
        }
    }
}
