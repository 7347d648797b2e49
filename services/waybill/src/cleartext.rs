//! Finds connections to other machines that are not encrypted.

use std::net::IpAddr;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use waybill_read_cache::host_in_clear;

/// Checks the settings that lead to other servers, each with `true` if it leads to another machine without TLS.
///
/// # Errors
/// The names of those that do, unless this is allowed.
pub(crate) fn refuse(judged: &[(&str, bool)], is_allowed: bool) -> Result<(), String> {
    let found: Vec<&str> = judged.iter().filter(|(_, is_clear)| *is_clear).map(|(name, _)| *name).collect();
    if found.is_empty() || is_allowed {
        return Ok(());
    }
    Err(format!(
        "{}: Waybill would reach another machine without TLS. Use tls://, https://, rediss:// or ?sslmode=require, or set \
         WAYBILL_ALLOW_CLEARTEXT=true if the network is trusted",
        found.join(", ")
    ))
}

/// Returns `true` if a list of URLs of NATS leads to another machine without TLS.
pub(crate) fn nats(urls: &str) -> bool {
    let urls: Vec<&str> = urls.split(',').map(str::trim).collect();
    // One such URL makes the client require TLS for all servers. A URL without a scheme is one of nats://.
    let requires_tls = urls.iter().any(|url| url.starts_with("tls://"));
    !requires_tls && !urls.iter().all(|url| is_local(host(url)))
}

/// Returns `true` if the URL or the key-value text of a database leads to another machine without TLS.
pub(crate) fn postgres(url: &str) -> bool {
    // A text that cannot be parsed leads nowhere. The connection reports it.
    let Ok(config) = url.parse::<Config>() else { return false };
    let is_local_host = |host: &Host| match host {
        Host::Tcp(name) => is_local(name),
        Host::Unix(_) => true,
    };
    let is_local =
        config.get_hosts().iter().all(is_local_host) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    config.get_ssl_mode() != SslMode::Require && !is_local
}

/// Returns `true` if a URL leads to another machine over HTTP without TLS.
pub(crate) fn http(url: &str) -> bool {
    let url = url.trim();
    !url.is_empty() && !url.starts_with("https://") && !is_local(host(url))
}

/// Returns `true` if a URL leads to Redis on another machine without TLS.
pub(crate) fn redis(url: &str) -> bool {
    // A text that cannot be parsed leads nowhere. The start reports it.
    host_in_clear(url).is_some_and(|host| !is_local(host.trim_matches(['[', ']'])))
}

/// Returns the host of a URL, without brackets.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let address = authority.rsplit('@').next().unwrap_or_default();
    match address.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => address.split(':').next().unwrap_or_default(),
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_tls_are_accepted() {
        for url in [
            "nats://127.0.0.1:4222",
            "nats://user:pass@localhost:4222",
            "127.0.0.1:4222",
            "tls://nats.example",
            "tls://a,nats://b",
        ] {
            assert!(!nats(url), "{url}");
        }
        for url in ["", "http://[::1]:8333", "http://localhost:8333/", "https://s3.example"] {
            assert!(!http(url), "{url}");
        }
        for url in [
            "postgres://waybill:secret@db.example/waybill?sslmode=require",
            "postgres://a.example,b.example/waybill?sslmode=require",
            "postgres://waybill:a,b@localhost/waybill",
            "postgres://localhost/waybill",
            "postgres://waybill@%2Fvar%2Frun%2Fpostgresql/waybill",
            "host=/var/run/postgresql user=waybill",
        ] {
            assert!(!postgres(url), "{url}");
        }
    }

    #[test]
    fn other_machines_without_tls_are_found() {
        for url in [
            "nats://192.0.2.1:4222",
            "nats.example:4222",
            "nats://127.0.0.1,nats://b.example",
            "wss://nats.example",
            "nats://127.0.0.1@nats.example",
        ] {
            assert!(nats(url), "{url}");
        }
        for url in
            ["http://store:8333/localhost", "http://[2001:db8::1]:8333", "http://evil.example#@localhost", "store:8333"]
        {
            assert!(http(url), "{url}");
        }
        for url in [
            "postgres://waybill:secret@db.example:5432/waybill?sslmode=prefer",
            "postgres://db.example/waybill?application_name=sslmode%3Drequire",
            "postgres://localhost,db.example/waybill",
            "postgres:///waybill?host=db.example",
            "postgres://localhost/waybill?hostaddr=192.0.2.1",
            "postgres://db.example/waybill?sslmode=require&sslmode=disable",
            "host=db.example user=waybill",
        ] {
            assert!(postgres(url), "{url}");
        }
    }
}
