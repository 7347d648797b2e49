//! CORS rules of the bucket.

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Region};
use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use waybill_test_kit::TestBucket;

#[tokio::test]
async fn l13_rules_that_others_have_set_are_kept() {
    let bucket = TestBucket::create().await;
    let (config, store) = (&bucket.config, bucket.store());
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let (id, secret) = TestBucket::keys();
    let mut builder = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(Credentials::new(id, secret, None, None, "test"))
        .http_client(http)
        .force_path_style(true);
    builder.set_endpoint_url(config.endpoint.clone());
    let client = Client::from_conf(builder.build());
    let of_others = CorsRule::builder().id("of others").allowed_origins("https://cdn.example").allowed_methods("GET");
    let rules = CorsConfiguration::builder().cors_rules(of_others.build().unwrap()).build().unwrap();
    client.put_bucket_cors().bucket(&config.bucket).cors_configuration(rules).send().await.unwrap();
    for origin in ["https://old.example", "https://new.example"] {
        store.allow_origins(&[origin.to_owned()]).await.unwrap();
    }
    let found = client.get_bucket_cors().bucket(&config.bucket).send().await.unwrap();
    let origins: Vec<&str> =
        found.cors_rules().iter().flat_map(CorsRule::allowed_origins).map(String::as_str).collect();
    assert_eq!(origins, ["https://cdn.example", "https://new.example"]);
}
