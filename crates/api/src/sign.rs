//! Transactions, built and signed offline: the account key stays with its holder (A6; `spec/ledger.md`,
//! L20).
//!
//! A statement of a device goes into a transaction as the exact bytes the device signed. Each function reads
//! the statement once, so that a damaged one is refused before it costs a nonce.

use ::lct::{
    Digest, Error,
    binding::BindingRecord,
    consent::{CONSENT_MAX, Consent},
    energy::{CycleClose, EnergyEvent},
    id::{BindingId, Cid},
    journal::Checkpoint,
    pairing::Completion,
    record::BatchStatement,
    registration::Registration,
    revocation::Reason,
    sign::{PublicKey, Signature, Signer},
    trust::MetricsReport,
    validation::{Attestation, Event, EventKind},
};
use ledger::{
    codec::Canonical,
    tx::{Body, Paired, Registry, Signed, Target, Tx, TxId, Unsigned},
};
use rand_core::CryptoRng;

mod statements;

pub use statements::{
    component_state, component_version, delegate, delegate_act, energy_order, energy_receipt, factory_bind,
    pair_modify, pair_renew, settle_at, transfer,
};

/// What a transaction is bound to besides its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The chain.
    pub chain_id: Digest,
    /// The signer's next nonce; `GET /accounts/{public key}` tells it.
    pub nonce: u64,
    /// Last height at which a block may hold it.
    pub expiry_height: u64,
}

/// A transaction ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTx {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its identity.
    pub id: TxId,
}

/// Signs `body` with an account key.
pub fn sign(body: Body, envelope: &Envelope, key: &impl Signer, rng: &mut impl CryptoRng) -> SignedTx {
    let unsigned = Unsigned {
        chain_id: envelope.chain_id,
        signer: key.public(),
        nonce: envelope.nonce,
        expiry_height: envelope.expiry_height,
        body,
    };
    let signature = key.sign(&unsigned.digest(), rng);
    let bytes = unsigned.with_signature(signature).to_bytes();
    let id = Tx::id_of(&bytes);
    SignedTx { bytes, id }
}

/// Body that registers a component.
///
/// `statement` is [`Registration`] bytes, `proof` the certified key's signature over them.
///
/// # Errors
/// [`Error`] when the statement is damaged or the proof does not verify under the certified key.
pub fn register(statement: &[u8], proof: &Signature) -> Result<Body, Error> {
    let registration = Registration::decode(statement)?;
    let key = registration.device.subject()?.key;
    key.verify(&::lct::registration::digest_of(statement), proof)?;
    Ok(Body::Register { statement: statement.into(), signature: *proof })
}

/// Body that creates a relationship LCT. Needs an authority's signature.
pub fn lct_create(a: Cid, b: Cid, context: &str) -> Body {
    Body::LctCreate { a, b, context: context.into() }
}

/// Body that records a binding; signatures of A, B and the authority that will sign the transaction.
///
/// # Errors
/// [`Error`] when a signature of an entity does not verify.
pub fn bind(record: &BindingRecord, signatures: [Signature; 3]) -> Result<Body, Error> {
    let digest = record.digest();
    for (entity, signature) in record.entities.iter().zip(&signatures) {
        entity.sign_pub.verify(&digest, signature)?;
    }
    let [signature_a, signature_b, signature_authority] = signatures;
    Ok(Body::Bind { record: record.encode().into(), signature_a, signature_b, signature_authority })
}

/// Body that records a binding in the place of another one (L110): `token` is the authority's leave for the device, whose
/// event `replacement` is [`Event`] bytes, signed with its identity key `device`; `owner` signed the same digest where the
/// device has an owner.
///
/// # Errors
/// [`Error`] when a signature of an entity does not verify, or the event is none of a replacement.
pub fn rebind(
    record: &BindingRecord,
    signatures: [Signature; 3],
    token: &[u8],
    replacement: (&[u8], &PublicKey, &Signature),
    owner: Option<Signature>,
) -> Result<Body, Error> {
    let Body::Bind { record, signature_a, signature_b, signature_authority } = bind(record, signatures)?
    else {
        return Err(Error::Malformed);
    };
    let (statement, device, signature) = replacement;
    let replacement = self::replacement(statement, device, signature)?;
    let signatures = [signature_a, signature_b, signature_authority];
    Ok(Body::Rebind { record, signatures, token: token.to_vec(), replacement, owner })
}

/// The word of a device, with its identity key, that one binding of its takes the place of another.
///
/// # Errors
/// [`Error`] when it is none, or the device did not sign it.
pub fn replacement(statement: &[u8], device: &PublicKey, signature: &Signature) -> Result<Signed, Error> {
    event(statement, &[EventKind::BindingReplacement], device, signature)
}

/// Body by which the owner of a component agrees to another binding of it (L125).
///
/// # Errors
/// Those of `Consent::encode`.
pub fn consent(consent: &Consent, signature: Signature) -> Result<Body, Error> {
    let mut out = [0; CONSENT_MAX];
    let n = consent.encode(&mut out)?;
    Ok(Body::Consent { statement: out[..n].to_vec(), signature })
}

/// Body that records the completion of a pairing under `binding` with its keys of A and B.
///
/// # Errors
/// [`Error`] when a signature of an entity does not verify.
pub fn pair_complete(
    completion: &Completion,
    binding: (BindingId, [PublicKey; 2]),
    lease_s: u32,
    signatures: [Signature; 3],
) -> Result<Body, Error> {
    let (binding_id, [key_a, key_b]) = binding;
    let [signature_a, signature_b, signature_authority] = signatures;
    completion.verify((&key_a, &signature_a), (&key_b, &signature_b))?;
    Ok(Body::PairComplete(Paired {
        pairing_id: completion.pairing_id,
        binding_id,
        key_a,
        key_b,
        cert_hash: completion.cert_hash,
        nonce: completion.nonce,
        th4: completion.th4,
        lease_s,
        signature_a,
        signature_b,
        signature_authority,
    }))
}

/// Body that withdraws `target` by order of the account that sends it.
pub fn revoke(target: Target, reason: Reason) -> Body {
    Body::Revoke { target, reason: reason as u8 }
}

/// Body that withdraws a pairing or binding by the word of one of its sides; `statement` is [`Event`] bytes signed by
/// `key`.
///
/// # Errors
/// [`Error`] when the statement is damaged, withdraws nothing, or the signature does not verify.
pub fn revoke_signed(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    let kinds = [EventKind::PairingRevocation, EventKind::BindingRevocation];
    event(statement, &kinds, key, signature).map(Body::RevokeSigned)
}

/// Body that counts a session of a pairing; `statement` is [`Event`] bytes signed by side B's `key`.
///
/// # Errors
/// [`Error`] when the statement is damaged or about something else, or the signature does not verify.
pub fn pair_use(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    event(statement, &[EventKind::PairedHandshake], key, signature).map(Body::PairUse)
}

fn event(
    statement: &[u8],
    kinds: &[EventKind],
    key: &PublicKey,
    signature: &Signature,
) -> Result<Signed, Error> {
    let event = Event::decode(statement)?;
    if !kinds.contains(&event.kind) {
        return Err(Error::Malformed);
    }
    event.verify(key, signature)?;
    Ok(signed(statement, key, signature))
}

/// What [`validate`] takes; events of other kinds go elsewhere, or nowhere.
pub const RECORDED: [EventKind; 10] = [
    EventKind::Announce,
    EventKind::StateChange,
    EventKind::Fault,
    EventKind::Energy,
    EventKind::Telemetry,
    EventKind::SignedHandshake,
    EventKind::Command,
    EventKind::PairingCompletion,
    EventKind::BindingEstablishment,
    EventKind::BindingVerification,
];

/// Whether [`stated`] takes events of this kind.
pub fn is_recorded(kind: EventKind) -> bool {
    kind == EventKind::PairedHandshake || RECORDED.contains(&kind)
}

/// Body for an event that a device stated, whatever its kind: a session is counted ([`pair_use`]), everything else
/// recorded ([`validate`]).
///
/// # Errors
/// As of these two.
pub fn stated(
    statement: &[u8],
    key: &PublicKey,
    signature: &Signature,
    witnesses: &[(Attestation, PublicKey)],
) -> Result<Body, Error> {
    match Event::decode(statement)?.kind {
        EventKind::PairedHandshake => pair_use(statement, key, signature),
        _ => validate(statement, key, signature, witnesses),
    }
}

/// Body that records an event; `statement` is [`Event`] bytes signed by `key`, `witnesses` are attestations with the
/// keys that signed them.
///
/// # Errors
/// [`Error`] when the statement or an attestation is damaged, is of a kind that goes elsewhere, or a signature does not
/// verify.
pub fn validate(
    statement: &[u8],
    key: &PublicKey,
    signature: &Signature,
    witnesses: &[(Attestation, PublicKey)],
) -> Result<Body, Error> {
    let signed = event(statement, &RECORDED, key, signature)?;
    let read = Event::decode(statement)?;
    for (attestation, witness) in witnesses {
        attestation.verify((&read, signature), witness)?;
    }
    let witnesses = witnesses.iter().map(|(a, witness)| (a.encode().to_vec(), *witness)).collect();
    Ok(Body::Validate { signed, witnesses })
}

/// Body that records a telemetry batch; `statement` is [`BatchStatement`] bytes signed by `key`.
///
/// # Errors
/// [`Error`] when the statement is damaged or the signature does not verify.
pub fn batch(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    BatchStatement::decode(statement)?.verify(key, signature)?;
    Ok(Body::Batch(signed(statement, key, signature)))
}

/// Body that records an energy event; `statement` is [`EnergyEvent`] bytes signed by `key`.
///
/// # Errors
/// As [`batch`].
pub fn energy(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    EnergyEvent::decode(statement)?.verify(key, signature)?;
    Ok(Body::Energy(signed(statement, key, signature)))
}

/// Body that closes an energy cycle; `statement` is [`CycleClose`] bytes signed by `key`.
///
/// # Errors
/// As [`batch`].
pub fn cycle_close(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    CycleClose::decode(statement)?.verify(key, signature)?;
    Ok(Body::CycleClose(signed(statement, key, signature)))
}

/// Body that anchors an audit log; `statement` is [`Checkpoint::body`] signed by `key`.
///
/// # Errors
/// As [`batch`].
pub fn checkpoint(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    key.verify(&Checkpoint::read_body(statement)?.digest(), signature)?;
    Ok(Body::Checkpoint(signed(statement, key, signature)))
}

/// Body that reports metrics; `statement` is [`MetricsReport`] bytes signed by `key`.
///
/// # Errors
/// As [`batch`].
pub fn metrics(statement: &[u8], key: &PublicKey, signature: &Signature) -> Result<Body, Error> {
    MetricsReport::decode(statement)?.verify(key, signature)?;
    Ok(Body::Metrics(signed(statement, key, signature)))
}

/// Body that records a statement in the context of an LCT.
///
/// # Errors
/// As [`batch`].
pub fn context(signed: &::lct::context::Signed) -> Result<Body, Error> {
    signed.open()?;
    let (statement, key, signature) = (signed.statement.to_vec(), signed.key, signed.signature);
    Ok(Body::Registry(Registry::Context { statement, key, signature }))
}

fn signed(statement: &[u8], key: &PublicKey, signature: &Signature) -> Signed {
    Signed { statement: statement.into(), key: *key, signature: *signature }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::lct::record::BATCH_STATEMENT_MAX;
    use ::lct::sign::SigningKey;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn a_signed_statement_travels_unchanged_and_only_with_its_signature() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let (account, device) = (SigningKey::generate(&mut rng), SigningKey::generate(&mut rng));
        let statement = BatchStatement {
            cid: Cid::of("pack-0001"),
            first_seq: 7,
            count: 3,
            root: [9; 32],
            first_ms: 10,
            last_ms: 20,
        };
        let mut bytes = [0; BATCH_STATEMENT_MAX];
        let n = statement.encode(&mut bytes).unwrap();
        let signature = statement.sign(&device, &mut rng).unwrap();
        let body = batch(&bytes[..n], &device.public(), &signature).unwrap();
        let envelope = Envelope { chain_id: [1; 32], nonce: 1, expiry_height: 100 };
        let tx = sign(body, &envelope, &account, &mut rng);
        let read = Tx::from_bytes(&tx.bytes).unwrap();
        read.verify().unwrap();
        assert_eq!((read.id(), read.unsigned.signer), (tx.id, account.public()));
        let Body::Batch(inner) = read.unsigned.body else { panic!("another kind") };
        assert_eq!(inner.statement, &bytes[..n]);

        assert_eq!(batch(&bytes[..n], &account.public(), &signature), Err(Error::NotAuthentic), "other key");
        assert_eq!(batch(&bytes[..n - 1], &device.public(), &signature), Err(Error::Malformed), "cut");
        assert_eq!(
            cycle_close(&bytes[..n], &device.public(), &signature),
            Err(Error::Malformed),
            "statement of another kind"
        );
    }
}
