//! Attacks on connections, names, tokens and the servers that Waybill uses. docs/threats.md maps its rows to these
//! tests.

mod access;
mod connections;
mod contents;
mod servers;
mod tokens;
mod websocket;

use std::net::TcpStream;
use std::time::Duration;

fn socket_to(url: &str) -> TcpStream {
    let socket = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(100))).unwrap();
    socket
}
