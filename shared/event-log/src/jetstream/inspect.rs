//! Checks that a NATS server is set up as Waybill needs it, without changing it.

use super::context;
use super::metadata::found_partitions;
use super::provision::{Layout, definitions, is_new_enough};
use async_nats::jetstream::response::Response;
use futures_util::future::BoxFuture;
use serde_json::Value;
use waybill_schema::names;

/// Result of one check: the checked object, and a description or the problem.
pub type Finding = (String, Result<String, String>);

/// Checks the server, its streams, its buckets and its consumers.
pub fn inspect(client: &async_nats::Client, layout: Layout) -> BoxFuture<'_, Vec<Finding>> {
    Box::pin(async move {
        let partitions = layout.partitions;
        let version = client.server_info().version;
        let server = if is_new_enough(&version) {
            Ok(version)
        } else {
            Err(format!("version {version} is too old; nats-server 2.14 or newer is needed"))
        };
        let mut findings = vec![("NATS server".to_owned(), server)];
        let context = context(client.clone());
        if let Err(error) = context.query_account().await {
            let wrong = format!("{error}; start nats-server with JetStream, see nats/nats-server.conf");
            findings.push(("JetStream".to_owned(), Err(wrong)));
            return findings;
        }
        match found_partitions(&context).await {
            Ok(Some(found)) if found != partitions.count() => {
                let wrong = format!("the streams have {found}; set WAYBILL_PARTITIONS={found}");
                findings.push(("partitions".to_owned(), Err(wrong)));
                return findings;
            }
            Ok(_) => findings.push(("partitions".to_owned(), Ok(partitions.count().to_string()))),
            Err(error) => findings.push(("partitions".to_owned(), Err(error.to_string()))),
        }
        // The number of replicas is not compared: operators may add replicas later.
        for definition in definitions(layout) {
            let Ok(wanted) = serde_json::from_str::<Value>(&definition) else { continue };
            let name = wanted["name"].as_str().unwrap_or_default().to_owned();
            let answer = context.request(format!("STREAM.INFO.{name}"), &serde_json::json!({})).await;
            findings.push((format!("stream {name}"), compare(answer, &wanted)));
        }
        for partition in partitions.all() {
            let stream = names::event_stream(partition);
            let subject = format!("CONSUMER.INFO.{stream}.{}", names::REACTIONS_DURABLE);
            let answer = context.request(subject, &serde_json::json!({})).await;
            let found = compare(answer, &Value::Null);
            findings.push((format!("consumer {} of {stream}", names::REACTIONS_DURABLE), found));
        }
        findings
    })
}

/// Checks that a stream or consumer has every setting of its definition.
fn compare<E: std::fmt::Display>(answer: Result<Response<Value>, E>, wanted: &Value) -> Result<String, String> {
    let info = match answer {
        Ok(Response::Ok(info)) => info,
        Ok(Response::Err { error }) => return Err(format!("{error}; run `waybill provision`")),
        Err(error) => return Err(error.to_string()),
    };
    let differing = |(key, value): (&String, &Value)| {
        let found = &info["config"][key];
        // The server omits settings that are zero, false or empty.
        let both_empty = found.is_null() && matches!(value.to_string().as_str(), "0" | "false" | "\"\"" | "{}");
        let same = found == value || both_empty || key == "num_replicas" || contains(found, value);
        // `waybill provision` never shrinks a stream.
        let is_larger =
            key == "max_bytes" && found.as_i64().is_some_and(|found| found <= 0 || Some(found) > value.as_i64());
        (!same && !is_larger).then(|| format!("{key} is {found}, should be {value}"))
    };
    let different: Vec<String> = wanted.as_object().into_iter().flatten().filter_map(differing).collect();
    if different.is_empty() { Ok("as defined".to_owned()) } else { Err(different.join("; ")) }
}

/// Returns `true` if an object has all wanted members. The server adds members of its own.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| found.get(key) == Some(value))
        }
        _ => false,
    }
}
