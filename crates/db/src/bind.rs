//! Arguments as each driver takes them.

mod arrays;

use sqlx::{
    Arguments as _, Encode, Postgres, Type, encode::IsNull, error::BoxDynError,
    mysql::MySqlArguments, postgres::PgArguments, sqlite::SqliteArguments,
};

use crate::{Arg, Error, Result, Sql, sql::Slot};

fn cannot(error: BoxDynError) -> Error {
    Error::Broken(format!("an argument cannot be bound: {error}"))
}

fn missing(slot: &Slot, given: usize) -> Error {
    Error::Broken(format!(
        "a statement asks for argument {} of {given}",
        slot.arg + 1
    ))
}

/// The arguments in the order of the statement's placeholders.
pub(crate) fn in_order(sql: &Sql, args: Vec<Arg>) -> Result<Vec<Arg>> {
    let Some(slots) = &sql.slots else {
        return Ok(args);
    };
    let given = args.len();
    slots
        .iter()
        .map(|slot| {
            let arg = args.get(slot.arg).cloned();
            arg.ok_or_else(|| missing(slot, given))
        })
        .collect()
}

pub(crate) fn sqlite(args: Vec<Arg>) -> Result<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Null => arguments.add(None::<i64>),
            Arg::Int(n) => arguments.add(n),
            Arg::Text(text) => arguments.add(text),
            // Text of one width, whose order is the order of time.
            Arg::Time(time) => arguments.add(time.to_string()),
            Arg::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(cannot)?;
    }
    Ok(arguments)
}

pub(crate) fn mysql(sql: &Sql, args: Vec<Arg>) -> Result<MySqlArguments> {
    let args = in_order(sql, args)?;
    let mut arguments = MySqlArguments::default();
    arguments.reserve(args.len(), 0);
    for arg in args {
        match arg {
            Arg::Null => arguments.add(None::<i64>),
            Arg::Int(n) => arguments.add(n),
            Arg::Text(text) => arguments.add(text),
            Arg::Time(time) => arguments.add(time.utc()),
            Arg::Bytes(bytes) => arguments.add(bytes),
        }
        .map_err(cannot)?;
    }
    Ok(arguments)
}

pub(crate) fn postgres(sql: &Sql, args: Vec<Arg>) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    let Some(slots) = &sql.slots else {
        for arg in args {
            add_postgres(&mut arguments, arg)?;
        }
        return Ok(arguments);
    };
    let given = args.len();
    for slot in slots.iter() {
        let arg = args.get(slot.arg).ok_or_else(|| missing(slot, given))?;
        match (&slot.columns, arg) {
            (None, arg) => add_postgres(&mut arguments, arg.clone())?,
            (Some(columns), Arg::Text(rows)) => {
                arrays::split(rows, columns, slot.flat)?.bind(&mut arguments)?;
            }
            (Some(_), other) => {
                return Err(Error::Broken(format!(
                    "argument {} is no row set but {other:?}",
                    slot.arg + 1
                )));
            }
        }
    }
    Ok(arguments)
}

fn add_postgres(arguments: &mut PgArguments, arg: Arg) -> Result<()> {
    match arg {
        Arg::Null => arguments.add(Unknown),
        Arg::Int(n) => arguments.add(n),
        Arg::Text(text) => arguments.add(text),
        Arg::Time(time) => arguments.add(time.utc()),
        Arg::Bytes(bytes) => arguments.add(bytes),
    }
    .map_err(cannot)
}

/// A NULL whose type the server infers from where it stands.
struct Unknown;

impl Type<Postgres> for Unknown {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        sqlx::postgres::PgTypeInfo::with_oid(sqlx::postgres::types::Oid(0))
    }
}

impl Encode<'_, Postgres> for Unknown {
    fn encode_by_ref(
        &self,
        _: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}
