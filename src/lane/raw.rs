//! Values in PostgreSQL's binary form, passed unchanged as a statement's parameters.
//!
//! The stream and the parameters use the same binary form, so a value is never parsed in
//! between. Keys are sent as one array per column; whole rows as one array of the source's row type,
//! which can also hold what no array of arrays could (columns that are arrays themselves).

use bytes::{BufMut, Bytes, BytesMut};
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::pg::copy::put;
use crate::replication::pgoutput::Value;

type BoxError = Box<dyn std::error::Error + Sync + Send>;

/// An array of values of one type, for `unnest($n::type[])`.
#[derive(Debug)]
pub struct Array {
    element_oid: u32,
    has_null: bool,
    length: i32,
    body: BytesMut,
}

impl Array {
    /// An empty array of elements of this type.
    #[must_use]
    pub fn of(element_oid: u32) -> Self {
        Self { element_oid, has_null: false, length: 0, body: BytesMut::new() }
    }

    /// Adds an element; `None` is NULL.
    pub fn push(&mut self, element: Option<&[u8]>) {
        self.length += 1;
        put(&mut self.body, element);
        self.has_null |= element.is_none();
    }

    /// Adds a row of a composite type; `fields` are type OID and value, in the order of its columns, without dropped
    /// ones.
    pub fn push_row<'a>(&mut self, fields: impl ExactSizeIterator<Item = (u32, Option<&'a [u8]>)>) {
        self.length += 1;
        let at = self.body.len();
        self.body.put_i32(0);
        self.body.put_i32(i32::try_from(fields.len()).unwrap_or(i32::MAX));
        for (oid, field) in fields {
            self.body.put_u32(oid);
            put(&mut self.body, field);
        }
        let length = i32::try_from(self.body.len() - at - 4).unwrap_or(i32::MAX);
        self.body[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

impl ToSql for Array {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        if self.length == 0 {
            out.put_i32(0);
            out.put_i32(0);
            out.put_u32(self.element_oid);
        } else {
            out.put_i32(1);
            out.put_i32(i32::from(self.has_null));
            out.put_u32(self.element_oid);
            out.put_i32(self.length);
            out.put_i32(1);
            out.put_slice(&self.body);
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A value of any type as the server sent it.
#[derive(Clone)]
pub struct Raw(pub Option<Bytes>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(Some(Bytes::copy_from_slice(raw))))
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxError> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl From<Raw> for Value {
    fn from(raw: Raw) -> Self {
        raw.0.map_or(Value::Null, Value::Binary)
    }
}
