//! Just enough HTTP/1.1 to keep a connection alive, and to break it.

use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Options;
use crate::script::Script;

const HEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: usize = 64 << 20;

/// Answers request after request until the client or the script ends it.
pub(crate) async fn answer_all(mut stream: TcpStream, options: &Options) -> io::Result<()> {
    let mut read = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut read).await? {
        if !answer(&mut stream, &request, options).await? {
            return Ok(());
        }
    }
    Ok(())
}

struct Request {
    line: String,
    body: Vec<u8>,
}

async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if read.len() > HEAD_BYTES_MAX || stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(read.get(..head_end).unwrap_or_default()).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0)
        .min(BODY_BYTES_MAX);
    let body_start = head_end + 4;
    while read.len() < body_start + length {
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
    let rest = read.split_off(body_start + length);
    let body = read.split_off(body_start);
    *read = rest;
    Ok(Some(Request { line, body }))
}

/// Answers one request; false when the connection has been ended.
async fn answer(stream: &mut TcpStream, request: &Request, options: &Options) -> io::Result<bool> {
    if request.line.starts_with("GET /v1/models") {
        let models =
            json!({"object": "list", "data": [{"id": options.model, "object": "model", "owned_by": "script"}]});
        return whole(stream, 200, "application/json", models.to_string().as_bytes()).await;
    }
    if !request.line.starts_with("POST /v1/chat/completions") {
        return error(stream, 404, "no such path").await;
    }
    let script = Script::read(&request.body);
    let delay = options.delay + Duration::from_millis(script.stall_ms);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match &script {
        Script { status: Some(status), .. } => error(stream, *status, "the script says so").await,
        Script { reset_after: Some(0), .. } => reset(stream),
        Script { garbage: true, stream: false, .. } => {
            whole(stream, 200, "application/json", b"<html>no answer</html>").await
        }
        Script { garbage: true, .. } => whole(stream, 200, "text/event-stream", b"<html>no stream</html>\n").await,
        Script { stream: true, .. } => events(stream, &script, options).await,
        Script { reset_after: Some(_), .. } => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{\"id\":")
                .await?;
            reset(stream)
        }
        _ => {
            let answer = marked(script.whole(&options.model), options);
            whole(stream, 200, "application/json", answer.to_string().as_bytes()).await
        }
    }
}

/// With what the server says that it is.
fn marked(mut answer: Value, options: &Options) -> Value {
    if let Some(fingerprint) = &options.fingerprint {
        answer["system_fingerprint"] = json!(fingerprint);
    }
    answer
}

async fn whole(stream: &mut TcpStream, status: u16, media: &str, body: &[u8]) -> io::Result<bool> {
    let mut out =
        format!("HTTP/1.1 {status} Scripted\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n", body.len())
            .into_bytes();
    out.extend_from_slice(body);
    stream.write_all(&out).await?;
    Ok(true)
}

async fn error(stream: &mut TcpStream, status: u16, message: &str) -> io::Result<bool> {
    let body = json!({"error": {"message": message, "type": "scripted_error", "param": null, "code": null}});
    whole(stream, status, "application/json", body.to_string().as_bytes()).await
}

async fn events(stream: &mut TcpStream, script: &Script, options: &Options) -> io::Result<bool> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    for (nth, chunk) in script.chunks(&options.model).into_iter().enumerate() {
        let chunk = marked(chunk, options);
        if script.reset_after == Some(nth as u64) {
            return reset(stream);
        }
        if script.close_after == Some(nth as u64) {
            stream.write_all(b"0\r\n\r\n").await?;
            return Ok(true);
        }
        if nth > 0 && script.slow_ms > 0 {
            tokio::time::sleep(Duration::from_millis(script.slow_ms)).await;
        }
        stream.write_all(&event(&chunk.to_string())).await?;
    }
    let mut end = event("[DONE]");
    end.extend_from_slice(b"0\r\n\r\n");
    stream.write_all(&end).await?;
    Ok(true)
}

/// One event as one piece of a chunked body.
fn event(data: &str) -> Vec<u8> {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// Ends the connection with RST instead of FIN: what was not read yet is lost, as when a server dies.
fn reset(stream: &mut TcpStream) -> io::Result<bool> {
    stream.set_zero_linger()?;
    Ok(false)
}
