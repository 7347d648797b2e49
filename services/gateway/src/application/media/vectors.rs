//! `cdn/vectors.json`: examples of media URLs, with which the checks at the edges of content delivery networks are tested.

use super::keys::MediaKeys;
use super::url::MediaUrl;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;
use waybill_api::media::{Disposition, MediaVariant};
use waybill_schema::{CompanyId, Timestamp, UploadId, UserId};
use waybill_service_kit::Secrets;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cdn/vectors.json");
const NOW: Timestamp = Timestamp(1_764_500_000_000);

fn keys(secrets: &[&str]) -> MediaKeys {
    let secrets =
        secrets.iter().map(|name| format!("the {name} secret of the examples that nobody uses")).collect::<Vec<_>>();
    MediaKeys::derive(&Secrets::read("WAYBILL_TOKEN_SECRET", &secrets.join(","), None).unwrap())
}

fn example() -> MediaUrl {
    MediaUrl {
        company: CompanyId(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001)),
        file: UploadId(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0002)),
        digest: "00112233445566aa".to_owned(),
        variant: MediaVariant::Original,
        expires_s: 1_764_500_400,
        ttl_s: 300,
        disposition: Disposition::Inline,
        as_admin: false,
        user: UserId(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0003)),
        tokens_valid_from: None,
    }
}

/// Returns the result that every edge must have, decided as the gateway decides.
fn judged(keys: &MediaKeys, what: &str, url: String) -> Value {
    let valid = keys.check(&url).and_then(MediaUrl::parse).filter(|url| url.left_s(NOW).is_some());
    let cache_key = valid.map_or(String::new(), |valid| {
        let kind = if valid.disposition == Disposition::Inline { "i" } else { "a" };
        format!("{}#{kind}", valid.path())
    });
    json!({ "what": what, "url": url, "cache_key": cache_key })
}

fn document() -> String {
    let (old, both) = (keys(&["old"]), keys(&["new", "old"]));
    let sign = |keys: &MediaKeys, url: &MediaUrl| keys.sign(&url.text()).unwrap();
    let good = sign(&both, &example());
    let (signed, signature) = good.split_once("&s=").unwrap();
    let signature_of_other = sign(&both, &MediaUrl { ttl_s: 600, ..example() }).split_once("&s=").unwrap().1.to_owned();
    let unknown = sign(&keys(&["unknown"]), &example());
    let preview = MediaUrl { variant: MediaVariant::Preview256, ..example() };
    let admin = MediaUrl { as_admin: true, tokens_valid_from: Some(Timestamp(1_764_400_000_123)), ..example() };
    let urls = [
        ("a picture", good.clone()),
        ("an attachment", sign(&both, &MediaUrl { disposition: Disposition::Attachment, ..example() })),
        ("a preview", sign(&both, &preview)),
        ("an admin who has signed out before", sign(&both, &admin)),
        ("a key that was replaced but is still valid", sign(&old, &example())),
        ("an unknown key", unknown),
        ("the last second", sign(&both, &MediaUrl { expires_s: 1_764_500_001, ..example() })),
        ("the end", sign(&both, &MediaUrl { expires_s: 1_764_500_000, ..example() })),
        ("another time", good.replace("e=1764500400", "e=1764500800")),
        ("another variant", good.replace("/original", "/preview-1024")),
        ("another file", good.replace("000000000002", "000000000004")),
        ("another user", good.replace("000000000003", "000000000004")),
        ("another disposition", good.replace("f=i", "f=a")),
        ("the rights of an admin", good.replace("f=i", "f=im")),
        ("the signature of another URL", format!("{signed}&s={signature_of_other}")),
        ("no signature", signed.to_owned()),
        ("a short signature", format!("{signed}&s={}", &signature[..42])),
        ("a further parameter", format!("{good}&x=1")),
        ("a parameter twice", good.replace("?e=", "?e=1764500400&e=")),
        ("another order", good.replace("e=1764500400&t=300", "t=300&e=1764500400")),
        ("an encoded path", good.replace("/m/", "/%6d/")),
        ("no query", good.split_once('?').unwrap().0.to_owned()),
    ];
    let urls: Vec<Value> = urls.into_iter().map(|(what, url)| judged(&both, what, url)).collect();
    let keys: BTreeMap<&str, &str> = both.all().iter().map(|key| (key.id.as_str(), key.text.as_str())).collect();
    let document = json!({ "keys": keys, "now": NOW.0 / 1_000, "urls": urls });
    format!("{}\n", serde_json::to_string_pretty(&document).unwrap())
}

#[test]
fn the_examples_for_edges_are_those_of_the_gateway() {
    let document = document();
    if std::env::var_os("WAYBILL_WRITE_DOCS").is_some() {
        std::fs::write(FILE, &document).unwrap();
    }
    assert_eq!(std::fs::read_to_string(FILE).unwrap(), document, "run the test with WAYBILL_WRITE_DOCS=1");
    let valid = document.matches("\"cache_key\": \"/m/").count();
    assert_eq!(valid, 6);
}
