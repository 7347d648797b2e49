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
use std::marker::PhantomData;
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
    /// Adds the value to a statement as its next parameter.
    fn push<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match self {
            Self::Text(value) => out.push_bind_param::<Text, _>(value),
            Self::BigInt(value) => out.push_bind_param::<BigInt, _>(value),
            Self::Integer(value) => out.push_bind_param::<Integer, _>(value),
            Self::Uuid(value) => out.push_bind_param::<SqlUuid, _>(value),
            Self::Time(value) => out.push_bind_param::<Timestamptz, _>(value),
            Self::Bool(value) => out.push_bind_param::<SqlBool, _>(value),
            Self::Uuids(value) => out.push_bind_param::<Array<SqlUuid>, _>(value),
            Self::Texts(value) => out.push_bind_param::<Array<Nullable<Text>>, _>(value),
            Self::BigInts(value) => out.push_bind_param::<Array<Nullable<BigInt>>, _>(value),
            Self::Integers(value) => out.push_bind_param::<Array<Nullable<Integer>>, _>(value),
            Self::OptionalUuids(value) => out.push_bind_param::<Array<Nullable<SqlUuid>>, _>(value),
            Self::Times(value) => out.push_bind_param::<Array<Nullable<Timestamptz>>, _>(value),
            Self::Bools(value) => out.push_bind_param::<Array<Nullable<SqlBool>>, _>(value),
        }
    }

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

/// SQL text in which `:name` stands for the value with this name, as often as it is needed.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pieces: Vec<Piece>,
    /// The values in the order in which the text first uses them.
    binds: Vec<Bind>,
    /// `false` if PostgreSQL must forget the statement after its execution.
    is_cached: bool,
}

/// A piece of the text of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Sql(String),
    /// Index of a value in [`Statement::binds`].
    Value(usize),
    /// Name without a value.
    Unknown(String),
}

impl Statement {
    /// Creates a statement. The names of `binds` consist of letters, digits and underscores. The text must not contain a
    /// colon before a letter for another purpose, but may contain casts such as `::text`.
    pub(crate) fn new(text: &str, binds: impl IntoIterator<Item = (&'static str, Bind)>) -> Self {
        let mut given: Vec<(&'static str, Option<Bind>)> =
            binds.into_iter().map(|(name, bind)| (name, Some(bind))).collect();
        let (mut pieces, mut used, mut binds) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = text;
        while let Some((sql, name, after)) = next_name(rest) {
            pieces.push(Piece::Sql(sql.to_owned()));
            rest = after;
            if let Some(index) = used.iter().position(|known| *known == name) {
                pieces.push(Piece::Value(index));
                continue;
            }
            let value = given.iter_mut().find(|(known, _)| *known == name).and_then(|(_, bind)| bind.take());
            pieces.push(value.map_or_else(
                || Piece::Unknown(name.to_owned()),
                |bind| {
                    used.push(name);
                    binds.push(bind);
                    Piece::Value(binds.len() - 1)
                },
            ));
        }
        pieces.push(Piece::Sql(rest.to_owned()));
        Self { pieces, binds, is_cached: true }
    }

    /// Returns the statement as one that PostgreSQL forgets after its execution. A connection keeps a cached statement and its plan as
    /// long as it lives, so only statements of which there are few may be cached.
    pub(crate) fn forgotten(self) -> Self {
        Self { is_cached: false, ..self }
    }

    /// Returns the statement as one whose rows have the columns `T`, in this order.
    pub(crate) fn typed<T>(self) -> Typed<T> {
        Typed(self, PhantomData)
    }

    /// Returns the statement that explains this one.
    pub(crate) fn explained(mut self) -> Self {
        self.pieces.insert(0, Piece::Sql("EXPLAIN ".to_owned()));
        self
    }

    /// Returns a statement that runs this one with `pg_temp.waybill_told`, which returns permanent errors as text.
    /// Returns `None` if not all values are arrays.
    pub(crate) fn told(&self) -> Option<Self> {
        let arrays: Vec<(String, &str)> = self.binds.iter().map(Bind::to_literal).collect::<Option<_>>()?;
        let piece = |piece: &Piece| match piece {
            Piece::Sql(sql) => Some(sql.clone()),
            Piece::Value(index) => arrays.get(*index).map(|(_, of)| format!("($1)[{}]::{of}[]", index + 1)),
            Piece::Unknown(_) => None,
        };
        let text: String = self.pieces.iter().map(piece).collect::<Option<_>>()?;
        let values = Bind::Texts(arrays.iter().map(|(literal, _)| Some(literal)).collect());
        let told = "SELECT pg_temp.waybill_told(:statement, :values) AS refused";
        Some(Self::new(told, [("statement", Bind::Text(text)), ("values", values)]))
    }
}

/// Returns the text before the first name, the name, and the text after it.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let colon = from + text.get(from..)?.find(':')?;
        let after = text.get(colon + 1..)?;
        if after.starts_with(':') {
            from = colon + 2;
            continue;
        }
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        if after.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Some((text.get(..colon)?, after.get(..end)?, after.get(end..)?));
        }
        from = colon + 1;
    }
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.is_cached {
            out.unsafe_to_cache_prepared();
        }
        let mut pushed = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Sql(sql) => out.push_sql(sql),
                // PostgreSQL numbers parameters from 1. Another use of the same value refers to its number.
                Piece::Value(index) if *index < pushed => out.push_sql(&format!("${}", index + 1)),
                Piece::Value(index) => {
                    self.binds.get(*index).map_or(Ok(()), |bind| bind.push(out.reborrow()))?;
                    pushed = index + 1;
                }
                Piece::Unknown(name) => {
                    return Err(diesel::result::Error::QueryBuilderError(format!("no value for :{name}").into()));
                }
            }
        }
        Ok(())
    }
}

/// A statement whose rows have the columns `T`, in this order.
pub(crate) struct Typed<T>(Statement, PhantomData<fn() -> T>);

impl<T> QueryFragment<Pg> for Typed<T> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<T> QueryId for Typed<T> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T> Query for Typed<T> {
    type SqlType = T;
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
        let binds = [("texts", texts), ("numbers", Bind::BigInts(vec![Some(-7)]))];
        let statement = Statement::new("SELECT unnest(:texts), unnest(:numbers) AS n", binds);
        let told = statement.told().unwrap();
        let Bind::Text(text) = &told.binds[0] else { panic!("{told:?}") };
        assert_eq!(text, "SELECT unnest(($1)[1]::text[]), unnest(($1)[2]::bigint[]) AS n");
        assert!(Statement::new("SELECT :one", [("one", Bind::BigInt(1))]).told().is_none());
    }

    fn sql_of(statement: &Statement) -> String {
        diesel::debug_query::<Pg, _>(statement).to_string()
    }

    #[test]
    fn a_name_stands_for_the_same_value_wherever_it_is() {
        let binds = [("b", Bind::BigInt(2)), ("a_1", Bind::BigInt(1)), ("spare", Bind::BigInt(3))];
        let statement = Statement::new("SELECT :a_1::text, x ? 'y', :b, (:a_1) + 1 ::bigint", binds);
        assert_eq!(sql_of(&statement), "SELECT $1::text, x ? 'y', $2, ($1) + 1 ::bigint -- binds: [1, 2]");
        let explained = sql_of(&statement.explained());
        assert_eq!(explained, "EXPLAIN SELECT $1::text, x ? 'y', $2, ($1) + 1 ::bigint -- binds: [1, 2]");
    }

    #[test]
    fn a_name_without_a_value_is_an_error() {
        use diesel::query_builder::QueryBuilder;
        let statement = Statement::new("SELECT :one", []);
        let mut builder = diesel::pg::PgQueryBuilder::default();
        let error = statement.to_sql(&mut builder, &Pg).unwrap_err();
        assert!(error.to_string().contains(":one"), "{error} {}", builder.finish());
    }
}
