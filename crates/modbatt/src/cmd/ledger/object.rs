//! Objects of the state: under which key they stand, and how they are shown.

use lct::id::{BindingId, Cid, PairingId};
use lct::sign::PublicKey;
use lct::trust::TrustContext;
use ledger::records::{
    Account, Binding, Component, Cycle, FieldName, Lct, Nonce, Ownership, Pairing, Pool, SigningKey,
    TelemetryHead, Totals, TrustSubject, Usage, key,
};
use serde_json::{Map, Value, json};

use super::super::Failure;

type Fields = &'static [FieldName];

/// Deepest nesting that is shown.
const DEPTH: u8 = 16;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Counts and sums over the whole chain
    Totals,
    /// The parameters in force
    Params,
    /// The validators of the next block
    Validators,
    /// A component, by its id
    Component,
    /// Whose a component is, by its id
    Owner,
    /// An LCT, by its id
    Lct,
    /// A binding, by its id
    Binding,
    /// A pairing, by its id
    Pairing,
    /// What a pairing allows and how often it was used, by its id
    Usage,
    /// An account, by its key
    Account,
    /// The last number that an account used, by its key
    Nonce,
    /// Whose a signing key is, by the key
    SigningKey,
    /// How far the telemetry of a component reaches, by its id
    Telemetry,
    /// The energy account of a pack, by its id
    Energy,
    /// The sums of an energy cycle, by ID/CYCLE
    Cycle,
    /// The trust tensor of a component, by ID/CONTEXT
    Trust,
    /// Whatever stands under a key of the state, in hexadecimal
    Key,
}

/// What is asked for.
pub struct Subject {
    /// Of the state.
    pub key: Vec<u8>,
    fields: Fields,
}

impl Subject {
    /// The object of `kind` that `id` names.
    pub fn of(kind: Kind, id: Option<&str>) -> Result<Self, Failure> {
        let id = || id.ok_or_else(|| Failure::Input("this kind of object needs the ID of one".into()));
        let part = || {
            let (id, rest) = id()?.split_once('/').ok_or_else(|| wrong("ID/CYCLE or ID/CONTEXT"))?;
            Ok::<_, Failure>((Cid::of(id), rest))
        };
        let cid = || id().map(Cid::of);
        let public = || bytes(id()?).map(PublicKey);
        let (key, fields): (Vec<u8>, Fields) = match kind {
            Kind::Totals => (key::TOTALS.into(), Totals::FIELDS),
            Kind::Params => (key::PARAMS.into(), &[]),
            Kind::Validators => (key::VALIDATORS.into(), &[]),
            Kind::Component => (key::component(&cid()?), Component::FIELDS),
            Kind::Owner => (key::ownership(&cid()?), Ownership::FIELDS),
            Kind::Lct => (key::lct(&bytes(id()?)?), Lct::FIELDS),
            Kind::Binding => (key::binding(&BindingId(bytes(id()?)?)), Binding::FIELDS),
            Kind::Pairing => (key::pairing(&PairingId(bytes(id()?)?)), Pairing::FIELDS),
            Kind::Usage => (key::usage(&PairingId(bytes(id()?)?)), Usage::FIELDS),
            Kind::Account => (key::account(&public()?), Account::FIELDS),
            Kind::Nonce => (key::nonce(&public()?), Nonce::FIELDS),
            Kind::SigningKey => (key::signing_key(&public()?), SigningKey::FIELDS),
            Kind::Telemetry => (key::telemetry(&cid()?), TelemetryHead::FIELDS),
            Kind::Energy => (key::pool(&cid()?), Pool::FIELDS),
            Kind::Cycle => {
                let (cid, number) = part()?;
                let number = number.parse().map_err(|_| wrong("ID/CYCLE"))?;
                (key::cycle(&cid, number), Cycle::FIELDS)
            }
            Kind::Trust => {
                let (cid, context) = part()?;
                let found = TrustContext::ALL.into_iter().find(|c| c.name() == context);
                let context = found.ok_or_else(|| {
                    let names: Vec<_> = TrustContext::ALL.into_iter().map(|c| c.name()).collect();
                    Failure::Input(format!("no such context; there are {}", names.join(", ")))
                })?;
                (key::tensor(&TrustSubject::Component(cid), context), &[])
            }
            Kind::Key => (hex::decode(id()?).map_err(|_| wrong("a key in hexadecimal"))?, &[]),
        };
        Ok(Self { key, fields })
    }

    /// The object with the names of its fields; those of other objects keep their numbers.
    pub fn shown(&self, value: &[u8]) -> Value {
        let shown = Shown { rest: value }.item(DEPTH);
        let Some(Value::Object(numbered)) = shown else {
            // No object of the state: as it is.
            return json!(hex::encode(value));
        };
        let name = |number: String, value: Value| -> (String, Value) {
            let field = number.parse().ok().and_then(|n: u64| self.fields.iter().find(|(key, ..)| *key == n));
            match field {
                Some((_, name, "u128")) => ((*name).into(), wide(&value).unwrap_or(value)),
                Some((_, name, _)) => ((*name).into(), value),
                None => (number, value),
            }
        };
        // Key 0 is the format version.
        let fields = numbered.into_iter().filter(|(number, _)| number != "0");
        Value::Object(fields.map(|(number, value)| name(number, value)).collect())
    }
}

/// A 128-bit integer, which is stored as 16 bytes; as text, because JSON's numbers end earlier.
fn wide(value: &Value) -> Option<Value> {
    let number = u128::from_str_radix(value.as_str()?, 16).ok()?;
    Some(json!(number.to_string()))
}

fn wrong(what: &str) -> Failure {
    Failure::Input(format!("the ID of this kind of object is {what}"))
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], Failure> {
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).map_err(|_| {
        Failure::Input(format!("the ID of this kind of object has {} hexadecimal digits", 2 * N))
    })?;
    Ok(out)
}

/// The canonical encoding (L2), read without knowing what it is of.
struct Shown<'a> {
    rest: &'a [u8],
}

impl Shown<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    /// Major type and argument.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = *self.take(1)?.first()?;
        let length = match first & 0x1F {
            small @ 0..=23 => return Some((first >> 5, small.into())),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return None,
        };
        let argument = self.take(length)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Some((first >> 5, argument))
    }

    fn item(&mut self, depth: u8) -> Option<Value> {
        let below = depth.checked_sub(1)?;
        let (major, n) = self.head()?;
        let count = || usize::try_from(n).ok();
        Some(match major {
            0 => json!(n),
            1 => json!(-1 - i64::try_from(n).ok()?),
            2 => json!(hex::encode(self.take(count()?)?)),
            3 => json!(String::from_utf8(self.take(count()?)?.to_vec()).ok()?),
            4 => Value::Array((0..n).map(|_| self.item(below)).collect::<Option<_>>()?),
            5 => {
                let mut map = Map::new();
                for _ in 0..n {
                    let (0, number) = self.head()? else { return None };
                    map.insert(number.to_string(), self.item(below)?);
                }
                Value::Object(map)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::codec::Canonical;

    #[test]
    fn objects_are_shown_with_the_names_of_their_fields() {
        let totals = Subject::of(Kind::Totals, None).unwrap();
        let mut value = Totals::zero();
        (value.accepted, value.charged) = (7, 1 << 70);
        let shown = totals.shown(&value.to_bytes());
        assert_eq!((&shown["accepted"], &shown["charged"]), (&json!(7), &json!((1_u128 << 70).to_string())));
        assert_eq!(shown.as_object().unwrap().len(), Totals::FIELDS.len());
        let key = Subject::of(Kind::Key, Some("636d702f")).unwrap();
        assert_eq!(key.shown(&[0xA2, 0, 1, 5, 0x82, 0x41, 9, 0x20]), json!({ "5": ["09", -1] }));
        for broken in
            [&[0xA2, 0, 1][..], &[0xFF], &[], &[0x5B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]]
        {
            assert_eq!(key.shown(broken), json!(hex::encode(broken)));
        }
        assert_eq!(key.shown(&[0x81; 60]), json!(hex::encode([0x81; 60])), "too deep");
    }

    #[test]
    fn what_names_no_object_is_said() {
        for (kind, id) in [
            (Kind::Component, None),
            (Kind::Binding, Some("pack-0001")),
            (Kind::Cycle, Some("pack-0001")),
            (Kind::Cycle, Some("pack-0001/x")),
            (Kind::Trust, Some("pack-0001/x")),
            (Kind::Key, Some("x")),
        ] {
            assert!(matches!(Subject::of(kind, id), Err(Failure::Input(_))), "{kind:?} {id:?}");
        }
    }
}
