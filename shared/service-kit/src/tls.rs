//! TLS 1.2 and 1.3 (rustls): listeners that reload their certificates when these are renewed, and client connections
//! that trust the certificate authorities of the system or of `SSL_CERT_FILE`.

use crate::Shutdown;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Interval at which the files are checked for a renewed certificate.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Maximum time of a handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// The reason why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not contain a certificate or key.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Description of the problem.
        reason: String,
    },
    /// The key does not match the certificate, or cannot be used.
    #[error("the certificate and the key cannot be used: {0}")]
    Key(rustls::Error),
    /// Only one of the two files was set.
    #[error("set both WAYBILL_TLS_CERT_FILE and WAYBILL_TLS_KEY_FILE, or neither")]
    HalfSaid,
    /// The system has no trusted certificate authorities.
    #[error("the system has no trusted certificate authorities; set SSL_CERT_FILE")]
    NoRoots,
    /// The TLS library returned an error.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// The certificate of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    acceptor: Acceptor,
    current: Arc<Current>,
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

/// The certificate that was read last, and its files.
#[derive(Debug)]
struct Current {
    cert: PathBuf,
    key: PathBuf,
    certified: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// Reads the certificate chain and the key from two PEM files. Returns `None` if neither file is set.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn of_files(cert: Option<&Path>, key: Option<&Path>) -> Result<Option<Self>, TlsError> {
        let (cert, key) = match (cert, key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert.to_owned(), key.to_owned()),
            _ => return Err(TlsError::HalfSaid),
        };
        let certified = RwLock::new(Arc::new(read(&cert, &key)?));
        let current = Arc::new(Current { cert, key, certified });
        Ok(Some(Self::new(current, WebPkiClientVerifier::no_client_auth())?))
    }

    /// Returns the same certificate for a listener that accepts only clients with a certificate of an authority in the PEM
    /// file `authorities` (mutual TLS). The file is read once.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn requiring_clients_of(&self, authorities: &Path) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in read_chain(authorities)? {
            roots.add(authority)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        Self::new(self.current.clone(), verifier.map_err(|error| of_file(authorities, error))?)
    }

    fn new(current: Arc<Current>, clients: Arc<dyn ClientCertVerifier>) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: Acceptor(TlsAcceptor::from(Arc::new(config))), current })
    }

    /// Performs the handshake with a client.
    ///
    /// # Errors
    /// Fails if the handshake fails or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, self.acceptor.0.accept(stream)).await;
        let stream =
            shaken.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))??;
        Ok(Stream::Server(Box::new(stream)))
    }

    /// Reads the files again when they change, until shutdown. If the new files are invalid, the old certificate
    /// remains in use.
    pub async fn follow_files(self, shutdown: Shutdown) {
        let Current { cert, key, certified } = self.current.as_ref();
        let mut seen = changed_at(cert, key);
        while shutdown.unless(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let now = changed_at(cert, key);
            if now == seen {
                continue;
            }
            match read(cert, key) {
                Ok(fresh) => {
                    *certified.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                    seen = now;
                    tracing::info!("loaded a new certificate");
                }
                // If the files are renewed one after the other, the next attempt succeeds.
                Err(error) => tracing::error!(%error, "cannot load the new certificate; the old one remains in use"),
            }
        }
    }
}

fn changed_at(cert: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [cert, key].map(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn of_file(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

/// Reads all certificates of a PEM file.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| of_file(path, error))?;
    if chain.is_empty() {
        return Err(of_file(path, "the file contains no certificate"));
    }
    Ok(chain)
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| of_file(key, error))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(TlsError::Key)
}

/// Connects to servers over TLS.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl Connector {
    /// Creates a connector that trusts the certificate authorities of the system.
    ///
    /// # Errors
    /// [`TlsError::NoRoots`].
    pub fn of_system() -> Result<Self, TlsError> {
        Ok(Self(TlsConnector::from(Arc::new(client_config()?))))
    }

    /// Performs the handshake with the server `name`. Its certificate must be valid for this name.
    ///
    /// # Errors
    /// Fails if the certificate is not valid, or if the handshake fails or takes too long.
    pub async fn connect(&self, name: &str, stream: TcpStream) -> io::Result<Stream> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let shaken = tokio::time::timeout(HANDSHAKE_WITHIN, self.0.connect(name, stream)).await;
        let stream =
            shaken.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))??;
        Ok(Stream::Client(Box::new(stream)))
    }
}

/// Returns the TLS configuration of clients.
///
/// # Errors
/// [`TlsError::NoRoots`].
pub fn client_config() -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// A connection with or without TLS.
pub enum Stream {
    /// A connection without TLS.
    Plain(TcpStream),
    /// A TLS connection that was accepted from a client.
    Server(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// A TLS connection to a server.
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

macro_rules! of_any {
    ($self:ident, $stream:ident => $do:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $do
            }
            Stream::Server($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $do
            }
            Stream::Client($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $do
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        of_any!(self, stream => stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        of_any!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_any!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_any!(self, stream => stream.poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_any!(self, stream => stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Server(stream) => stream.is_write_vectored(),
            Self::Client(stream) => stream.is_write_vectored(),
        }
    }
}
