//! What of the state a receipt shows: under which keys, and what it must say.

use alloc::{vec, vec::Vec};

use lct::{
    Digest,
    binding::BindingRecord,
    consent::Consent,
    context::Statement,
    delegation::{Act, DelegationId},
    id::{BindingId, Cid, PairingId},
    lifecycle::{Move, Version},
    ownership::Transfer,
    registration::Registration,
    trade,
    trust::MetricsReport,
    validation::{Event, EventKind},
};

use super::{Receipt, ReceiptError, ensure};
use crate::{
    codec::Canonical,
    records::{Account, AccountRole, Revocation, SigningKey, Status, TrustSubject, key},
    tx::{Body, Registry, Target, Tx},
};

/// State keys a receipt for `tx` must prove, in order (L81): the sender's account, unless it only carries what a component
/// signed, then the keys that signed what is inside. `None` if a statement inside cannot be read.
#[must_use]
pub fn evidence_keys(tx: &Tx) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    if !carried(&tx.unsigned.body) {
        keys.push(key::account(&tx.unsigned.signer));
    }
    match &tx.unsigned.body {
        Body::Register { statement, .. } => {
            let device = Registration::decode(statement).ok()?.device.subject().ok()?.key;
            keys.push(key::device_key(&device));
        }
        // What it asks for is its content; that it was accepted is in its result.
        Body::LctCreate { .. } | Body::Govern(_) => {}
        Body::ConfigSet(c) | Body::ConfigReport(c) => keys.push(key::setting(&c.cid, c.parameter)),
        Body::Bind { record, .. } => {
            let record = BindingRecord::decode(record).ok()?;
            keys.extend(record.entities.iter().map(|e| key::signing_key(&e.sign_pub)));
        }
        Body::PairComplete(p) | Body::PairRenew { paired: p, .. } => {
            keys.extend([&p.key_a, &p.key_b].map(key::signing_key));
        }
        Body::PairModify { keys: sides, .. } => keys.extend(sides.each_ref().map(key::signing_key)),
        Body::Batch(s) | Body::Energy(s) | Body::CycleClose(s) | Body::Checkpoint(s) | Body::PairUse(s) => {
            keys.push(key::signing_key(&s.key));
        }
        Body::Metrics(s) => {
            let report = MetricsReport::decode(&s.statement).ok()?;
            keys.push(key::signing_key(&s.key));
            keys.push(key::tensor(&TrustSubject::Component(report.subject), report.context));
        }
        Body::RevokeSigned(s) => {
            keys.push(key::signing_key(&s.key));
            keys.push(key::revocation(&withdrawn(&s.statement)?.1));
        }
        Body::Revoke { target, .. } => keys.push(key::revocation(target)),
        Body::Rebind { record, replacement, owner, .. } => {
            let record = BindingRecord::decode(record).ok()?;
            keys.extend(record.entities.iter().map(|e| key::signing_key(&e.sign_pub)));
            keys.push(key::device_key(&replacement.key));
            let event = Event::decode(&replacement.statement).ok()?;
            keys.push(key::replaced(&BindingId(*event.payload.first_chunk()?)));
            keys.extend(owner.map(|_| key::ownership(&event.cid)));
        }
        Body::FactoryBind { record, .. } => {
            let record = BindingRecord::decode(record).ok()?;
            keys.extend(record.entities.iter().map(|e| key::signing_key(&e.sign_pub)));
        }
        Body::Transfer { statement, .. } => {
            let transfer = Transfer::decode(statement).ok()?;
            keys.push(key::hop(&transfer.cid, transfer.hop));
        }
        Body::Consent { statement, .. } => {
            let consent = Consent::decode(statement).ok()?;
            keys.push(key::consent(&consent.cid, &consent.binding));
        }
        Body::Validate { signed, witnesses } => {
            keys.push(key::signing_key(&signed.key));
            keys.extend(witnesses.iter().map(|(_, k)| key::signing_key(k)));
        }
        Body::Delegate { statement } => keys.push(key::delegation(&DelegationId::of(statement))),
        Body::DelegateAct { statement, .. } => {
            let act = Act::read(statement).ok()?;
            keys.extend([key::delegation(&act.delegation), key::act(&act.delegation, act.number)]);
        }
        Body::Registry(body) => keys.extend(registry_keys(body)?),
        Body::EnergyOrder { statement, .. } => {
            let order = trade::Order::decode(statement).ok()?;
            keys.push(if order.begins() { key::energy_transfer(&order.id) } else { key::offer(&order.id) });
        }
        Body::EnergyReceipt { statement, keys: sides, .. } => {
            keys.extend(sides.each_ref().map(key::signing_key));
            keys.push(key::energy_transfer(&trade::Receipt::decode(statement).ok()?.transfer));
        }
        Body::EnergyRelease { transfer } => keys.push(key::energy_transfer(transfer)),
        Body::Settle { subject, .. } => keys.push(key::settlement(subject)),
        Body::Object { subject, .. } | Body::Resolve { subject, .. } => keys.push(key::objection(subject)),
    }
    Some(keys)
}

/// Whether a component alone answers for what is said: then who sent it does not matter.
pub(super) fn carried(body: &Body) -> bool {
    use Body::{Batch, Checkpoint, CycleClose, Energy, Metrics, PairUse, RevokeSigned, Validate};
    matches!(
        body,
        Batch(_)
            | Energy(_)
            | CycleClose(_)
            | Checkpoint(_)
            | Metrics(_)
            | PairUse(_)
            | RevokeSigned(_)
            | Validate { .. }
    )
}

/// What a receipt for one of the kinds 32 to 41 proves besides: the row that the transaction wrote, where its key follows
/// from the transaction, and the identity key of a component that signed.
fn registry_keys(body: &Registry) -> Option<Vec<Vec<u8>>> {
    Some(match body {
        Registry::Move { statement, .. } => {
            let m = Move::decode(statement).ok()?;
            vec![key::state_change(&m.cid, m.number)]
        }
        Registry::Version { statement, .. } => {
            let v = Version::decode(statement).ok()?;
            vec![key::version(&v.cid, v.number), key::component(&v.cid)]
        }
        Registry::Context { statement, .. } => {
            let s = Statement::decode(statement).ok()?;
            vec![key::context_record(&s.lct, s.content.kind(), s.number)]
        }
        // What the sender says in its own name.
        Registry::Grant { .. }
        | Registry::RevokeGrant { .. }
        | Registry::Anonymous(_)
        | Registry::LctStatus { .. }
        | Registry::Queue { .. }
        | Registry::Process { .. }
        | Registry::Cancel { .. } => vec![],
    })
}

/// The event by which a side withdraws something, and what. `None` if the statement is no such event.
pub(super) fn withdrawn(statement: &[u8]) -> Option<(Event, Target)> {
    let event = Event::decode(statement).ok()?;
    let id = *event.payload.first_chunk()?;
    let target = match event.kind {
        EventKind::PairingRevocation => Target::Pairing(PairingId(id)),
        EventKind::BindingRevocation => Target::Binding(BindingId(id)),
        _ => return None,
    };
    Some((event, target))
}

/// What a receipt shows of the state.
pub(super) struct Evidence<'a> {
    /// Role of the sender's account, where that counts.
    pub role: Option<AccountRole>,
    /// The objects after the account, as bytes.
    objects: &'a [Vec<u8>],
}

impl<'a> Evidence<'a> {
    /// Reads what every receipt shows. That the state holds it follows from the certificate.
    pub(super) fn read(receipt: &'a Receipt) -> Result<Self, ReceiptError> {
        if carried(&receipt.tx.unsigned.body) {
            return Ok(Self { role: None, objects: &receipt.objects });
        }
        let (account, objects) = receipt.objects.split_first().ok_or(ReceiptError::Evidence)?;
        let account = Account::from_bytes(account).map_err(ReceiptError::Object)?;
        ensure(account.status == Status::Active, ReceiptError::AccountRevoked)?;
        ensure(account.in_force(receipt.block.height), ReceiptError::AccountEarly)?;
        Ok(Self { role: Some(account.role), objects })
    }

    /// Checks that the `n`-th proven signing key is in force and belongs to `cid`.
    pub(super) fn signing_key(&self, n: usize, cid: Option<&Cid>) -> Result<Cid, ReceiptError> {
        let owner: SigningKey = self.object(n)?;
        ensure(owner.status == Status::Active, ReceiptError::KeyRevoked)?;
        ensure(cid.is_none_or(|cid| owner.cid == *cid), ReceiptError::KeyOwner)?;
        Ok(owner.cid)
    }

    /// The `n`-th proven object after the account.
    pub(super) fn object<T: Canonical>(&self, n: usize) -> Result<T, ReceiptError> {
        T::from_bytes(self.bytes(n)?).map_err(ReceiptError::Object)
    }

    /// Its bytes.
    pub(super) fn bytes(&self, n: usize) -> Result<&'a [u8], ReceiptError> {
        self.objects.get(n).map(Vec::as_slice).ok_or(ReceiptError::Evidence)
    }

    /// Checks that the `n`-th proven object is the revocation that `tx` recorded, for `reason`.
    pub(super) fn revocation(&self, n: usize, tx: &Digest, reason: u8) -> Result<(), ReceiptError> {
        let revocation: Revocation = self.object(n)?;
        ensure(revocation.tx == *tx && revocation.reason == reason, ReceiptError::NoEffect)
    }
}
