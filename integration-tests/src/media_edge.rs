//! Caches for media URLs in front of Waybill, with the configurations of `cdn/`.

use crate::process::free_addr;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::net::TcpStream;
use waybill_test_kit::eventually;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cdn");

/// A running cache. Dropping the value ends it.
pub struct MediaEdge {
    process: Child,
    _folder: TempDir,
    addr: SocketAddr,
}

/// Settings of nginx as a cache.
#[derive(Clone, Copy)]
pub struct NginxCache<'a> {
    /// Path of nginx.
    pub program: &'a str,
    /// Path of the module njs.
    pub module: &'a str,
    /// Lines that `waybill media-keys` prints.
    pub keys: &'a str,
    /// `true` to ask Waybill whether the access has ended.
    pub asks: bool,
}

impl MediaEdge {
    /// Starts nginx in front of Waybill at this URL.
    ///
    /// # Panics
    /// If nginx does not start.
    pub async fn nginx(settings: NginxCache<'_>, waybill: &str) -> Self {
        Self::nginx_at(free_addr(), settings, waybill).await
    }

    /// Like [`MediaEdge::nginx`], at a known address.
    ///
    /// # Panics
    /// If nginx does not start.
    pub async fn nginx_at(addr: SocketAddr, settings: NginxCache<'_>, waybill: &str) -> Self {
        let NginxCache { program, module, keys, asks } = settings;
        let folder = folder();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};", folder.path().display()))
            .join(" ");
        let more = format!("events {{ }}\npid {}/pid;\nhttp {{\n  {temporary}", folder.path().display());
        let keys = keys.trim().replace('\n', ", ");
        let cache = folder.path().join("cache").display().to_string();
        let text = filled(
            "nginx.conf",
            &[
                ("@FOLDER@", FOLDER),
                ("@KEYS@", &keys),
                ("@CACHE@", &cache),
                ("@LOG@", "off;#"),
                ("@LISTEN@", &addr.to_string()),
                ("@WAYBILL@", waybill),
                ("modules/ngx_http_js_module.so", module),
                ("http {", &more),
                ("#auth_request", if asks { "auth_request" } else { "#auth_request" }),
            ],
        );
        let config = written(folder.path(), "nginx.conf", &text);
        let log = folder.path().join("error.log");
        let process = Command::new(program)
            .args([Path::new("-p"), folder.path(), Path::new("-c"), &config, Path::new("-e"), &log])
            .args(["-g", "daemon off;"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx can be started");
        Self { process, _folder: folder, addr }.listening().await
    }

    /// Starts Varnish in front of Waybill at this URL.
    ///
    /// # Panics
    /// If Varnish does not start.
    pub async fn varnish(program: &str, waybill: &str) -> Self {
        Self::varnish_at(free_addr(), program, waybill).await
    }

    /// Starts Varnish at this address, in front of Waybill at this URL.
    ///
    /// # Panics
    /// If Varnish does not start.
    pub async fn varnish_at(addr: SocketAddr, program: &str, waybill: &str) -> Self {
        let folder = folder();
        let host = waybill.strip_prefix("http://").expect("Waybill has no TLS in tests");
        let (host, port) = host.split_once(':').expect("the address has a port");
        let text = filled("varnish.vcl", &[("@HOST@", host), ("@PORT@", port), ("@CONTENT@", "127.0.0.1")]);
        let config = written(folder.path(), "varnish.vcl", &text);
        let process = Command::new(program)
            .arg("-F")
            .args(["-j", "none", "-s", "malloc,64m", "-a", &addr.to_string(), "-f"])
            .args([&config, Path::new("-n"), &folder.path().join("work")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Varnish can be started");
        Self { process, _folder: folder, addr }.listening().await
    }

    async fn listening(mut self) -> Self {
        eventually("the cache to listen", || async { TcpStream::connect(self.addr).await.ok().map(drop) }).await;
        assert!(self.process.try_wait().expect("the process can be asked").is_none(), "the cache has ended");
        self
    }

    /// Returns the URL of the cache.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for MediaEdge {
    fn drop(&mut self) {
        // The workers end if the main process gets this signal, but not if it is killed.
        waybill_test_kit::signal(&self.process, "TERM");
        drop(self.process.wait());
    }
}

/// Returns a folder that the workers of nginx, which have another user, can enter.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("the folder can be changed");
    folder
}

fn filled(name: &str, texts: &[(&str, &str)]) -> String {
    let text = std::fs::read_to_string(Path::new(FOLDER).join(name)).expect("the configuration is in the repository");
    texts.iter().fold(text, |text, (name, value)| {
        assert!(text.contains(name), "{name} is not in the configuration");
        text.replacen(name, value, if name.starts_with('@') { usize::MAX } else { 1 })
    })
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("the folder can be written");
    file
}
