//! nginx with TLS in front of Waybill, as docs/proxies.md describes it.

use crate::Backing;
use crate::authority::Authority;
use crate::process::{Process, free_addr};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use waybill_test_kit::eventually;

/// Path of the configuration that the pages of the documentation and `scripts/test-proxies` use.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proxies/nginx-unbuffered.conf");

/// A running nginx. Dropping the value ends it.
pub(crate) struct Edge {
    nginx: Child,
    _folder: TempDir,
    addr: SocketAddr,
}

impl Edge {
    /// Starts nginx in front of a gateway and a fan-out that serve with certificates of `authority`.
    ///
    /// # Panics
    /// If nginx does not start.
    pub(crate) async fn start(program: &str, authority: &Authority, gateway: SocketAddr, fanout: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let addr = free_addr();
        let config = folder.path().join("nginx.conf");
        std::fs::write(&config, configuration(folder.path(), authority, addr, gateway, fanout))
            .expect("the folder can be written");
        let nginx = Command::new(program)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx can be started");
        let edge = Self { nginx, _folder: folder, addr };
        eventually("nginx to listen", || async { TcpStream::connect(addr).await.ok().map(drop) }).await;
        edge
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // The workers of nginx end if they get this signal, but not if the main process is killed.
        waybill_test_kit::signal(&self.nginx, "TERM");
        drop(self.nginx.wait());
    }
}

/// Returns the configuration of docs/proxies.md with certificates that nginx checks, and a way to the fan-out.
fn configuration(
    folder: &Path,
    authority: &Authority,
    addr: SocketAddr,
    gateway: SocketAddr,
    fanout: SocketAddr,
) -> String {
    let text = std::fs::read_to_string(CONFIG).expect("the configuration is in the repository");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {}/{name};", folder.display()))
        .join(" ");
    let file = |name: &str| authority.file(name).display().to_string();
    let checked = format!(
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate {}; proxy_ssl_name localhost; proxy_ssl_session_reuse on;",
        file("ca.pem")
    );
    let (head, location) = text.split_once("    location / {").expect("the configuration has a location");
    let (location, tail) = location.split_once("    }").expect("the location ends");
    let locations = [("/", "gateways"), ("~ ^/v1/progress(/|$)", "fanouts")]
        .map(|(path, upstream)| {
            let location = location.replace("http://gateways", &format!("https://{upstream}"));
            format!("    location {path} {{ {checked}\n{location}    }}")
        })
        .join("\n");
    let fanouts = format!("  upstream fanouts {{ server {fanout}; }}\n\n  server {{");
    let text = format!("{head}{locations}{tail}").replacen("  server {", &fanouts, 1);
    [
        ("@FOLDER@", folder.display().to_string()),
        ("@TEMPORARY@", temporary),
        ("@BACKEND@", gateway.to_string()),
        ("@TLS_PORT@", addr.port().to_string()),
        ("@HTTP2@", String::new()),
        ("@CERTIFICATE@", file("cert.pem")),
        ("@KEY@", file("key.pem")),
    ]
    .into_iter()
    .fold(text, |text, (name, value)| text.replace(name, &value))
}

/// Forwards connections without TLS to a server with TLS, for clients that write raw bytes. Dropping the value ends it.
pub(crate) struct Tunnel {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Tunnel {
    /// Starts a tunnel to `server`.
    ///
    /// # Panics
    /// If no port is free.
    pub(crate) async fn start(authority: &Authority, server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a listener has an address");
        let connector = TlsConnector::from(authority.client_config());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, connector.clone(), server));
            }
        });
        Self { addr, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, connector: TlsConnector, server: SocketAddr) {
    let Ok(connection) = TcpStream::connect(server).await else { return };
    let name = "localhost".try_into().expect("localhost is a name");
    let Ok(mut connection) = connector.connect(name, connection).await else { return };
    // Both sides see the end of the connection, with or without an error.
    drop(tokio::io::copy_bidirectional(&mut client, &mut connection).await);
}

/// Each role in its own process, with TLS, behind nginx.
pub(crate) struct Behind {
    _processes: Vec<Process>,
    _edge: Edge,
    tunnel: Tunnel,
    ops_tunnel: Tunnel,
    _logs: TempDir,
}

impl Behind {
    /// Starts the roles with additional arguments, and nginx.
    ///
    /// # Panics
    /// If a role does not start.
    pub(crate) async fn start(nginx: &str, backing: &Backing, args: &[String]) -> Self {
        let authority = Arc::new(Authority::new());
        let logs = tempfile::tempdir().expect("a temporary folder can be made");
        let role = async |role: &'static str, option: &str, more: &[String]| {
            let addr = free_addr();
            let mut own = vec![format!("--{option}={addr}"), "--trusted-proxies=127.0.0.1/32".to_owned()];
            own.extend(more.iter().chain(args).cloned());
            let log = logs.path().join(format!("{role}.log"));
            Process::start_with(role, addr, backing.arguments(role, &own), log, Some(authority.clone())).await
        };
        let projector = role("projector", "projector-addr", &[]).await;
        let worker = role("worker", "worker-addr", &[]).await;
        let workers = format!("--worker-urls=https://{}", worker.addr());
        let gateway = role("gateway", "http-addr", &[workers]).await;
        let fanout = role("fanout", "fanout-addr", &[]).await;
        let content = role("content", "content-addr", &[]).await;
        let edge = Edge::start(nginx, &authority, gateway.addr(), fanout.addr()).await;
        let tunnel = Tunnel::start(&authority, edge.addr()).await;
        let ops_tunnel = Tunnel::start(&authority, gateway.addr()).await;
        Self {
            _processes: vec![gateway, fanout, content, worker, projector],
            _edge: edge,
            tunnel,
            ops_tunnel,
            _logs: logs,
        }
    }

    /// Returns the URL of nginx, for clients without TLS.
    pub(crate) fn url(&self) -> String {
        self.tunnel.url()
    }

    /// Returns the URL of the gateway itself.
    pub(crate) fn ops_url(&self) -> String {
        self.ops_tunnel.url()
    }
}
