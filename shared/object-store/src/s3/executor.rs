//! Opens all connections to the store on one runtime.
//!
//! hyper runs a connection on the runtime that opened it, and the pool shares the connection between all threads. Each
//! thread of a server has its own runtime, which ends when the server stops. Requests of other threads on its
//! connections would then fail with "runtime dropped the dispatch task". Therefore connections are opened on the
//! runtime that outlives all threads.

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::shared::IntoShared;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Returns a client whose connections run on the current tokio runtime.
pub(crate) fn http_client() -> SharedHttpClient {
    let tls = Provider::Rustls(CryptoMode::AwsLc);
    OnRuntime::here(aws_smithy_http_client::Builder::new().tls_provider(tls).build_https()).into_shared()
}

/// HTTP client that opens its connections on one runtime.
#[derive(Debug)]
struct OnRuntime {
    client: SharedHttpClient,
    runtime: Handle,
}

impl OnRuntime {
    /// Wraps `client` so that it opens its connections on the current runtime.
    fn here(client: SharedHttpClient) -> Self {
        Self { client, runtime: Handle::current() }
    }
}

impl HttpClient for OnRuntime {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(Connector { connector, runtime: self.runtime.clone() })
    }
}

#[derive(Debug)]
struct Connector {
    connector: SharedHttpConnector,
    runtime: Handle,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.connector.clone();
        let calling = AbortOnDropHandle::new(self.runtime.spawn(async move { connector.call(request).await }));
        HttpConnectorFuture::new(async move {
            calling.await.unwrap_or_else(|error| Err(ConnectorError::io(Box::new(error))))
        })
    }
}
