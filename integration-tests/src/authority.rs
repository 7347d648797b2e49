//! The certificate authority of the tests.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

/// The authority that all tests of a run share, because they share PostgreSQL.
static ISSUER: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
    params.distinguished_name.push(DnType::CommonName, "an authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key can be generated");
    CertifiedIssuer::self_signed(params, key).expect("an authority signs itself")
});

/// Returns the builder of an HTTP client that trusts only the authority.
fn trusting() -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_pem(ISSUER.pem().as_bytes()).expect("the certificate is valid");
    reqwest::Client::builder().tls_certs_only([root])
}

/// Certificates and keys of one test in a folder of its own: `ca.pem`, `cert.pem` and `key.pem`.
pub struct Authority {
    folder: TempDir,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Creates a folder with the certificate of the authority and a first certificate for this machine.
    ///
    /// # Panics
    /// If no key or folder can be created.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("ca.pem"), ISSUER.pem()).expect("the folder can be written");
        let authority = Self { folder };
        authority.sign();
        authority
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a new certificate for this machine and writes it to `cert.pem` and `key.pem`. Returns the certificate and
    /// the key.
    ///
    /// # Panics
    /// If the files cannot be written.
    pub fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key can be generated");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("the names are valid");
        let cert = params.signed_by(&key, &*ISSUER).expect("the authority signs");
        std::fs::write(self.file("key.pem"), key.serialize_pem()).expect("the folder can be written");
        std::fs::write(self.file("cert.pem"), cert.pem()).expect("the folder can be written");
        (cert.pem(), key.serialize_pem())
    }

    /// Returns an HTTP client that trusts only this authority and has a client certificate. The authority has signed it if
    /// `is_signed`; otherwise it is self-signed.
    ///
    /// # Panics
    /// If the client cannot be created.
    pub fn http_with_certificate(&self, is_signed: bool) -> reqwest::Client {
        let key = KeyPair::generate().expect("a key can be generated");
        let params = CertificateParams::new(vec!["the host product".to_owned()]).expect("the name is valid");
        let cert = if is_signed { params.signed_by(&key, &*ISSUER) } else { params.self_signed(&key) };
        let pem = format!("{}{}", cert.expect("the certificate can be signed").pem(), key.serialize_pem());
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).expect("the certificate and the key are valid");
        trusting().identity(identity).build().expect("a client can be created")
    }

    /// Returns the arguments of a role that serves with the certificate.
    pub fn arguments(&self) -> [String; 2] {
        [
            format!("--tls-cert-file={}", self.file("cert.pem").display()),
            format!("--tls-key-file={}", self.file("key.pem").display()),
        ]
    }

    /// Returns the part of the configuration of nats-server that offers TLS.
    pub fn nats_block(&self) -> String {
        let file = |name: &str| self.file(name).display().to_string();
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\nallow_non_tls: true\n",
            file("cert.pem"),
            file("key.pem")
        )
    }

    /// Returns an HTTP client that trusts only this authority and opens a connection for each request.
    ///
    /// # Panics
    /// If the client cannot be created.
    pub fn http(&self) -> reqwest::Client {
        trusting().pool_max_idle_per_host(0).tls_info(true).build().expect("a client can be created")
    }

    /// Returns settings of a client that trusts only this authority.
    ///
    /// # Panics
    /// If the certificate is refused.
    pub fn client_config(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ISSUER.der().clone()).expect("the certificate is valid");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the provider has the default versions");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}
