//! Rows on their way into a table: column by column, each an array. Postgres takes these apart with a fifth of the work that
//! the same rows as JSON are.

use super::JsonText;
use crate::statement::Bind;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::net::IpAddr;
use uuid::Uuid;
use waybill_schema::RangeSet;

/// What a field of a row can be.
pub(crate) trait Column {
    /// Behind the column's name, where the table has another type than the array.
    const CAST: &'static str = "";

    /// The values of several rows.
    fn array<'a>(values: impl Iterator<Item = &'a Self>) -> Result<Bind, serde_json::Error>
    where
        Self: 'a;
}

macro_rules! columns {
    ($($type:ty => $bind:ident,)*) => {
        $(
            impl Column for $type {
                fn array<'a>(values: impl Iterator<Item = &'a Self>) -> Result<Bind, serde_json::Error> {
                    Ok(Bind::$bind(values.map(|value| Some(value.clone())).collect()))
                }
            }

            impl Column for Option<$type> {
                fn array<'a>(values: impl Iterator<Item = &'a Self>) -> Result<Bind, serde_json::Error> {
                    Ok(Bind::$bind(values.cloned().collect()))
                }
            }
        )*
    };
}

columns! {
    Uuid => OptionalUuids,
    i64 => BigInts,
    i32 => Integers,
    bool => Bools,
    DateTime<Utc> => Times,
}

impl Column for String {
    fn array<'a>(values: impl Iterator<Item = &'a Self>) -> Result<Bind, serde_json::Error> {
        Ok(Bind::Texts(values.map(Some).collect()))
    }
}

impl Column for Option<String> {
    fn array<'a>(values: impl Iterator<Item = &'a Self>) -> Result<Bind, serde_json::Error> {
        Ok(Bind::Texts(values.map(Option::as_ref).collect()))
    }
}

impl Column for Option<IpAddr> {
    const CAST: &'static str = "::inet";

    fn array<'a>(values: impl Iterator<Item = &'a Self>) -> Result<Bind, serde_json::Error> {
        Ok(Bind::Texts(values.map(|value| value.map(|value| value.to_string())).collect()))
    }
}

macro_rules! json {
    ($($type:ty,)*) => {
        $(
            impl Column for $type {
                const CAST: &'static str = "::jsonb";

                fn array<'a>(values: impl Iterator<Item = &'a Self>) -> Result<Bind, serde_json::Error> {
                    values.map(as_json).collect::<Result<_, _>>().map(Bind::Texts)
                }
            }
        )*
    };
}

json! {
    RangeSet,
    Option<JsonText>,
    Option<serde_json::Value>,
    Option<Vec<String>>,
}

/// The value as JSON; JSON's own `null` is no value.
fn as_json(value: &impl Serialize) -> Result<Option<String>, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    Ok((text != "null").then_some(text))
}
