//! All connections over TLS: clients to gateway and fan-out, gateway to worker, and all roles to NATS and PostgreSQL.

use crate::socket;
use diesel_async::RunQueryDsl;
use serde_json::json;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use waybill_http_kit::Role as HttpRole;
use waybill_integration_tests::{Authority, Backing, Client, free_addr};
use waybill_schema::CompanyId;
use waybill_test_kit::{eventually, settings};

/// A running role. Dropping the value ends it.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(authority: &Authority, args: &[String]) -> Role {
    let log = std::fs::File::create(authority.file(&format!("{}.log", args[1]))).unwrap();
    let child = Command::new(settings("WAYBILL_TEST_BIN"))
        .arg("serve")
        .args(&args[1..])
        .env("SSL_CERT_FILE", authority.file("ca.pem"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Role(child.unwrap())
}

async fn connections_over_tls(backing: &Backing) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        secure: i64,
    }
    let mut connection = backing.database("waybill").connection().await.unwrap();
    let query = "SELECT count(*) AS secure FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                 WHERE s.ssl AND a.datname = current_database()";
    let found: Found = diesel::sql_query(query).get_result(&mut connection).await.unwrap();
    found.secure
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_can_be_over_tls_and_a_certificate_is_renewed_without_a_restart() {
    let authority = Authority::new();
    let backing = Backing::start_secure(&authority, 1).await;
    let ports: Vec<u16> = (0..4).map(|_| free_addr().port()).collect();
    let common = authority.arguments();
    let role = |name: &str, more: &[String]| {
        let args: Vec<String> = common.iter().chain(more).cloned().collect();
        start(&authority, &backing.arguments(name, &args))
    };
    let http = authority.http();
    let ready = async |port: u16, scheme: &str| {
        eventually("a role to be ready", || async {
            let answer = http.get(format!("{scheme}://localhost:{port}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    };
    let projector = role("projector", &[format!("--projector-addr=127.0.0.1:{}", ports[0])]);
    ready(ports[0], "http").await;
    let worker = role("worker", &[format!("--worker-addr=127.0.0.1:{}", ports[1])]);
    ready(ports[1], "https").await;
    let workers = format!("--worker-urls=https://localhost:{}", ports[1]);
    let gateway = role("gateway", &[format!("--http-addr=127.0.0.1:{}", ports[2]), workers]);
    ready(ports[2], "https").await;
    let fanout = role("fanout", &[format!("--fanout-addr=127.0.0.1:{}", ports[3])]);
    ready(ports[3], "https").await;
    // Upload and download a file of several parts.
    let url = format!("https://localhost:{}", ports[2]);
    let client = backing.client(&url);
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let request =
        |method: reqwest::Method, path: &str| http.request(method, format!("{url}{path}")).bearer_auth(client.token());
    let query = "/v1/files?name=a.bin&mime_type=application/octet-stream";
    let answer = request(reqwest::Method::POST, query).body(bytes.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=63072000");
    let file: serde_json::Value = answer.json().await.unwrap();
    let path = format!("/v1/files/{}/content", file["file_id"].as_str().unwrap());
    let read = request(reqwest::Method::GET, &path).send().await.unwrap().bytes().await.unwrap();
    assert!(read == bytes);
    assert!(connections_over_tls(&backing).await > 0);
    // A watcher connects over TLS. Requests without TLS fail.
    let watcher =
        Client::new(format!("https://localhost:{}", ports[3]), client.token().to_owned(), client.principal.clone());
    let mut watching = socket::over_tls(&watcher, &authority.file("ca.pem")).await;
    assert_eq!(socket::next(&mut watching).await["t"], "hello");
    let topic = format!("company:{}", client.principal.company_id);
    socket::send(&mut watching, json!({ "t": "sub", "id": 1, "topic": topic })).await;
    assert_eq!(socket::next(&mut watching).await["t"], "snap");
    assert!(reqwest::get(format!("http://127.0.0.1:{}/healthz", ports[2])).await.is_err());
    // After the renewal new connections get the new certificate, and the open one continues.
    let shown = async |port: u16| {
        // A new client each time: an existing client resumes its TLS session with the old certificate.
        let answer = authority.http().get(format!("https://localhost:{port}/healthz")).send().await.unwrap();
        answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
    };
    let before = shown(ports[2]).await;
    // An invalid certificate file changes nothing.
    std::fs::write(authority.file("cert.pem"), "nothing").unwrap();
    authority.sign();
    for port in [ports[2], ports[3]] {
        eventually("the new certificate", || async { (shown(port).await != before).then_some(()) }).await;
    }
    request(reqwest::Method::PATCH, &path.replace("/content", ""))
        .json(&json!({ "display_name": "b.bin" }))
        .send()
        .await
        .unwrap();
    assert_eq!(socket::next(&mut watching).await["display_name"], "b.bin");
    // The projector must still run to project the last events.
    backing.settled().await;
    backing.check(0).await;
    drop((gateway, fanout, worker, projector));
    backing.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_or_on_a_command_line() {
    let mut cluster = waybill_integration_tests::Cluster::start(waybill_integration_tests::Counts::default()).await;
    let client = cluster.client();
    let file = client.small_file("very-private-name.txt").await.text("file_id");
    let issued = client.post(&format!("/v1/files/{file}/tokens"), &json!({})).await.expect(201);
    let link = issued.text("url");
    reqwest::get(format!("{}{link}", cluster.url())).await.unwrap();
    reqwest::get(format!("{}{link}%0d%0aINJECTED", cluster.url())).await.unwrap();
    client.get("/v1/files/%0d%0aINJECTED").await.refused(404, "not_found");
    let token = issued.text("token");
    // SIGTERM makes the processes write their complete log.
    for process in cluster.gateways.iter_mut().chain(&mut cluster.workers) {
        process.terminate().await;
    }
    for process in cluster.gateways.iter().chain(&cluster.workers).chain(&cluster.fanouts).chain(&cluster.projectors) {
        for secret in [token.as_str(), client.token(), "very-private-name", "INJECTED"] {
            assert!(!process.has_logged(secret), "{secret}");
        }
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_refuses_unencrypted_connections_to_other_machines() {
    // An address for documentation (RFC 5737), which no machine has.
    for (setting, argument) in [
        ("WAYBILL_NATS_URL", "--nats-url=nats://192.0.2.1:4222"),
        ("WAYBILL_DATABASE_URL", "--database-url=postgres://waybill@192.0.2.1/waybill"),
        ("WAYBILL_S3_ENDPOINT", "--s3-endpoint=http://192.0.2.1:8333"),
        ("WAYBILL_WORKER_URLS", "--worker-urls=http://192.0.2.1:8090"),
    ] {
        let ended = Command::new(settings("WAYBILL_TEST_BIN")).args(["serve", "gateway", argument]).output().unwrap();
        let text = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success(), "{text}");
        assert!(text.contains(setting) && text.contains("WAYBILL_ALLOW_CLEARTEXT"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m10_the_host_product_has_an_address_of_its_own_that_requires_a_client_certificate() {
    let authority = Authority::new();
    let backing = Backing::start_secure(&authority, 1).await;
    let [users, host] = [free_addr(), free_addr()];
    let own = [
        format!("--http-addr={users}"),
        format!("--host-addr={host}"),
        format!("--host-client-ca-file={}", authority.file("ca.pem").display()),
    ];
    let args: Vec<String> = authority.arguments().into_iter().chain(own).collect();
    let role = start(&authority, &backing.arguments("all", &args));
    let (with_certificate, without) = (authority.http_with_certificate(true), authority.http());
    eventually("the gateway to be ready", || async {
        let answer = without.get(format!("https://{users}/readyz")).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    let company = CompanyId(uuid::Uuid::now_v7());
    let token = |roles: &[HttpRole]| backing.client_for("", company, roles).token().to_owned();
    let (of_host, of_user) = (token(&[HttpRole::Service]), token(&[HttpRole::Admin]));
    let path = format!("/v1/admin/companies/{company}");
    let put = async |client: &reqwest::Client, addr: SocketAddr, token: &str| {
        let answer = client.put(format!("https://{addr}{path}")).bearer_auth(token).json(&json!({})).send().await?;
        let status = answer.status().as_u16();
        let body: serde_json::Value = answer.json().await?;
        Ok::<_, reqwest::Error>((status, body["code"].as_str().unwrap_or_default().to_owned()))
    };

    // A stolen token of the host product is worth nothing at the address of users, or without the certificate.
    assert_eq!(put(&without, users, &of_host).await.unwrap(), (403, "wrong_listener".to_owned()));
    assert!(put(&without, host, &of_host).await.unwrap_err().is_request());
    let strange = authority.http_with_certificate(false);
    assert!(put(&strange, host, &of_host).await.unwrap_err().is_request());
    assert_eq!(put(&with_certificate, host, &of_user).await.unwrap(), (403, "wrong_listener".to_owned()));
    let (status, _) = put(&with_certificate, host, &of_host).await.unwrap();
    assert!((200..300).contains(&status), "{status}");
    let listed = without.get(format!("https://{users}/v1/files")).bearer_auth(&of_user).send().await.unwrap();
    assert_eq!(listed.status(), 200);
    let link = with_certificate.get(format!("https://{host}/d/a-link")).send().await.unwrap();
    assert_eq!(link.status(), 403, "download links are for users");
    // The attempt with the stolen token is in the audit of the company.
    let of_auditor = token(&[HttpRole::Auditor]);
    eventually("the refused request in the audit", || async {
        let audit = without.get(format!("https://{users}/v1/audit?refusals=true&limit=100")).bearer_auth(&of_auditor);
        audit.send().await.ok()?.text().await.ok()?.contains("wrong_listener").then_some(())
    })
    .await;
    backing.settled().await;
    backing.check(0).await;
    drop(role);
    backing.remove().await;
}
