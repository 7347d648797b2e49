//! Frames of the WebSocket protocol `waybill.v1`. They are JSON text, and the member `t` names their type.
//!
//! Servers can be newer than clients. A client therefore ignores frames and members that it does not know.

mod client;
mod close;
mod server;
mod topic;

pub use client::{ClientFrame, ResumeFrom};
pub use close::Close;
pub use server::{ProgressFacts, Refusal, ServerFrame, Stage};
pub use topic::{InvalidTopic, Topic};

use serde_json::{Value, json};
use utoipa::OpenApi;

/// Name of the WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "waybill.v1";

/// Place of the schemas in an OpenAPI document, which the generated references name.
const IN_OPENAPI: &str = "#/components/schemas/";

#[derive(OpenApi)]
#[openapi(components(schemas(ClientFrame, ServerFrame)))]
struct Frames;

/// Returns the JSON Schemas (2020-12) of all frames. The schemas are the members of `$defs`: `ClientFrame`,
/// `ServerFrame`, and the types that those contain.
pub fn json_schemas() -> Value {
    let components = serde_json::to_value(Frames::openapi().components).unwrap_or_default();
    let mut schemas = components["schemas"].clone();
    move_references(&mut schemas);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Frames of the WebSocket protocol waybill.v1",
        "$defs": schemas,
    })
}

/// Makes the references name `$defs`.
fn move_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "$ref" => *text = text.replace(IN_OPENAPI, "#/$defs/"),
                    member => move_references(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Extensible;
    use uuid::Uuid;
    use waybill_schema::UploadId;

    fn text(frame: &ServerFrame) -> String {
        serde_json::to_string(frame).unwrap()
    }

    #[test]
    fn refusals_have_the_codes_of_the_contract() {
        let codes = [
            (Refusal::NotFound, "not_found"),
            (Refusal::Unavailable, "unavailable"),
            (Refusal::Lagging, "lagging"),
            (Refusal::IdInUse, "id_in_use"),
            (Refusal::TooManyTopics, "too_many_topics"),
            (Refusal::FrameInvalid, "frame_invalid"),
            (Refusal::TokenInvalid, "token_invalid"),
        ];
        for (refusal, code) in codes {
            let frame = text(&ServerFrame::Err { id: Some(1), code: refusal.into() });
            assert_eq!(frame, format!(r#"{{"t":"err","id":1,"code":"{code}"}}"#));
            assert_eq!(refusal.to_string(), code);
        }
        let frame = text(&ServerFrame::Err { id: None, code: Refusal::FrameInvalid.into() });
        assert_eq!(frame, r#"{"t":"err","code":"frame_invalid"}"#);
    }

    #[test]
    fn progress_has_the_members_of_the_contract() {
        let upload_id = UploadId(Uuid::nil());
        for (stage, name) in [(Stage::Uploading, "uploading"), (Stage::Verifying, "verifying"), (Stage::Ended, "ended")]
        {
            let progress = ProgressFacts {
                upload_id,
                stage: stage.into(),
                bytes_uploaded: 7,
                total_bytes: 100,
                progress_percentage: 0,
                upload_speed_bytes_per_s: 0,
                estimated_time_remaining_s: None,
                current_chunk: 0,
                total_chunks: 1,
            };
            let frame = ServerFrame::Prog { id: 1, topic: Topic::Upload(upload_id).to_string(), seq: 2, progress };
            let members = [
                r#"{"t":"prog","id":1,"topic":"upload:00000000-0000-0000-0000-000000000000","seq":2"#,
                r#""upload_id":"00000000-0000-0000-0000-000000000000""#,
                &format!(r#""stage":"{name}""#),
                r#""bytes_uploaded":7,"total_bytes":100,"progress_percentage":0,"upload_speed_bytes_per_s":0"#,
                r#""estimated_time_remaining_s":null,"current_chunk":0,"total_chunks":1}"#,
            ];
            assert_eq!(text(&frame), members.join(","));
            assert_eq!(serde_json::from_str::<ServerFrame>(&text(&frame)).unwrap(), frame);
        }
    }

    #[test]
    fn frames_of_newer_servers_are_read() {
        let read = |text: &str| serde_json::from_str::<ServerFrame>(text).unwrap();
        assert_eq!(read(r#"{"t":"new","id":1,"code":{}}"#), ServerFrame::Unknown);
        assert_eq!(read(r#"{"t":"reset","id":1,"new":[2]}"#), ServerFrame::Reset { id: 1 });
        let code = Extensible::Unknown("new".to_owned());
        assert_eq!(read(r#"{"t":"err","code":"new"}"#), ServerFrame::Err { id: None, code });
        assert!(serde_json::to_string(&ServerFrame::Unknown).is_err(), "no server sends it");
    }

    #[test]
    fn a_subscription_has_the_members_of_the_contract() {
        let frame = ClientFrame::Sub { id: 1, topic: "upload:a".to_owned(), from: None };
        let text = serde_json::to_string(&frame).unwrap();
        assert_eq!(text, r#"{"t":"sub","id":1,"topic":"upload:a"}"#);
        assert_eq!(serde_json::from_str::<ClientFrame>(&text).unwrap(), frame);
    }

    #[test]
    fn every_reference_in_the_schemas_names_a_schema() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let (schemas, mut found) = (json_schemas(), Vec::new());
        references(&schemas, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(schemas.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
