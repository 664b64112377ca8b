//! How bytes travel in JSON: base64 for content, lower-case hexadecimal for identifiers.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::{borrow::Cow, fmt, str::FromStr};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// Bytes of any length; base64 (standard alphabet, padded) in JSON.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Blob(bytes.into())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(Text("base64 text", |text: &str| {
            STANDARD.decode(text).map(Blob).map_err(|e| format!("not base64: {e}"))
        }))
    }
}

/// Exactly `N` bytes; base64 (standard alphabet, padded) in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fixed<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Debug for Fixed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fixed({N} bytes)")
    }
}

impl<const N: usize> Serialize for Fixed<N> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Fixed<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(Text("base64 text", |text: &str| {
            let bytes = STANDARD.decode(text).map_err(|e| format!("not base64: {e}"))?;
            let found = bytes.len();
            bytes.try_into().map(Fixed).map_err(|_| format!("{N} bytes expected, {found} found"))
        }))
    }
}

/// Exactly `N` bytes; lower-case hexadecimal in JSON and in paths. Upper case is accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex({self})")
    }
}

/// Text that is not the hexadecimal form of the expected number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{digits} hexadecimal digits expected")]
pub struct NotHex {
    /// How many digits were expected.
    pub digits: usize,
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = NotHex;

    fn from_str(text: &str) -> Result<Self, NotHex> {
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotHex { digits: 2 * N })?;
        Ok(Hex(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(Text("hexadecimal text", |text: &str| {
            text.parse().map_err(|e: NotHex| e.to_string())
        }))
    }
}

/// The form of a component id (A4), in the published contract.
pub enum ComponentId {}
/// The form of a label (A4), in the published contract.
pub enum Label {}
/// The form of an 11-bit base of messages, in the published contract.
pub enum Base {}

/// How a text is described in the published contract (A200).
pub(crate) fn text(pattern: &str, description: String) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    text.description(Some(description)).into()
}

/// Base64 of `bytes` bytes, or of any number of them.
fn base64_pattern(bytes: Option<usize>) -> String {
    let Some(bytes) = bytes else {
        return "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$"
            .into();
    };
    let digits = bytes / 3 * 4;
    match bytes % 3 {
        0 => format!("^[A-Za-z0-9+/]{{{digits}}}$"),
        1 => format!("^[A-Za-z0-9+/]{{{}}}[AQgw]==$", digits + 1),
        _ => format!("^[A-Za-z0-9+/]{{{}}}[AEIMQUYcgkosw048]=$", digits + 2),
    }
}

impl PartialSchema for Blob {
    fn schema() -> RefOr<Schema> {
        text(&base64_pattern(None), "Bytes in base64, standard alphabet, padded.".into())
    }
}

impl ToSchema for Blob {}

impl<const N: usize> PartialSchema for Fixed<N> {
    fn schema() -> RefOr<Schema> {
        text(&base64_pattern(Some(N)), format!("{N} bytes in base64, standard alphabet, padded."))
    }
}

impl<const N: usize> ToSchema for Fixed<N> {
    fn name() -> Cow<'static, str> {
        format!("Base64Of{N}").into()
    }
}

impl<const N: usize> PartialSchema for Hex<N> {
    fn schema() -> RefOr<Schema> {
        text(&format!("^[0-9A-Fa-f]{{{}}}$", 2 * N), format!("{N} bytes in hexadecimal."))
    }
}

impl<const N: usize> ToSchema for Hex<N> {
    fn name() -> Cow<'static, str> {
        format!("HexOf{N}").into()
    }
}

impl PartialSchema for ComponentId {
    fn schema() -> RefOr<Schema> {
        text(
            "^[A-Za-z0-9_-]{3,64}$",
            "A component id; where it is asked for, a cid in hexadecimal too.".into(),
        )
    }
}

impl ToSchema for ComponentId {}

impl PartialSchema for Label {
    fn schema() -> RefOr<Schema> {
        text("^[^\\x00-\\x1f\\x7f-\\x9f]{1,64}$", "1 to 64 bytes of UTF-8 without control characters.".into())
    }
}

impl ToSchema for Label {}

impl PartialSchema for Base {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0x400)).maximum(Some(0x5FF)).into()
    }
}

impl ToSchema for Base {}

/// Reads a text with a function.
struct Text<F>(&'static str, F);

impl<'de, T, F: Fn(&str) -> Result<T, String>> Visitor<'de> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_text() {
        assert_eq!(serde_json::to_string(&Blob(vec![0xFB, 0xFF])).unwrap(), "\"+/8=\"");
        assert_eq!(serde_json::to_string(&Hex([0xAB, 1])).unwrap(), "\"ab01\"");
        assert_eq!(serde_json::from_str::<Hex<2>>("\"AB01\"").unwrap(), Hex([0xAB, 1]));
    }

    #[test]
    fn wrong_texts_are_refused_with_a_reason() {
        for (text, reason) in [
            ("\"AAA=\"", "3 bytes expected, 2 found"),
            ("\"AAAAAA==\"", "3 bytes expected, 4 found"),
            ("\"-_8=\"", "not base64"),
            ("\"AAE\"", "not base64"),
            ("7", "expected base64 text"),
        ] {
            let error = serde_json::from_str::<Fixed<3>>(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for text in ["\"\"", "\"ab0\"", "\"ab01ff\"", "\"zz01\""] {
            let error = serde_json::from_str::<Hex<2>>(text).unwrap_err().to_string();
            assert!(error.contains("4 hexadecimal digits expected"), "{text}: {error}");
        }
    }
}
