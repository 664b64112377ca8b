//! Access to the replicated state: ordered keys, opaque values, and layers of uncommitted writes.
//!
//! A store implements [`View`]; the state machine writes through [`Overlay`]s: one per block over the store and
//! one per transaction over that, so that a refused transaction leaves no trace.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use crate::codec::{Canonical, FormatError};

/// A reason to stop the replica: its store or an invariant is broken, or it is too old for the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The store failed; the text says how.
    Store(String),
    /// A stored object cannot be read back.
    Corrupt(FormatError),
    /// An invariant of the state does not hold; the text names it.
    Invariant(&'static str),
    /// The chain goes on under rules of a version that this build does not have (L164).
    Rules(u32),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(text) => write!(f, "the store failed: {text}"),
            Self::Corrupt(e) => write!(f, "the stored state is damaged: {e}"),
            Self::Invariant(name) => write!(f, "the ledger's invariant is broken: {name}"),
            Self::Rules(version) => {
                write!(f, "the chain goes on under rules of version {version}, which a newer build has")
            }
        }
    }
}

impl core::error::Error for Halt {}

/// Reads a committed or layered state.
pub trait View {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`Halt`] when the store fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt>;
}

impl<V: View + ?Sized> View for &V {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        (**self).get(key)
    }
}

/// Writes of a block or transaction: `Some` puts, `None` deletes.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Uncommitted writes over a view.
pub struct Overlay<V> {
    below: V,
    writes: Writes,
}

impl<V: View> Overlay<V> {
    /// An empty layer over `below`.
    pub fn new(below: V) -> Self {
        Self { below, writes: Writes::new() }
    }

    /// The writes of this layer.
    pub fn into_writes(self) -> Writes {
        self.writes
    }

    /// Takes over the writes of a layer that was on top of this one.
    pub fn absorb(&mut self, writes: Writes) {
        self.writes.extend(writes);
    }

    /// Puts a value.
    pub fn put_raw(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    /// Puts an object.
    pub fn put(&mut self, key: Vec<u8>, value: &impl Canonical) {
        self.put_raw(key, value.to_bytes());
    }

    /// Removes what is under `key`.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// Keys written in this layer that begin with `prefix`.
    pub fn touched<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.writes.keys().map(Vec::as_slice).filter(move |k| k.starts_with(prefix))
    }
}

impl<V: View> View for Overlay<V> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.below.get(key),
        }
    }
}

/// Reads the object under `key`.
///
/// # Errors
/// [`Halt`] when the store fails or the object is damaged.
pub fn load<T: Canonical>(view: &(impl View + ?Sized), key: &[u8]) -> Result<Option<T>, Halt> {
    view.get(key)?.map(|bytes| T::from_bytes(&bytes).map_err(Halt::Corrupt)).transpose()
}

/// A state in memory: the writes since an empty one.
impl View for Writes {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Halt> {
        Ok(BTreeMap::get(self, key).cloned().flatten())
    }
}
