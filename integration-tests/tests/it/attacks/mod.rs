//! Attacks on connections, names, tokens and the servers that Waybill uses. docs/threats.md maps its rows to these
//! tests.

mod access;
mod budgets;
mod connections;
mod contents;
mod crowds;
mod database_users;
mod nats_users;
mod revocation;
mod roles;
mod servers;
mod tenant_admin;
mod tokens;
mod trail;
mod websocket;

use std::net::TcpStream;
use std::time::Duration;

fn socket_to(url: &str) -> TcpStream {
    let socket = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(100))).unwrap();
    socket
}
