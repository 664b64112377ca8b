//! `POST /telemetry/batches`.

use crate::encoding::{Blob, Fixed, Hex};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;
use utoipa::ToSchema;

/// One record of a batch, or the leaf of one that was lost on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Entry {
    /// Canonical bytes of the record.
    Record(Blob),
    /// Only the hash that the signer gave.
    Lost(Gap),
}

// By hand, because an untagged enum does not say what is wrong with an entry.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record in base64, or {seq, leaf} of a lost one")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                Blob::deserialize(text.into_deserializer()).map(Entry::Record)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Gap::deserialize(MapAccessDeserializer::new(map)).map(Entry::Lost)
            }
        }

        d.deserialize_any(Either)
    }
}

/// The place of a lost record in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Its number.
    pub seq: u32,
    /// `H(0x00 || record)`.
    pub leaf: Fixed<32>,
}

/// Body of `POST /telemetry/batches`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Signed transaction of kind `telemetry/batch`.
    pub transaction: Blob,
    /// Every record of the batch in order of its number.
    pub records: Vec<Entry>,
}

/// Answer of `POST /telemetry/batches`: the records are on disk, the root waits for a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stored {
    /// The transaction.
    pub txhash: Hex<32>,
    /// Records on disk.
    pub stored: u32,
    /// Records of which only the leaf is on disk.
    pub gaps: u32,
    /// `accepted`, or `included` when a block holds it already.
    pub status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_apart_and_faults_named() {
        let leaf = "A".repeat(43) + "=";
        let text = format!("[\"AQI=\",{{\"seq\":3,\"leaf\":\"{leaf}\"}}]");
        let entries: Vec<Entry> = serde_json::from_str(&text).unwrap();
        let lost = Gap { seq: 3, leaf: Fixed([0; 32]) };
        assert_eq!(entries, [Entry::Record(Blob(vec![1, 2])), Entry::Lost(lost)]);
        assert_eq!(serde_json::to_string(&entries).unwrap(), text);
        for (text, reason) in [
            ("\"*\"", "not base64"),
            ("{\"seq\":3}", "missing field `leaf`"),
            ("{\"seq\":3,\"leaf\":\"AA==\"}", "32 bytes expected, 1 found"),
            ("{\"seq\":3,\"leaf\":\"\",\"x\":1}", "32 bytes expected, 0 found"),
            ("7", "a record in base64, or {seq, leaf}"),
        ] {
            let error = serde_json::from_str::<Entry>(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
