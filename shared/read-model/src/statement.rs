//! Statements that are sent again and again.
//!
//! `diesel::sql_query` has Postgres parse and plan a text each time. These are planned once a connection: on tables with
//! many partitions planning takes longer than what is planned.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{
    Array, BigInt, Bool as SqlBool, Integer, Nullable, Text, Timestamptz, Untyped, Uuid as SqlUuid,
};
use uuid::Uuid;

/// A value of a statement.
#[derive(Clone, Debug)]
pub enum Bind {
    Text(String),
    BigInt(i64),
    Integer(i32),
    Uuid(Uuid),
    Uuids(Vec<Uuid>),
    Time(DateTime<Utc>),
    Bool(bool),
    Texts(Vec<Option<String>>),
    BigInts(Vec<Option<i64>>),
    Integers(Vec<Option<i32>>),
    OptionalUuids(Vec<Option<Uuid>>),
    Times(Vec<Option<DateTime<Utc>>>),
    Bools(Vec<Option<bool>>),
}

/// A text with `?` where its values go, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    text: String,
    binds: Vec<Bind>,
}

impl Statement {
    /// The same, as a question for its plan.
    pub(crate) fn explained(self) -> Self {
        Self { text: format!("EXPLAIN {}", self.text), binds: self.binds }
    }

    /// The same, as a question whether its value will never be taken; of statements with one text alone.
    pub(crate) fn told(&self) -> Option<Self> {
        let [Bind::Text(value)] = self.binds.as_slice() else { return None };
        let text = Bind::Text(self.text.replacen('?', "$1", 1));
        Some(Self::new("SELECT pg_temp.waybill_told(?, ?) AS refused", [text, Bind::Text(value.clone())]))
    }

    pub(crate) fn new(text: impl Into<String>, binds: impl IntoIterator<Item = Bind>) -> Self {
        Self { text: text.into(), binds: binds.into_iter().collect() }
    }
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut pieces = self.text.split('?');
        out.push_sql(pieces.next().unwrap_or_default());
        for (piece, bind) in pieces.zip(&self.binds) {
            match bind {
                Bind::Text(value) => out.push_bind_param::<Text, _>(value)?,
                Bind::BigInt(value) => out.push_bind_param::<BigInt, _>(value)?,
                Bind::Integer(value) => out.push_bind_param::<Integer, _>(value)?,
                Bind::Uuid(value) => out.push_bind_param::<SqlUuid, _>(value)?,
                Bind::Time(value) => out.push_bind_param::<Timestamptz, _>(value)?,
                Bind::Bool(value) => out.push_bind_param::<SqlBool, _>(value)?,
                Bind::Uuids(value) => out.push_bind_param::<Array<SqlUuid>, _>(value)?,
                Bind::Texts(value) => out.push_bind_param::<Array<Nullable<Text>>, _>(value)?,
                Bind::BigInts(value) => out.push_bind_param::<Array<Nullable<BigInt>>, _>(value)?,
                Bind::Integers(value) => out.push_bind_param::<Array<Nullable<Integer>>, _>(value)?,
                Bind::OptionalUuids(value) => out.push_bind_param::<Array<Nullable<SqlUuid>>, _>(value)?,
                Bind::Times(value) => out.push_bind_param::<Array<Nullable<Timestamptz>>, _>(value)?,
                Bind::Bools(value) => out.push_bind_param::<Array<Nullable<SqlBool>>, _>(value)?,
            }
            out.push_sql(piece);
        }
        Ok(())
    }
}

impl QueryId for Statement {
    type QueryId = ();

    // Told apart by their texts.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}
