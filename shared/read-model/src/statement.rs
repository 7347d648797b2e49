//! Prepared statements, which are cached per connection.
//!
//! `diesel::sql_query` makes PostgreSQL parse and plan a text each time. On tables with many partitions, planning takes
//! longer than the execution. [`Statement`] is planned once per connection.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{
    Array, BigInt, Bool as SqlBool, HasSqlType, Integer, Nullable, Text, Timestamptz, Untyped, Uuid as SqlUuid,
};
use std::io::Write;
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
    Texts(Texts),
    BigInts(Vec<Option<i64>>),
    Integers(Vec<Option<i32>>),
    OptionalUuids(Vec<Option<Uuid>>),
    Times(Vec<Option<DateTime<Utc>>>),
    Bools(Vec<Option<bool>>),
}

/// Texts or NULLs, concatenated to avoid an allocation for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    all: String,
    /// The end of each text in `all`; `None` for a NULL.
    ends: Vec<Option<usize>>,
}

impl Texts {
    fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let end = (*end)?;
            let text = self.all.get(from..end).unwrap_or_default();
            from = end;
            Some(text)
        })
    }
}

impl<S: AsRef<str>> FromIterator<Option<S>> for Texts {
    fn from_iter<I: IntoIterator<Item = Option<S>>>(texts: I) -> Self {
        let mut collected = Self::default();
        for text in texts {
            let end = text.map(|text| {
                collected.all.push_str(text.as_ref());
                collected.all.len()
            });
            collected.ends.push(end);
        }
        collected
    }
}

/// The binary format of `array_recv` in PostgreSQL: number of dimensions, a flag for NULLs, type of the elements,
/// number of elements, first index, and then each element with its length.
impl ToSql<Array<Nullable<Text>>, Pg> for Texts {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let has_nulls = self.ends.iter().any(Option::is_none);
        let oid = <Pg as HasSqlType<Text>>::metadata(out.metadata_lookup()).oid()?;
        out.write_all(&1_i32.to_be_bytes())?;
        out.write_all(&i32::from(has_nulls).to_be_bytes())?;
        out.write_all(&oid.to_be_bytes())?;
        out.write_all(&i32::try_from(self.ends.len())?.to_be_bytes())?;
        out.write_all(&1_i32.to_be_bytes())?;
        for text in self.iter() {
            match text {
                None => out.write_all(&(-1_i32).to_be_bytes())?,
                Some(text) => {
                    out.write_all(&i32::try_from(text.len())?.to_be_bytes())?;
                    out.write_all(text.as_bytes())?;
                }
            }
        }
        Ok(IsNull::No)
    }
}

impl Bind {
    /// Returns an array in the text format of PostgreSQL and the type of its elements, or `None` if the value is not an
    /// array.
    fn to_literal(&self) -> Option<(String, &'static str)> {
        fn literal<T: ToString>(values: impl Iterator<Item = Option<T>>) -> String {
            let element = |value: Option<T>| match value {
                None => "NULL".to_owned(),
                Some(value) => format!("\"{}\"", value.to_string().replace('\\', "\\\\").replace('"', "\\\"")),
            };
            format!("{{{}}}", values.map(element).collect::<Vec<_>>().join(","))
        }
        match self {
            Self::Texts(values) => Some((literal(values.iter()), "text")),
            Self::BigInts(values) => Some((literal(values.iter().map(Option::as_ref)), "bigint")),
            Self::Integers(values) => Some((literal(values.iter().map(Option::as_ref)), "integer")),
            Self::OptionalUuids(values) => Some((literal(values.iter().map(Option::as_ref)), "uuid")),
            Self::Uuids(values) => Some((literal(values.iter().map(Some)), "uuid")),
            Self::Times(values) => Some((literal(values.iter().map(Option::as_ref)), "timestamptz")),
            Self::Bools(values) => Some((literal(values.iter().map(Option::as_ref)), "boolean")),
            Self::Text(_) | Self::BigInt(_) | Self::Integer(_) | Self::Uuid(_) | Self::Time(_) | Self::Bool(_) => None,
        }
    }
}

/// SQL text with `?` as placeholders, and the values in their order.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    text: String,
    binds: Vec<Bind>,
}

impl Statement {
    /// Returns the statement that explains this one.
    pub(crate) fn explained(self) -> Self {
        Self { text: format!("EXPLAIN {}", self.text), binds: self.binds }
    }

    /// Returns a statement that runs this one with `pg_temp.waybill_told`, which returns permanent errors as text.
    /// Returns `None` if not all values are arrays.
    pub(crate) fn told(&self) -> Option<Self> {
        let arrays: Option<Vec<(String, &str)>> = self.binds.iter().map(Bind::to_literal).collect();
        let (values, types): (Vec<Option<String>>, Vec<&str>) =
            arrays?.into_iter().map(|(literal, of)| (Some(literal), of)).unzip();
        let mut pieces = self.text.split('?');
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for (n, (piece, of)) in pieces.zip(types).enumerate() {
            text.push_str(&format!("($1)[{}]::{of}[]{piece}", n + 1));
        }
        Some(Self::new(
            "SELECT pg_temp.waybill_told(?, ?) AS refused",
            [Bind::Text(text), Bind::Texts(values.iter().map(Option::as_deref).collect())],
        ))
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

    // Prepared statements are cached by their text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Untyped;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_become_literals_that_postgres_reads() {
        let texts: Texts = [Some("a \"b\" \\ c, {d}"), None, Some(""), Some("NULL")].into_iter().collect();
        let texts = Bind::Texts(texts);
        assert_eq!(texts.to_literal(), Some((r#"{"a \"b\" \\ c, {d}",NULL,"","NULL"}"#.to_owned(), "text")));
        let statement = Statement::new("SELECT unnest(?), unnest(?) AS n", [texts, Bind::BigInts(vec![Some(-7)])]);
        let told = statement.told().unwrap();
        let Bind::Text(text) = &told.binds[0] else { panic!("{told:?}") };
        assert_eq!(text, "SELECT unnest(($1)[1]::text[]), unnest(($1)[2]::bigint[]) AS n");
        assert!(Statement::new("SELECT ?", [Bind::BigInt(1)]).told().is_none());
    }
}
