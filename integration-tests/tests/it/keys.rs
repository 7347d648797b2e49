//! Tokens of an identity provider: its published keys, and keys that must not be accepted.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use waybill_integration_tests::{Client, Options, Stack};
use waybill_schema::CompanyId;
use waybill_service_kit::now;
use waybill_test_kit::eventually;

/// A key that signs tokens.
enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    /// A public key used as if it were a secret.
    Hmac(Vec<u8>),
}

impl Signer {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signed = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signed).unwrap();
                signed
            }
            Self::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::Hmac(secret) => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
                aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }

    /// Returns the public key as a JWK.
    fn public(&self, kid: &str) -> Value {
        let b64 = |bytes: &[u8]| BASE64URL.encode(bytes);
        match self {
            Self::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus().big_endian_without_leading_zero(), public.exponent());
                json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(n),
                    "e": b64(e.big_endian_without_leading_zero()) })
            }
            Self::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({ "kty": "EC", "kid": kid, "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Self::Ed(key) => {
                json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(key.public_key().as_ref()) })
            }
            Self::Hmac(secret) => json!({ "kty": "oct", "kid": kid, "k": b64(secret) }),
        }
    }

    fn token(&self, client: &Client, header: Value, more: Value) -> String {
        let mut claims = json!({
            "sub": client.principal.user_id, "company_id": client.principal.company_id, "roles": ["admin"],
            "iss": "https://identity.example", "aud": ["other", "waybill"], "exp": 4_000_000_000_i64,
        });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let part = |value: &Value| BASE64URL.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        format!("{message}.{}", BASE64URL.encode(self.sign(message.as_bytes())))
    }
}

/// An identity provider with a configurable answer, which counts requests.
struct Provider {
    url: String,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (answer.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = [0; 2_048];
                drop(stream.read(&mut head));
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = told.lock().unwrap().clone();
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        Self { url, answer, asked }
    }

    fn publish(&self, keys: &[Value]) {
        let body = json!({ "keys": keys }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        *self.answer.lock().unwrap() = head + &body;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn stack(&self) -> Stack {
        let args = vec![
            format!("--jwks-url={}", self.url),
            "--jwt-hs256-secret=".to_owned(),
            "--jwt-issuer=https://identity.example".to_owned(),
            "--auto-register=true".to_owned(),
        ];
        Stack::with(Options { args, ..Options::default() }).await
    }
}

fn keys() -> [(&'static str, &'static str, Signer); 3] {
    let random = SystemRandom::new();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    [
        ("RS256", "rsa-1", Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
        ("ES256", "ec-1", Signer::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref()).unwrap())),
        ("EdDSA", "ed-1", Signer::Ed(Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap())),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_rows_1_to_4_published_keys_are_the_only_ones_and_asked_for_once_a_minute() {
    let provider = Provider::start();
    let keys = keys();
    let mut published: Vec<Value> = keys.iter().map(|(_, kid, signer)| signer.public(kid)).collect();
    // A set can also have a secret and a key for encryption.
    published.push(Signer::Hmac(b"a secret that somebody published".to_vec()).public("oct-1"));
    let mut encryption = keys[0].2.public("enc-1");
    encryption["use"] = json!("enc");
    published.push(encryption);
    // Key ids like those of Amazon Cognito and HashiCorp Vault.
    let odd_ids = ["J4j+I06r0I0vpYnBNucugV8xAPV5/Xv4uYrrpwwSNK0=", "projects/a/keys/1:2", "~ \u{e9}"];
    published.extend(odd_ids.map(|kid| keys[0].2.public(kid)));
    provider.publish(&published);
    let stack = provider.stack().await;
    let template = stack.client();
    let of = |token: String| Client::new(stack.url().to_owned(), token, template.principal.clone());
    for (algorithm, kid, signer) in &keys {
        let header = json!({ "alg": algorithm, "kid": kid, "typ": "at+jwt" });
        of(signer.token(&template, header, json!({}))).get("/v1/files").await.expect(200);
    }
    for kid in odd_ids {
        let token = keys[0].2.token(&template, json!({ "alg": "RS256", "kid": kid }), json!({}));
        of(token).get("/v1/files").await.expect(200);
    }
    assert_eq!(provider.asked(), 1);
    let refused = async |token: String| {
        of(token).get("/v1/files").await.refused(401, "token_invalid");
    };
    let (rsa, ec) = (&keys[0].2, &keys[1].2);
    // The same key id with another issuer or audience, or without a valid expiry.
    let header = || json!({ "alg": "RS256", "kid": "rsa-1" });
    for more in [
        json!({ "iss": "https://other.example" }),
        json!({ "aud": "other" }),
        json!({ "exp": "4000000000" }),
        json!({ "exp": 1 }),
        json!({ "exp": null }),
    ] {
        refused(rsa.token(&template, header(), more)).await;
    }
    // A public key is not a secret, and a key is valid for one algorithm only.
    let public = rsa.public("rsa-1");
    let modulus = BASE64URL.decode(public["n"].as_str().unwrap()).unwrap();
    for (algorithm, kid) in [("HS256", "rsa-1"), ("HS256", "oct-1"), ("RS256", "rsa-1"), ("none", "rsa-1")] {
        let header = json!({ "alg": algorithm, "kid": kid });
        refused(Signer::Hmac(modulus.clone()).token(&template, header.clone(), json!({}))).await;
        refused(Signer::Hmac(public.to_string().into_bytes()).token(&template, header, json!({}))).await;
    }
    let secret = Signer::Hmac(b"a secret that somebody published".to_vec());
    refused(secret.token(&template, json!({ "alg": "HS256", "kid": "oct-1" }), json!({}))).await;
    for header in [
        json!({ "alg": "RS256", "kid": "ec-1" }),
        json!({ "alg": "ES256", "kid": "rsa-1" }),
        json!({ "alg": "RS512", "kid": "rsa-1" }),
        json!({ "alg": "RS256", "kid": "enc-1" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "RS256", "kid": "rsa-1", "jku": provider.url }),
        json!({ "alg": "RS256", "kid": provider.url }),
    ] {
        refused(rsa.token(&template, header, json!({}))).await;
    }
    refused(ec.token(&template, json!({ "alg": "RS256", "kid": "rsa-1" }), json!({}))).await;
    // Unknown key ids cause at most one request per minute to the provider. Known keys still work.
    for number in 0..40 {
        refused(rsa.token(&template, json!({ "alg": "RS256", "kid": format!("k{number}") }), json!({}))).await;
    }
    assert_eq!(provider.asked(), 1);
    of(ec.token(&template, json!({ "alg": "ES256", "kid": "ec-1" }), json!({}))).get("/v1/files").await.expect(200);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_4_a_redirect_is_not_followed_and_without_keys_it_is_503() {
    let elsewhere = Provider::start();
    let provider = Provider::start();
    let keys = keys();
    elsewhere.publish(&[keys[0].2.public("rsa-1")]);
    *provider.answer.lock().unwrap() =
        format!("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", elsewhere.url);
    let stack = provider.stack().await;
    let template = stack.client();
    let token = keys[0].2.token(&template, json!({ "alg": "RS256", "kid": "rsa-1" }), json!({}));
    let client = Client::new(stack.url().to_owned(), token, template.principal.clone());
    for _ in 0..5 {
        client.get("/v1/files").await.refused(503, "unavailable");
    }
    assert_eq!((provider.asked(), elsewhere.asked()), (1, 0));
    eventually("the process to be healthy", || async { (client.get("/healthz").await.status == 200).then_some(()) })
        .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h1_each_issuer_asserts_only_its_own_roles_and_companies() {
    let [_, (_, _, tenant), _] = keys();
    let [_, (_, _, host), _] = keys();
    let (of_tenant, of_host) = (Provider::start(), Provider::start());
    of_tenant.publish(&[tenant.public("1")]);
    of_host.publish(&[host.public("1")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("issuers.json");
    let company = Uuid::now_v7();
    let issuers = json!([
        { "issuer": "https://identity.example", "audience": "waybill", "jwks_url": of_tenant.url, "companies": [company],
          "roles": { "admin": "waybill-admin" }, "clients": ["web"], "max_age_s": 3_600, "types": ["at+jwt"] },
        { "issuer": "https://host.example", "audience": "waybill", "jwks_url": of_host.url, "roles": { "service": "service" } },
    ]);
    std::fs::write(&file, issuers.to_string()).unwrap();
    let args = vec![
        format!("--issuers-file={}", file.display()),
        "--jwt-hs256-secret=".to_owned(),
        "--auto-register=true".to_owned(),
    ];
    let stack = Stack::with(Options { args, ..Options::default() }).await;
    let user = stack.client_for(CompanyId(company), &[]);
    let stranger = stack.client();
    let header = json!({ "alg": "ES256", "kid": "1", "typ": "at+jwt" });
    let good = json!({ "azp": "web", "iat": now().0 / 1_000, "roles": ["waybill-admin"] });
    let with = |signer: &Signer, of: &Client, header: &Value, more: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Client::new(stack.url().to_owned(), signer.token(of, header.clone(), claims), of.principal.clone())
    };
    let admin_path = format!("/v1/admin/companies/{company}");
    let admin = with(&tenant, &user, &header, json!({}));
    admin.put(&admin_path, &json!({})).await.expect(200);
    // A tenant that assigns the role of the host product, or of another name, gets nothing.
    let other = format!("/v1/admin/companies/{}", stranger.principal.company_id);
    let claims_more = with(&tenant, &user, &header, json!({ "roles": ["service", "admin", "auditor"] }));
    claims_more.put(&other, &json!({})).await.refused(403, "role_required");
    claims_more.get("/v1/audit").await.refused(403, "role_required");
    // Tokens for other companies, of other clients, of another type, and old tokens are refused.
    with(&tenant, &stranger, &header, json!({})).get("/v1/files").await.refused(401, "token_invalid");
    let id_token = json!({ "alg": "ES256", "kid": "1", "typ": "JWT" });
    with(&tenant, &user, &id_token, json!({})).get("/v1/files").await.refused(401, "token_invalid");
    for more in [json!({ "azp": "cli" }), json!({ "iat": now().0 / 1_000 - 4_000 }), json!({ "iat": null })] {
        with(&tenant, &user, &header, more).get("/v1/files").await.refused(401, "token_invalid");
    }
    // The keys of one issuer do not sign for another one.
    let host_claims = json!({ "iss": "https://host.example", "roles": ["service"] });
    with(&tenant, &user, &header, host_claims.clone()).put(&other, &json!({})).await.refused(401, "token_invalid");
    with(&host, &user, &header, host_claims).put(&other, &json!({})).await.expect(200);
    let unknown = json!({ "iss": "https://else.example" });
    with(&tenant, &user, &header, unknown).get("/v1/files").await.refused(401, "token_invalid");
    stack.finish().await;
}
