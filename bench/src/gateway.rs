//! The gateway beside nginx as a plain proxy, and beside the model server called directly.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Places;
use crate::device::{Syncs, THINKING, milliseconds};
use crate::load::{Measured, measure};
use crate::process::{Running, binary, serve, start};

const TIME: Duration = Duration::from_secs(8);

pub(crate) fn run(places: &Places, syncs: &Syncs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let load = |address, connections| runtime.block_on(measure(address, connections, TIME));
    println!("gateway, instant model, {} s each", TIME.as_secs());
    let (_model, model) = scripted_model(Duration::ZERO)?;
    let direct = show("model server directly", &load(model, 256)?, None);
    if let Some((_nginx, nginx)) = nginx(&places.disk, model)? {
        show("nginx, plain proxy", &load(nginx, 256)?, Some(direct));
    }
    for (name, dir) in [("disk", &places.disk), ("memory", &places.memory)] {
        let (_server, gateway) = testimony(&dir.join("instant"), model)?;
        show(&format!("testimony, data on {name}"), &load(gateway, 256)?, Some(direct));
    }
    println!(
        "\ngateway, model that answers after {} ms, one connection: p50 added to a direct call",
        THINKING.as_millis()
    );
    let (_model, model) = scripted_model(THINKING)?;
    let direct = load(model, 1)?.p50;
    println!("  model server directly           {:>8.3} ms", milliseconds(direct));
    if let Some((_nginx, nginx)) = nginx(&places.disk, model)? {
        println!(
            "  nginx, plain proxy             +{:>8.3} ms",
            milliseconds(load(nginx, 1)?.p50.saturating_sub(direct))
        );
    }
    for (name, dir) in [("disk", &places.disk), ("memory", &places.memory)] {
        let (_server, gateway) = testimony(&dir.join("thinking"), model)?;
        let added = load(gateway, 1)?.p50.saturating_sub(direct);
        let syncs = if name == "disk" {
            let times = |sync: Duration| added.as_secs_f64() / sync.as_secs_f64();
            format!("   {:.2} × one fdatasync, {:.2} × one at this pace", times(syncs.busy), times(syncs.paced))
        } else {
            String::new()
        };
        println!("  testimony, data on {name:<10}  +{:>8.3} ms{syncs}", milliseconds(added));
    }
    println!();
    Ok(())
}

fn show(name: &str, measured: &Measured, direct: Option<f64>) -> f64 {
    let part = direct
        .map_or(String::new(), |direct| format!("   {:.0} % of direct", 100.0 * measured.requests_per_second / direct));
    println!(
        "  {name:<30} {:>8.0} requests/s   p50 {:>7.2} ms   p99 {:>7.2} ms{part}",
        measured.requests_per_second,
        milliseconds(measured.p50),
        milliseconds(measured.p99)
    );
    measured.requests_per_second
}

pub(crate) fn scripted_model(thinking: Duration) -> anyhow::Result<(Running, SocketAddr)> {
    start(Command::new(binary()?).args(["scripted-model", "--delay-ms", &thinking.as_millis().to_string()]), "http://")
}

fn testimony(data: &Path, model: SocketAddr) -> anyhow::Result<(Running, SocketAddr)> {
    serve(data, &format!("http://{model}/v1"), "models     http://")
}

/// nginx with as many workers as cores, kept-alive connections on both sides and no log; nothing where it is not installed.
fn nginx(dir: &Path, model: SocketAddr) -> anyhow::Result<Option<(Running, SocketAddr)>> {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    let Some(program) = program else {
        println!("  nginx is not installed (Debian: nginx-light); left out");
        return Ok(None);
    };
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "worker_processes auto; daemon off; pid {0}/nginx.pid; error_log /dev/null;\nevents {{ worker_connections 2048; }}\n\
         http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         keepalive_requests 1000000;\n\
         upstream model {{ server {model}; keepalive 512; keepalive_requests 1000000; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
        dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config)?;
    let child = Running(Command::new(program).arg("-c").arg(&file).stderr(Stdio::null()).spawn()?);
    let end = Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect(address).is_err() {
        anyhow::ensure!(Instant::now() < end, "nginx did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Some((child, address)))
}
