//! Who speaks for the authority: itself, for a while the holder of a delegation, and one day its successor
//! (`spec/channel.md`, H160 to H166).

use super::*;
use crate::pdu::{self, Pdu, Status, binding as op, delegation};
use lct::{
    binding::{BindRequest, Introduction},
    certificate::Certificate,
    codec::Fields,
    delegation::{DelegateRevocation, Delegation, DelegationId, Denied, Operation},
    id::BindingId,
    metadata::ClearMetadata,
    revocation::Subject,
    sign::PublicKey,
    spk::{SPK_LEN, Spk},
    succession::{NEW, OLD, Succession},
};

/// Shortest time between two delegations whose signature is verified.
const PERIOD: Duration = Duration::from_secs(1);

/// The delegation that was shown last. It is not kept over a start: whoever acts under it shows it again.
#[derive(Default)]
pub(crate) struct Delegates {
    held: Option<(DelegationId, Delegation)>,
    verified: Option<Instant>,
    /// When a succession was verified last.
    succession: Option<Instant>,
    /// Time of the succession that was taken, Unix seconds.
    succeeded: u32,
    /// The last act that was logged, by delegation, kind and id: what is repeated is one act.
    logged: Option<(DelegationId, u8, [u8; 16])>,
}

impl Delegates {
    /// None yet, in a device whose last succession is of that time, 0 without one.
    pub(super) fn after(succeeded: u32) -> Self {
        Delegates { succeeded, ..Self::default() }
    }
}

/// Answer to a message that is not let in: `type | operation | id 16 | status`.
pub(crate) type Refusal = [u8; 19];

pub(super) fn refusal(kind: u8, operation: u8, id: &[u8; 16], status: Status) -> Refusal {
    let mut answer = [status as u8; 19];
    (answer[0], answer[1]) = (kind, operation);
    answer[2..18].copy_from_slice(id);
    answer
}

/// Who signed a message of the authority.
pub(crate) struct Issuer {
    /// Under whose key it is to be judged.
    pub(crate) spk: Spk,
    /// What a delegate does, and to what; `None` for the authority itself.
    act: Option<Acted>,
}

impl Issuer {
    /// The authority that `own` was made for.
    pub(crate) fn authority(own: &Identity) -> Self {
        Issuer { spk: own.authority, act: None }
    }
}

/// What a message of a delegate is about.
struct Acted {
    kind: u8,
    /// Second byte of the answer to what is refused.
    answer: u8,
    id: [u8; 16],
    judged: Result<(), Denied>,
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Window => Status::WrongState,
            Denied::Scope | Denied::Operation | Denied::Grant => Status::WrongParty,
        }
    }
}

/// Reads the record of the authority that followed the one from the factory, and the time of that succession.
pub(super) fn successor(record: &[u8]) -> Result<(Spk, u32), Error> {
    let mut f = Fields::new(record);
    if f.u8()? != 1 {
        return Err(Error::Malformed);
    }
    let read = (f.u32()?, Spk::from_slice(f.slice(SPK_LEN)?)?);
    f.end()?;
    Ok((read.1, read.0))
}

/// Reads `message` if it is one that a delegate may send, and `key` signed it.
fn acted(message: &[u8], key: &PublicKey, delegation: &Delegation) -> Option<Acted> {
    match *message {
        [pdu::CERTIFICATE, ref m @ ..] => {
            let cert = Certificate::parse(m).ok().filter(|cert| cert.verify(key).is_ok())?;
            let metadata = ClearMetadata::decode(cert.clear_metadata).ok()?;
            let judged = delegation.permits_certificate(&metadata);
            let (kind, answer) = (pdu::CERTIFICATE, pdu::CERTIFICATE_STATUS);
            Some(Acted { kind, answer, id: cert.pairing_id.0, judged })
        }
        [pdu::BINDING, op::REQUEST, ref m @ ..] => {
            let request = BindRequest::open(m, key).ok()?;
            let judged = delegation.permits(Operation::Bind, &[request.own.0, request.partner.0]);
            Some(Acted { kind: pdu::BINDING, answer: op::STATUS, id: request.binding_id.0, judged })
        }
        [pdu::BINDING, op::INTRODUCTION, ref m @ ..] => {
            let (m, _) = Introduction::split(m).ok()?;
            let introduction = Introduction::open(m, key).ok()?;
            let partner = introduction.device.subject().ok()?.cid;
            let judged = delegation.permits(Operation::Bind, &[introduction.own, partner]);
            Some(Acted { kind: pdu::BINDING, answer: op::STATUS, id: introduction.binding_id.0, judged })
        }
        _ => None,
    }
}

impl<E, const STORES: usize, const EVENTS: usize> Device<E, STORES, EVENTS> {
    /// Under whose key `message` is to be judged: the delegate's when it signed it and may do this, otherwise the
    /// authority's. What neither the list held nor the delegation lets in is answered with `Err`.
    pub(crate) fn issuer(&mut self, now: Instant, message: &[u8]) -> Result<Issuer, Refusal> {
        if let Some(refusal) = self.refusal(now, message) {
            return Err(refusal);
        }
        let authority = Issuer::authority(&self.own);
        let Some((id, delegation)) = &self.delegates.held else { return Ok(authority) };
        let Some(act) = acted(message, &delegation.delegate.sign_pub(), delegation) else {
            return Ok(authority);
        };
        let spk = delegation.delegate;
        match self.delegation_stands(now, id, delegation).and(act.judged.map_err(Status::from)) {
            Ok(()) => Ok(Issuer { spk, act: Some(act) }),
            Err(status) => Err(self.denied(now, &act, status)),
        }
    }

    /// Gives `relation` a message of a binding or pairing ceremony.
    pub(crate) fn ceremony(
        &mut self,
        now: Instant,
        message: &[u8],
        issuer: &Issuer,
        relation: &mut Relation,
        fx: &mut Effects,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        if let Some(act) = &issuer.act
            && message.starts_with(&[pdu::BINDING, op::INTRODUCTION])
            && let Err(denied) = self.may_replace(relation, act)
        {
            let refusal = self.denied(now, act, denied.into());
            return fx.push_back(Effect::ToAuthority(pdu::build(&[&refusal])?)).map_err(|_| Error::Exhausted);
        }
        let (own, spk, boot, announcer) = (&self.own, &issuer.spk, self.boot, &mut self.announcer);
        match *message {
            [pdu::CERTIFICATE, ref m @ ..] => {
                relation.certificate(own, spk, &self.policies, m, now, boot, fx, rng)
            }
            [pdu::KEY_PACKAGE, pdu::key_package::SEALED, ref m @ ..] => relation.key_package(m, fx),
            [pdu::BINDING, op::REQUEST, ref m @ ..] => relation.bind_request(own, spk, m, fx, rng),
            [pdu::BINDING, op::INTRODUCTION, ref m @ ..] => {
                let position = (boot, announcer.next_seq().ok_or(Error::Exhausted)?);
                relation.introduction(own, spk, m, now, position, fx, rng)
            }
            _ => Err(Error::Malformed),
        }?;
        match &issuer.act {
            None => self.vouched(now, message),
            Some(act) => self.log_act(now, act.kind, act.id),
        }
        Ok(())
    }

    /// Whether the delegate may have the binding of `act` take the place of the one that `relation` has, which ends it, also where
    /// both have one id: an introduction of which only the answer is told again replaces nothing.
    fn may_replace(&self, relation: &Relation, act: &Acted) -> Result<(), Denied> {
        let (Some((_, delegation)), Some(peer)) = (&self.delegates.held, relation.displaced()) else {
            return Ok(());
        };
        if relation.has_answered(BindingId(act.id)) {
            return Ok(());
        }
        let both = [self.own.cid(), peer];
        delegation.permits(Operation::Bind, &both).and_then(|()| delegation.permits(Operation::Revoke, &both))
    }

    /// Logs what a delegate may not do, and says so.
    fn denied(&mut self, now: Instant, act: &Acted, status: Status) -> Refusal {
        let number = self.delegates.held.as_ref().map_or(0, |(_, held)| held.number).to_be_bytes();
        self.log(now, Code::DelegateRefused, SELF, &[&number, &[act.kind, status as u8]]);
        refusal(act.kind, act.answer, &act.id, status)
    }

    fn log_act(&mut self, now: Instant, kind: u8, id: [u8; 16]) {
        let Some((delegation_id, delegation)) = &self.delegates.held else { return };
        let (act, number) = ((*delegation_id, kind, id), delegation.number.to_be_bytes());
        if self.delegates.logged.replace(act) != Some(act) {
            self.log(now, Code::DelegateActed, SELF, &[&number, &[kind], &id]);
        }
    }

    /// Whether nothing but its content limits a delegation: not revoked, and in its window by judged time.
    fn delegation_stands(&self, now: Instant, id: &DelegationId, held: &Delegation) -> Result<(), Status> {
        if self.revocations.lists(Subject::Delegation(*id)) {
            return Err(Status::WrongParty);
        }
        match self.clock.judged(now) {
            Some(time) if held.holds_at(time) => Ok(()),
            _ => Err(Status::WrongState),
        }
    }

    /// Takes a delegation (without type and operation), and answers.
    pub(crate) fn take_delegation(&mut self, now: Instant, bytes: &[u8]) -> Result<Pdu, Error> {
        let id = DelegationId::of(bytes);
        let status = match self.show_delegation(now, id, bytes) {
            Ok(()) => Status::Accepted,
            Err(status) => status,
        };
        pdu::build(&[&[pdu::DELEGATION, delegation::TAKEN], &id.0, &[status as u8]])
    }

    fn show_delegation(&mut self, now: Instant, id: DelegationId, bytes: &[u8]) -> Result<(), Status> {
        if let Some((held, delegation)) = self.delegates.held.as_ref().filter(|(held, _)| *held == id) {
            return self.delegation_stands(now, held, delegation);
        }
        Delegation::read(bytes)?;
        if self.delegates.verified.is_some_and(|last| now < last + PERIOD) {
            return Err(Status::WrongState);
        }
        self.delegates.verified = Some(now);
        let shown = Delegation::open(bytes, &self.own.authority.sign_pub())?;
        // What the authority signed it knew the time of; that a delegate is trusted changes nothing about the clock.
        self.clock.authority(now, shown.issued);
        let stands = self.delegation_stands(now, &id, &shown);
        let number = shown.number.to_be_bytes();
        match stands {
            Ok(()) => {
                let until = shown.not_after.to_be_bytes();
                self.log(now, Code::DelegationShown, SELF, &[&number, &id.0, &until]);
                self.delegates.held = Some((id, shown));
            }
            Err(status) => {
                self.log(now, Code::DelegateRefused, SELF, &[&number, &[pdu::DELEGATION, status as u8]]);
            }
        }
        stands
    }

    /// Takes a succession (without type and operation), and answers; the record precedes the answer.
    pub(crate) fn take_succession(&mut self, now: Instant, bytes: &[u8]) -> Result<Pdu, Error> {
        let status = match self.succeed(now, bytes) {
            Ok(()) => Status::Accepted,
            Err(status) => status,
        };
        let id = self.own.authority.id();
        pdu::build(&[&[pdu::DELEGATION, delegation::SUCCEEDED], &id.0, &[status as u8]])
    }

    fn succeed(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Status> {
        // The one that was taken may come again: its answer was lost.
        if bytes.get(NEW) == Some(&self.own.authority.0) {
            return Ok(());
        }
        if bytes.get(OLD) != Some(&self.own.authority.id().0) {
            return Err(Status::WrongParty);
        }
        if self.delegates.succession.is_some_and(|last| now < last + PERIOD) {
            return Err(Status::WrongState);
        }
        self.delegates.succession = Some(now);
        let succession = Succession::open(bytes, &self.own.authority)?;
        if succession.time <= self.delegates.succeeded {
            return Err(Status::WrongState);
        }
        let time = succession.time.to_be_bytes();
        self.store(Record::new(key::AUTHORITY, &[&[1], &time, &succession.new.0])?)?;
        self.delegates.succeeded = succession.time;
        self.clock.authority(now, succession.time);
        self.own.authority = succession.new;
        // What the old one delegated, it delegated for itself.
        self.delegates.held = None;
        self.log(now, Code::Succession, SELF, &[&succession.new.id().0]);
        Ok(())
    }

    /// The delegate ends the pairing or the binding of one of `relations`, each with its node. The answer, and the place
    /// in the list of a relationship whose binding ended.
    pub(crate) fn take_delegate_revocation<'r>(
        &mut self,
        now: Instant,
        bytes: &[u8],
        relations: impl IntoIterator<Item = (u8, &'r mut Relation)>,
    ) -> Result<(Pdu, Option<usize>), Error> {
        let claimed = bytes.get(18..34).ok_or(Error::Malformed)?;
        let judged = self.delegate_ends(now, bytes, relations);
        let (status, gone) = match judged {
            Ok(gone) => (Status::Accepted, gone),
            Err(status) => (status, None),
        };
        if status != Status::Accepted {
            let number = self.delegates.held.as_ref().map_or(0, |(_, held)| held.number).to_be_bytes();
            self.log(now, Code::DelegateRefused, SELF, &[&number, &[pdu::DELEGATION, status as u8]]);
        }
        let head = [pdu::DELEGATION, delegation::REVOKED];
        Ok((pdu::build(&[&head, claimed, &[status as u8]])?, gone))
    }

    fn delegate_ends<'r>(
        &mut self,
        now: Instant,
        bytes: &[u8],
        relations: impl IntoIterator<Item = (u8, &'r mut Relation)>,
    ) -> Result<Option<usize>, Status> {
        let Some((id, held)) = &self.delegates.held else { return Err(Status::WrongState) };
        let statement = DelegateRevocation::open(bytes, &held.delegate.sign_pub())?;
        if statement.delegation != *id {
            return Err(Status::WrongParty);
        }
        self.delegation_stands(now, id, held)?;
        if !held.holds_at(statement.time) {
            return Err(Status::WrongState);
        }
        let named = |relation: &Relation| match statement.subject {
            Subject::Binding(id) => relation.binding().is_some_and(|(own, _)| own == id),
            Subject::Pairing(id) => relation.pairing_id() == Some(id),
            _ => false,
        };
        let mut relations = relations.into_iter().enumerate();
        let found = relations.find(|(_, (_, relation))| named(relation));
        let Some((place, (node, relation))) = found else { return Err(Status::WrongParty) };
        let peer = relation.partner().ok_or(Status::WrongParty)?;
        held.permits(Operation::Revoke, &[self.own.cid(), peer])?;
        if STORES - self.stores.len() < ENDING_RECORDS {
            return Err(Status::WrongState);
        }
        let binding = matches!(statement.subject, Subject::Binding(_));
        let subject = statement.subject.to_bytes();
        self.log_act(now, pdu::DELEGATION, *subject.last_chunk().ok_or(Status::Malformed)?);
        self.end(now, node, relation, binding.then_some(peer))?;
        Ok(binding.then_some(place))
    }
}
