//! A Waybill in the process of the test. With `WAYBILL_TEST_NGINX`, the path of nginx, each role is a process behind nginx.

use crate::Client;
use crate::backing::{Backing, serve_args};
use crate::edge::Behind;
use waybill::serve::{Running, start};
use waybill_http_kit::{Principal, Role};
use waybill_schema::CompanyId;
use waybill_service_kit::{Shutdown, telemetry};
use waybill_test_kit::eventually;

/// Arrangement of the roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// All roles together, as in `waybill serve all`. The gateway calls the worker directly.
    #[default]
    Together,
    /// Each role with its own listener. The gateway sends bytes to the worker over HTTP.
    Apart,
}

/// Options of a [`Stack`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Additional arguments of `waybill serve`.
    pub args: Vec<String>,
    /// Arrangement of the roles.
    pub shape: Shape,
}

/// A running Waybill on its own servers.
pub struct Stack {
    backing: Backing,
    /// Roles in the order in which they are stopped: those that accept requests first.
    running: Vec<(Running, Shutdown)>,
    /// Roles in their own processes behind nginx, instead of `running`.
    behind: Option<Behind>,
    url: String,
    progress_url: String,
}

impl std::ops::Deref for Stack {
    type Target = Backing;

    fn deref(&self) -> &Backing {
        &self.backing
    }
}

impl Stack {
    /// Starts a stack with default options and waits until it is ready.
    ///
    /// # Panics
    /// If a server or a role does not start.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts a stack and waits until it is ready.
    ///
    /// # Panics
    /// If a server or a role does not start.
    pub async fn with(options: Options) -> Self {
        let stack = Self::start_without_waiting(options).await;
        ready(&reqwest::Client::new(), &stack.ops_url()).await;
        stack
    }

    /// Starts a stack without waiting until it is ready, for tests in which a server is missing.
    ///
    /// # Panics
    /// If a role does not start.
    pub async fn start_without_waiting(options: Options) -> Self {
        if let Ok(filter) = std::env::var("WAYBILL_LOG") {
            telemetry::init(&filter, false);
        }
        if let Ok(nginx) = std::env::var("WAYBILL_TEST_NGINX") {
            return Self::behind(&nginx, options).await;
        }
        let backing = Backing::start(1).await;
        let role = async |name: &str, more: &[String]| {
            let more: Vec<String> = options.args.iter().chain(more).cloned().collect();
            let shutdown = Shutdown::new();
            let running = start(serve_args(&backing.arguments(name, &more)), &shutdown).await.expect("a role starts");
            let addr = running.addr().expect("every role has an address");
            (addr, (running, shutdown))
        };
        let (addr, fanout_addr, running) = match options.shape {
            Shape::Together => {
                let (addr, all) = role("all", &["--http-addr=127.0.0.1:0".to_owned()]).await;
                (addr, addr, vec![all])
            }
            Shape::Apart => {
                let (worker_addr, worker) = role("worker", &["--worker-addr=127.0.0.1:0".to_owned()]).await;
                let (_, projector) = role("projector", &["--projector-addr=127.0.0.1:0".to_owned()]).await;
                let urls = format!("--worker-urls=http://{worker_addr}");
                let (addr, gateway) = role("gateway", &["--http-addr=127.0.0.1:0".to_owned(), urls]).await;
                let (fanout_addr, fanout) = role("fanout", &["--fanout-addr=127.0.0.1:0".to_owned()]).await;
                let (_, content) = role("content", &["--content-addr=127.0.0.1:0".to_owned()]).await;
                (addr, fanout_addr, vec![gateway, fanout, content, projector, worker])
            }
        };
        let (url, progress_url) = (format!("http://{addr}"), format!("http://{fanout_addr}"));
        Self { backing, running, behind: None, url, progress_url }
    }

    /// Starts each role in its own process behind nginx.
    async fn behind(nginx: &str, options: Options) -> Self {
        let backing = Backing::start(1).await;
        let behind = Behind::start(nginx, &backing, &options.args).await;
        let url = behind.url();
        Self { backing, running: Vec::new(), behind: Some(behind), progress_url: url.clone(), url }
    }

    /// Returns `true` if the requests of the test go through nginx, which answers some of them itself.
    pub fn is_behind_nginx(&self) -> bool {
        self.behind.is_some()
    }

    /// Returns the URL of the gateway.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the URL with readiness and metrics of the role that clients reach.
    ///
    /// # Panics
    /// If the role has no address.
    pub fn ops_url(&self) -> String {
        if let Some(behind) = &self.behind {
            return behind.ops_url();
        }
        let addr = self.running.first().and_then(|(running, _)| running.ops_addr());
        format!("http://{}", addr.expect("every role has an address"))
    }

    /// Returns the URL of the fan-out.
    pub fn progress_url(&self) -> &str {
        &self.progress_url
    }

    /// Returns a client for a new user of a new company, with all roles.
    pub fn client(&self) -> Client {
        self.backing.client(&self.url)
    }

    /// Returns a client for a new user of `company`.
    pub fn client_for(&self, company: CompanyId, roles: &[Role]) -> Client {
        self.backing.client_for(&self.url, company, roles)
    }

    /// Returns a client of the host product, which manages the directory.
    pub fn host(&self) -> Client {
        self.client_for(CompanyId(uuid::Uuid::now_v7()), &[Role::Service])
    }

    /// Returns an access token.
    pub fn token(&self, principal: &Principal) -> String {
        self.backing.token(principal)
    }

    /// Checks what must hold after every test, and stops: the tables equal a rebuild, and nothing is parked.
    ///
    /// # Panics
    /// If it does not hold.
    pub async fn finish(self) {
        self.finish_with_parked(0).await;
    }

    /// Like [`Stack::finish`], for a test that added `parked_messages` events to the log that cannot be folded.
    ///
    /// # Panics
    /// If it does not hold.
    pub async fn finish_with_parked(self, parked_messages: i64) {
        self.backing.check(parked_messages).await;
        self.stop().await;
    }

    /// Stops all roles and servers without a check.
    ///
    /// # Panics
    /// If a role does not stop.
    pub async fn stop(self) {
        for (running, shutdown) in self.running {
            shutdown.trigger();
            running.stopped().await;
        }
        drop(self.behind);
        self.backing.remove().await;
    }
}

/// Waits until `/readyz` at `url` succeeds.
pub(crate) async fn ready(http: &reqwest::Client, url: &str) {
    eventually(&format!("{url} to be ready"), || async {
        let answer = http.get(format!("{url}/readyz")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
}
