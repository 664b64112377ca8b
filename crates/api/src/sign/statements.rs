//! Bodies around statements of owners, manufacturers, authorities and delegates.
//!
//! A body without a statement is written as it is (`Body::Registry(Registry::Grant { .. })`, `Body::Govern(..)`,
//! `Body::ConfigSet(..)`), and [`super::sign`] signs it like any other.

use ::lct::{
    Error,
    attest::DeviceCertificate,
    binding::BindingRecord,
    delegation::{Act, Delegation},
    lifecycle::{Move, Version},
    ownership::Transfer,
    pairing::Terms,
    sign::{PublicKey, Signature},
    trade::{Order, Quote, Receipt},
    validation::{Event, EventKind},
};
use ledger::tx::{Agreed, Body, Registry, Subject};

/// Body that records a pairing in the place of another one, which `body` of kind `pairing/complete` describes (L104).
///
/// # Errors
/// [`Error::Malformed`] for a body of another kind.
pub fn pair_renew(
    completed: Body,
    renews: ::lct::id::PairingId,
    max_uses: u32,
    operations: u8,
) -> Result<Body, Error> {
    let Body::PairComplete(paired) = completed else { return Err(Error::Malformed) };
    Ok(Body::PairRenew { paired, renews, max_uses, operations })
}

/// Body that gives a pairing other terms (L106): [`Event`] and [`Terms`] bytes, keys of A and B, signatures of A, of B and
/// of the authority that will send it.
///
/// # Errors
/// [`Error`] when the event or the terms are damaged, or a signature of an entity does not verify.
pub fn pair_modify(
    statement: &[u8],
    terms: &[u8],
    keys: [PublicKey; 2],
    signatures: [Signature; 3],
) -> Result<Body, Error> {
    let event = Event::decode(statement)?;
    if event.kind != EventKind::PairingModification {
        return Err(Error::Malformed);
    }
    Terms::decode(terms)?;
    for (key, signature) in keys.iter().zip(&signatures) {
        event.verify(key, signature)?;
    }
    Ok(Body::PairModify { statement: statement.into(), terms: terms.into(), keys, signatures })
}

/// Body that records a binding that was made at the factory (L112): signatures of A, of B and of the batch authority,
/// whose certificate is `batch`.
///
/// # Errors
/// [`Error`] when a signature does not verify, or the certificate is none.
pub fn factory_bind(
    record: &BindingRecord,
    signatures: [Signature; 3],
    batch: &DeviceCertificate,
) -> Result<Body, Error> {
    let digest = record.digest();
    let keys = [record.entities[0].sign_pub, record.entities[1].sign_pub, batch.subject()?.key];
    for (key, signature) in keys.iter().zip(&signatures) {
        key.verify(&digest, signature)?;
    }
    Ok(Body::FactoryBind { record: record.encode().into(), signatures, batch: batch.0.to_vec() })
}

/// Body by which a component changes hands (L113); signatures of who gives and who takes.
///
/// # Errors
/// [`Error`] when the statement is damaged or a signature does not verify.
pub fn transfer(statement: &[u8], signatures: [Signature; 2]) -> Result<Body, Error> {
    let read = Transfer::decode(statement)?;
    let digest = read.digest()?;
    read.from.verify(&digest, &signatures[0])?;
    read.to.verify(&digest, &signatures[1])?;
    Ok(Body::Transfer { statement: statement.into(), signatures })
}

/// Body that takes a component into another state, by the word of `key` (L132).
///
/// # Errors
/// [`Error`] when the statement is damaged or the signature does not verify.
pub fn component_state(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    key.verify(&Move::decode(statement)?.digest()?, signature)?;
    let statement = statement.to_vec();
    Ok(Body::Registry(Registry::Move { statement, key: *key, signature: *signature }))
}

/// Body that tells what a component is built of and runs (L134), by its identity key; `vouched` is key and signature of
/// who vouches for it.
///
/// # Errors
/// [`Error`] when the statement is damaged or a signature does not verify.
pub fn component_version(
    statement: &[u8],
    (device, signature): (&PublicKey, &Signature),
    vouched: Option<(PublicKey, Signature)>,
) -> Result<Body, Error> {
    let digest = Version::decode(statement)?.digest()?;
    device.verify(&digest, signature)?;
    if let Some((key, signature)) = &vouched {
        key.verify(&digest, signature)?;
    }
    let statement = statement.to_vec();
    Ok(Body::Registry(Registry::Version { statement, signature: *signature, vouched }))
}

/// Body that records a delegation by `authority`, which also sends it (L120).
///
/// # Errors
/// [`Error`] when it is damaged or not signed by that authority.
pub fn delegate(statement: &[u8], authority: &PublicKey) -> Result<Body, Error> {
    Delegation::open(statement, authority)?;
    Ok(Body::Delegate { statement: statement.into() })
}

/// Body that records what a delegate did (L122): `body` are the bytes of the body that its act is about.
///
/// # Errors
/// [`Error`] when the act is damaged, is not signed by `delegate`, or is about another body.
pub fn delegate_act(statement: &[u8], body: &[u8], delegate: &PublicKey) -> Result<Body, Error> {
    let act = Act::open(statement, delegate)?;
    if act.body != ::lct::hash::sha256(&[body]) {
        return Err(Error::WrongParty);
    }
    Ok(Body::DelegateAct { statement: statement.into(), body: body.into() })
}

/// Body by which the `owner` of a pack orders something about its energy (L212).
///
/// # Errors
/// [`Error`] when the order is damaged or the signature does not verify.
pub fn energy_order(statement: &[u8], owner: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    owner.verify(&Order::decode(statement)?.digest()?, signature)?;
    Ok(Body::EnergyOrder { statement: statement.into(), signature: *signature })
}

/// Body by which both packs of a transfer say what flowed (L214): keys and signatures of giver and taker.
///
/// # Errors
/// [`Error`] when the receipt is damaged or a signature does not verify.
pub fn energy_receipt(
    statement: &[u8],
    keys: [PublicKey; 2],
    signatures: [Signature; 2],
) -> Result<Body, Error> {
    let digest = Receipt::decode(statement)?.digest()?;
    for (key, signature) in keys.iter().zip(&signatures) {
        key.verify(&digest, signature)?;
    }
    Ok(Body::EnergyReceipt { statement: statement.into(), keys, signatures })
}

/// Body that says what is owed for a cycle at a price that the `owner` of the pack and another one agreed on (L216):
/// [`Quote`] bytes, signatures of the owner and of the other.
///
/// # Errors
/// [`Error`] when the quote is damaged or a signature does not verify.
pub fn settle_at(
    subject: Subject,
    quote: &[u8],
    owner: &PublicKey,
    signatures: [Signature; 2],
) -> Result<Body, Error> {
    let read = Quote::decode(quote)?;
    let digest = read.digest()?;
    owner.verify(&digest, &signatures[0])?;
    read.other.verify(&digest, &signatures[1])?;
    Ok(Body::Settle { subject, price: Some(Agreed { quote: quote.into(), signatures }) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::lct::{
        id::{Cid, PairingId},
        lifecycle::{LIFECYCLE_MAX, State},
        ownership::TRANSFER_MAX,
        pairing::TERMS_MAX,
        revocation::Reason,
        sign::SigningKey,
        trade::{TRADE_MAX, TradeId, What},
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    /// Bytes and digest of a statement, and what makes a body of bytes and two signatures.
    type Case =
        (&'static str, Vec<u8>, ::lct::Digest, Box<dyn Fn(&[u8], [Signature; 2]) -> Result<Body, Error>>);

    fn written<const N: usize>(encode: impl Fn(&mut [u8; N]) -> Result<usize, Error>) -> Vec<u8> {
        let mut out = [0; N];
        let n = encode(&mut out).unwrap();
        out[..n].to_vec()
    }

    fn cases(keys: [PublicKey; 2]) -> Vec<Case> {
        let (chain_id, cid, [first, second]) = ([1; 32], Cid([2; 16]), keys);
        let hop = Transfer {
            chain_id,
            cid,
            lct: [3; 32],
            hop: 1,
            previous: [0; 32],
            from: first,
            to: second,
            time_ms: 5,
        };
        let moved =
            Move { chain_id, cid, number: 1, to: State::Retired, reason: Reason::Retired, time_ms: 5 };
        let version =
            Version { chain_id, cid, number: 1, hardware: 2, firmware: 3, image: [4; 32], time_ms: 5 };
        let order = Order { chain_id, id: TradeId([6; 16]), cid, what: What::Withdraw };
        let receipt =
            Receipt { chain_id, transfer: TradeId([6; 16]), given: 9, received: 8, start_ms: 1, end_ms: 2 };
        let quote = Quote { chain_id, cid, cycle: 1, price: 7, other: second };
        let event = Event::new(EventKind::PairingModification, cid, 1, 2, &[0; 48]).unwrap();
        let terms =
            written(|out: &mut [u8; TERMS_MAX]| Terms { expires: 9, max_uses: 0, operations: 7 }.encode(out));
        let subject = Subject::Cycle { cid, cycle: 1 };
        vec![
            ("transfer", written(|out: &mut [u8; TRANSFER_MAX]| hop.encode(out)), hop.digest().unwrap(), {
                Box::new(transfer)
            }),
            ("state", written(|out: &mut [u8; LIFECYCLE_MAX]| moved.encode(out)), moved.digest().unwrap(), {
                Box::new(move |bytes, [s, _]| component_state(bytes, &first, &s))
            }),
            (
                "version",
                written(|out: &mut [u8; LIFECYCLE_MAX]| version.encode(out)),
                { version.digest().unwrap() },
                { Box::new(move |bytes, [s, t]| component_version(bytes, (&first, &s), Some((second, t)))) },
            ),
            ("order", written(|out: &mut [u8; TRADE_MAX]| order.encode(out)), order.digest().unwrap(), {
                Box::new(move |bytes, [s, _]| energy_order(bytes, &first, &s))
            }),
            (
                "receipt",
                written(|out: &mut [u8; TRADE_MAX]| receipt.encode(out)),
                { receipt.digest().unwrap() },
                { Box::new(move |bytes, signatures| energy_receipt(bytes, [first, second], signatures)) },
            ),
            ("quote", written(|out: &mut [u8; TRADE_MAX]| quote.encode(out)), quote.digest().unwrap(), {
                Box::new(move |bytes, signatures| settle_at(subject, bytes, &first, signatures))
            }),
            (
                "terms",
                written(|out: &mut [u8; ::lct::validation::EVENT_MAX]| event.encode(out)),
                { event.digest().unwrap() },
                { Box::new(move |bytes, [s, t]| pair_modify(bytes, &terms, [first, second], [s, t, s])) },
            ),
        ]
    }

    /// A statement goes in unchanged, and only whole and with the signatures of those whom it names.
    #[test]
    fn statements_are_taken_with_their_signatures_alone() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let keys = [(); 2].map(|()| SigningKey::generate(&mut rng));
        for (name, bytes, digest, make) in cases([keys[0].public(), keys[1].public()]) {
            let [a, b] = [0, 1].map(|n| keys[n].sign(&digest, &mut rng));
            let body = make(&bytes, [a, b]).unwrap_or_else(|e| panic!("{name}: {e}"));
            let carried = ledger::codec::Canonical::to_bytes(&body);
            assert!(carried.windows(bytes.len()).any(|w| w == bytes), "{name}");
            assert_eq!(make(&bytes, [b, b]), Err(Error::NotAuthentic), "{name}: another signer");
            assert_eq!(make(&bytes[..bytes.len() - 1], [a, b]), Err(Error::Malformed), "{name}: cut");
        }
    }

    #[test]
    fn an_act_is_about_its_body() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let delegate = SigningKey::generate(&mut rng);
        let act = Act {
            delegation: ::lct::delegation::DelegationId([1; 16]),
            number: 1,
            previous: [0; 32],
            time: 5,
            body: ::lct::hash::sha256(&[b"body"]),
        };
        let bytes = act.issue(&delegate, &mut rng);
        assert!(delegate_act(&bytes, b"body", &delegate.public()).is_ok());
        assert_eq!(delegate_act(&bytes, b"bodies", &delegate.public()), Err(Error::WrongParty));
        let other = SigningKey::generate(&mut rng).public();
        assert_eq!(delegate_act(&bytes, b"body", &other), Err(Error::NotAuthentic));
        assert_eq!(
            pair_renew(Body::EnergyRelease { transfer: TradeId([1; 16]) }, PairingId([2; 16]), 0, 1),
            { Err(Error::Malformed) }
        );
    }
}
