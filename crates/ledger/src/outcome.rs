//! What a transaction did: accepted or refused, and the events it caused (`spec/ledger.md`, L75).

use alloc::{borrow::Cow, string::String, vec::Vec};

use crate::{
    codec::{Canonical, FormatError, Reader, Writer},
    reject::Rejection,
};

const VERSION: u64 = 1;
/// Most events of one result.
pub const MAX_EVENTS: usize = 64;
/// Most attributes of one event.
pub const MAX_ATTRIBUTES: usize = 32;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 1024;

/// The value of an event's attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An unsigned integer.
    Uint(u64),
    /// A byte string: identifiers and digests.
    Bytes(Vec<u8>),
    /// A text.
    Text(String),
}

impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Self::Uint(v)
    }
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Self::Uint(v.into())
    }
}

impl From<&[u8]> for Value {
    fn from(v: &[u8]) -> Self {
        Self::Bytes(v.into())
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Text(v.into())
    }
}

/// Something that happened, for indexes, web hooks and consoles. Never holds key material (L75).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Kind, for example `ComponentRegistered`.
    pub kind: Cow<'static, str>,
    /// Attributes in a fixed order per kind.
    pub attributes: Vec<(Cow<'static, str>, Value)>,
}

impl Event {
    /// An event without attributes.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self { kind: kind.into(), attributes: Vec::new() }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// The attribute called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

impl Canonical for Event {
    fn write(&self, w: &mut Writer) {
        w.array(2).text(&self.kind).array(self.attributes.len());
        for (name, value) in &self.attributes {
            w.array(3).text(name);
            match value {
                Value::Uint(v) => w.uint(0).uint(*v),
                Value::Bytes(v) => w.uint(1).bytes(v),
                Value::Text(v) => w.uint(2).text(v),
            };
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        if r.array(2)? != 2 {
            return Err(FormatError::Unexpected);
        }
        let kind = String::from(r.text(MAX_NAME)?).into();
        let n = r.array(MAX_ATTRIBUTES)?;
        let mut attributes = Vec::with_capacity(n);
        for _ in 0..n {
            if r.array(3)? != 3 {
                return Err(FormatError::Unexpected);
            }
            let name = String::from(r.text(MAX_NAME)?).into();
            let value = match r.uint()? {
                0 => Value::Uint(r.uint()?),
                1 => Value::Bytes(r.bytes(MAX_VALUE)?.into()),
                2 => Value::Text(r.text(MAX_VALUE)?.into()),
                _ => return Err(FormatError::Unexpected),
            };
            attributes.push((name, value));
        }
        Ok(Self { kind, attributes })
    }
}

/// The result of one transaction in a block. Its bytes are a leaf of the next header's `result_root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxResult {
    /// `None` when accepted.
    pub rejection: Option<Rejection>,
    /// Events of an accepted transaction, in order; empty for a refused one.
    pub events: Vec<Event>,
}

impl TxResult {
    /// Whether the transaction took effect.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.rejection.is_none()
    }
}

impl Canonical for TxResult {
    fn write(&self, w: &mut Writer) {
        w.object(3, VERSION).uint(1).uint(self.rejection.map_or(0, Rejection::number));
        w.uint(2).array(self.events.len());
        for event in &self.events {
            w.item(event);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, FormatError> {
        r.object(3, VERSION)?;
        r.key(1)?;
        let rejection = match r.uint()? {
            0 => None,
            n => Some(Rejection::from_number(n).ok_or(FormatError::Unexpected)?),
        };
        r.key(2)?;
        let n = r.array(MAX_EVENTS)?;
        let events = (0..n).map(|_| r.item()).collect::<Result<_, _>>()?;
        Ok(Self { rejection, events })
    }
}
