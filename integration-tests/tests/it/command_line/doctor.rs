//! `waybill doctor`: findings about settings, servers and the object store.

use serde_json::{Value, json};
use std::path::Path;
use waybill_integration_tests::{CommandLine, Fault, Request, Stack, StoreFront};
use waybill_test_kit::{NatsServer, settings};

/// Returns the arguments of `waybill doctor` for a stack.
fn doctor_settings(stack: &Stack) -> Vec<String> {
    let of_roles = ["--allowed-origins", "--projector-lease-ms", "--worker-budget-mib"];
    let settings = stack.arguments("doctor", &[]).split_off(2);
    settings.into_iter().filter(|arg| !of_roles.iter().any(|role| arg.starts_with(role))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_is_missing() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let settings = doctor_settings(&stack);
    let healthy = CommandLine::start(&client, home.path(), "doctor", &settings).ended().await;
    assert_eq!(healthy.code, Some(0), "{healthy:?}");
    assert!(healthy.events.len() > 10 && healthy.events.iter().all(|check| check["ok"] == true), "{healthy:?}");

    let previews =
        |told: &[Value]| told.iter().find(|check| check["check"] == "previews").map(|check| check["level"].clone());
    assert_eq!(previews(&healthy.events), Some(json!("ok")));

    let mut wrong = settings.clone();
    wrong.extend(
        [
            "--partitions=2",
            "--database-schema=nobody",
            "--s3-bucket=there-is-none",
            "--worker-secret=short",
            "--render-program=/bin/false",
        ]
        .map(str::to_owned),
    );
    wrong.retain(|arg| {
        !(settings.contains(arg)
            && ["--partitions", "--s3-bucket", "--worker-secret"].iter().any(|name| arg.starts_with(name)))
    });
    let ill = CommandLine::start(&client, home.path(), "doctor", &wrong).ended().await;
    assert_eq!(ill.code, Some(1), "{ill:?}");
    let complaints: Vec<&str> =
        ill.events.iter().filter(|check| check["ok"] == false).map(|check| check["detail"].as_str().unwrap()).collect();
    assert_eq!(previews(&ill.events), Some(json!("limit")));
    for advice in ["set WAYBILL_PARTITIONS=1", "run `waybill provision`", "WAYBILL_S3_ENDPOINT", "32 are needed"] {
        assert!(complaints.iter().any(|complaint| complaint.contains(advice)), "{advice} is missing in {complaints:?}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_a_refused_login_from_a_server_that_does_not_answer() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let config = home.path().join("nats.conf");
    let base = std::fs::read_to_string(settings("WAYBILL_TEST_NATS_CONFIG")).unwrap();
    // Clients without a login have no permissions.
    let nobody = r#"{ user: nobody, password: x, permissions: { publish: { deny: ">" } } }"#;
    let users = format!(r#"authorization {{ users: [{{ user: waybill, password: "right@" }}, {nobody}] }}"#);
    std::fs::write(&config, format!("{base}\n{users}\nno_auth_user: nobody\n")).unwrap();
    let nats = NatsServer::start_with(&config).await;
    let address = nats.url().strip_prefix("nats://").unwrap();
    for (nats_url, says, does_not_say) in [
        (format!("nats://waybill:wrong@{address}"), "refuses the login", "does not answer"),
        (format!("nats://waybill:right%40@{address}"), "run `waybill provision`", "login"),
        ("nats://127.0.0.1:9".to_owned(), "does not answer", "refuses the login"),
    ] {
        let mut settings = doctor_settings(&stack);
        settings.retain(|argument| !argument.starts_with("--nats-"));
        settings.push(format!("--nats-url={nats_url}"));
        let found = CommandLine::start(&client, home.path(), "doctor", &settings).ended().await;
        assert_eq!(found.code, Some(1), "{found:?}");
        let wrong = found.events.iter().find(|finding| finding["ok"] == false).expect("doctor found an error");
        let detail = wrong["detail"].as_str().unwrap();
        assert!(detail.contains(says) && !detail.contains(does_not_say), "{wrong}");
    }
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_doctor_says_that_nats_requires_no_login() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let nats = NatsServer::start_with(Path::new(&settings("WAYBILL_TEST_NATS_CONFIG"))).await;
    let mut without = doctor_settings(&stack);
    without.retain(|argument| !argument.starts_with("--nats-"));
    without.push(format!("--nats-url={}", nats.url()));
    for (settings, level) in [(doctor_settings(&stack), "ok"), (without, "limit")] {
        let found = CommandLine::start(&client, home.path(), "doctor", &settings).ended().await;
        let users =
            found.events.iter().find(|finding| finding["check"] == "users of NATS").expect("the check was made");
        assert_eq!(users["level"], level, "{users}");
    }
    stack.finish().await;
}

/// Lifecycle rules that abort multipart uploads after two days and delete old files.
const RULES: &str = "<LifecycleConfiguration>\
    <Rule><ID>old logs</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter>\
    <Expiration><Days>1</Days></Expiration></Rule>\
    <Rule><ID>retention</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
    <Expiration><Days>90</Days></Expiration></Rule>\
    <Rule><ID>parts</ID><Status>Enabled</Status><Filter/>\
    <AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
    </LifecycleConfiguration>";

/// Name of the check that tells whether heads of the audit can be deleted.
const AUDIT_HEADS: &str = "heads of the audit";

const REFUSED: Fault = Fault::Answer(403, "AccessDenied");

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_what_a_store_does_not_do() {
    let stack = Stack::start().await;
    let (client, home) = (stack.client(), tempfile::tempdir().unwrap());
    let front = StoreFront::start(&settings("WAYBILL_TEST_S3_ENDPOINT")).await;
    let look = async |more: &[&str]| {
        let mut settings = doctor_settings(&stack);
        settings.retain(|argument| !argument.starts_with("--s3-endpoint"));
        settings.push(front.argument());
        settings.extend(more.iter().map(|argument| (*argument).to_owned()));
        CommandLine::start(&client, home.path(), "doctor", &settings).ended().await
    };
    type Rule = fn(&Request) -> Option<Fault>;
    let cases: [(Rule, &[&str], &str, &str, &str); 9] = [
        (|_| None, &[], "lists of multipart uploads", "ok", "works"),
        // The bucket of the test has no Object Lock.
        (|_| None, &[], AUDIT_HEADS, "limit", "no Object Lock"),
        (|of| of.asks("versioning").then_some(REFUSED), &[], "versions", "limit", "s3:GetBucketVersioning"),
        (|of| of.asks("lifecycle").then_some(REFUSED), &[], "lifecycle rules", "limit", "AccessDenied"),
        (
            |of| of.asks("lifecycle").then_some(Fault::Document(RULES)),
            &[],
            "lifecycle rules",
            "error",
            "\"parts\" ends multipart uploads before WAYBILL_UPLOAD_LIFETIME_S, which is 604800 s",
        ),
        (
            |of| of.asks("lifecycle").then_some(Fault::Document(RULES)),
            &["--upload-lifetime-s=86400"],
            "lifecycle rules",
            "limit",
            "\"retention\" deletes objects",
        ),
        (
            |of| {
                (of.method == "PUT" && of.head.contains("copy-source")).then_some(Fault::Answer(501, "NotImplemented"))
            },
            &[],
            "copies",
            "error",
            "NotImplemented",
        ),
        (|_| None, &["--s3-public-endpoint=http://127.0.0.1:9"], "uploads by clients", "limit", "does not answer"),
        (
            |of| (of.asks("partNumber=1&") && of.target.contains("X-Amz-Signature")).then_some(Fault::Document("")),
            &[],
            "uploads by clients",
            "error",
            "wrong CRC-32",
        ),
    ];
    for (rule, more, check, level, text) in cases {
        front.set(rule);
        let found = look(more).await;
        assert_eq!(found.code, Some(i32::from(level == "error")), "{check}: {found:?}");
        let name = format!("store: {check}");
        let finding =
            found.events.iter().find(|finding| finding["check"] == name.as_str()).expect("the check was made");
        assert_eq!((&finding["level"], &finding["ok"]), (&json!(level), &json!(level != "error")), "{finding}");
        assert!(finding["detail"].as_str().unwrap().contains(text), "{finding}");
        let heads = format!("store: {AUDIT_HEADS}");
        let is_other = |check: &Value| *check != name.as_str() && *check != heads.as_str();
        for other in found.events.iter().filter(|finding| is_other(&finding["check"])) {
            assert_eq!(other["level"], "ok", "{check}: {other}");
        }
    }
    stack.finish().await;
}
