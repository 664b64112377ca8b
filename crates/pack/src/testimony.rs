//! Validation events of a device on their way to the ledger, and the word of their witnesses
//! (`spec/channel.md`, H170 to H174).
//!
//! ```text
//! 07 05 | node | with | n u16 | event n | signature 64 [ | attestation 89 ]    upwards, at exch tier
//! 07 06 | n u16 | event n | signature 64                                        asks a peer to witness it
//! 07 86 | attestation 89                                                        its word
//! ```
//! An event is signed when it is its turn, so that numbers leave a device in ascending order, and told until whoever
//! brings it to the ledger has it. One at a time is under way.

use crate::{
    pdu::{self, Pdu, validation as events},
    time::{Duration, Instant},
};
use lct::{
    Digest, Error,
    codec::Fields,
    sign::{PublicKey, Signature, SigningKey},
    validation::{Access, Attestation, EVENT_MAX, Escalation, Event, EventKind, ValidationLevel},
};
use rand_core::CryptoRng;

/// How long an event waits for its acknowledgement before it is told again.
pub const RETRY: Duration = Duration::from_secs(2);
/// How long a pack waits for the word of one module before it asks another.
const WITNESS_WAIT: Duration = Duration::from_millis(1_500);
/// How often a witness is asked for before the event is given up.
const WITNESS_TRIES: u8 = 8;
/// Longest payload that a device states by itself: an id and a hash.
const KEPT: usize = 48;

/// Type of what flowed through a module, which its pack asks for with `cycle u32 | event u32` behind it (H241).
pub(crate) const ENERGY: u8 = EventKind::Energy as u8;

/// A signed event as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Canonical bytes of the event.
    pub event: heapless::Vec<u8, EVENT_MAX>,
    /// Its signer's signature.
    pub signature: Signature,
}

impl Signed {
    /// The event itself.
    pub fn decode(&self) -> Result<Event, Error> {
        Event::decode(&self.event)
    }

    fn read(f: &mut Fields<'_>) -> Result<Self, Error> {
        let n = usize::from(u16::from_be_bytes(f.array()?));
        let event = heapless::Vec::from_slice(f.slice(n)?).map_err(|_| Error::Malformed)?;
        Ok(Signed { event, signature: Signature(f.array()?) })
    }

    fn length(&self) -> [u8; 2] {
        // At most 288.
        (self.event.len() as u16).to_be_bytes()
    }
}

/// An event on its way up (`07 05`), after these two bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Who signed: 0 the sender itself, else the module with this node.
    pub node: u8,
    /// The binding whose key signed: of the signer with the app or the pack above (0), or with the module of this node.
    pub with: u8,
    /// The event.
    pub signed: Signed,
    /// The word of a witness.
    pub attestation: Option<Attestation>,
}

impl Told {
    /// Reads the body after `07 05`.
    ///
    /// # Errors
    /// [`Error::Malformed`]: the sender is to blame.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut f = Fields::new(body);
        let (node, with) = (f.u8()?, f.u8()?);
        let signed = Signed::read(&mut f)?;
        let rest = f.rest();
        let attestation = if rest.is_empty() { None } else { Some(Attestation::decode(rest)?) };
        Ok(Told { node, with, signed, attestation })
    }

    /// The PDU.
    pub fn to_pdu(&self) -> Result<Pdu, Error> {
        let head = [pdu::VALIDATION, events::TOLD, self.node, self.with];
        let bytes = self.attestation.map(|a| a.encode());
        let word: &[u8] = bytes.as_ref().map_or(&[], |bytes| bytes);
        pdu::build(&[&head, &self.signed.length(), &self.signed.event, &self.signed.signature.0, word])
    }
}

/// Asks a peer to be the witness (`07 06`).
pub(crate) fn ask_witness(signed: &Signed) -> Result<Pdu, Error> {
    let head = [pdu::VALIDATION, events::WITNESS];
    pdu::build(&[&head, &signed.length(), &signed.event, &signed.signature.0])
}

/// Reads the body after `07 06`.
pub(crate) fn asked_witness(body: &[u8]) -> Result<Signed, Error> {
    let mut f = Fields::new(body);
    let signed = Signed::read(&mut f)?;
    f.end()?;
    Ok(signed)
}

/// The number by which an event is acknowledged: `boot counter << 32 | seq`.
pub fn number((boot, seq): (u32, u32)) -> u64 {
    u64::from(boot) << 32 | u64::from(seq)
}

/// What an app has a party state (`07 07 | node | with | type [| root 32]`, H190).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// That it is there, and where (11).
    Presence,
    /// The state that it holds, with a witness (21).
    State,
    /// The session of its binding (31): 0 with the app or the pack above, else of the pack with this module.
    Handshake(u8),
    /// A fresh session of its pairing with the app or the pack above (41).
    Session,
    /// A signed command to this module (51): of the pack.
    Command(u8),
    /// That its binding is in force in the state of the ledger with this root (72); with whom as above.
    Verification(u8, Digest),
}

impl Asked {
    /// With whom, and `type [| root 32]`.
    pub(crate) fn encode(&self) -> (u8, heapless::Vec<u8, 33>) {
        let (kind, with, root) = match self {
            Asked::Presence => (EventKind::Announce, 0, None),
            Asked::State => (EventKind::StateChange, 0, None),
            Asked::Handshake(with) => (EventKind::SignedHandshake, *with, None),
            Asked::Session => (EventKind::PairedHandshake, 0, None),
            Asked::Command(with) => (EventKind::Command, *with, None),
            Asked::Verification(with, root) => (EventKind::BindingVerification, *with, Some(root)),
        };
        let bytes = [kind as u8].into_iter().chain(root.into_iter().flatten().copied());
        (with, bytes.collect())
    }
}

/// What a device wants to state.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) kind: EventKind,
    /// The relationship whose key signs: 0 with the app or the pack above, else with this module.
    pub(crate) with: u8,
    pub(crate) payload: heapless::Vec<u8, KEPT>,
    /// When it happened, if the device knows.
    pub(crate) time_ms: Option<u64>,
    pub(crate) escalation: Option<Escalation>,
}

struct Head {
    told: Told,
    number: u64,
    /// Whether it left this device upwards.
    sent: bool,
}

/// What waits to be stated, first in first out; `N` at most.
pub(crate) struct Testimony<const N: usize> {
    waiting: heapless::Deque<Claim, N>,
    /// The first of them, signed.
    head: Option<Head>,
    due: Instant,
    /// How long the first of them waits after nothing did.
    turn: Duration,
    tries: u8,
    lost: u32,
}

impl<const N: usize> Testimony<N> {
    pub(crate) fn new(now: Instant) -> Self {
        let turn = Duration::ZERO;
        Testimony { waiting: heapless::Deque::new(), head: None, due: now, turn, tries: 0, lost: 0 }
    }

    /// Others on the bus want to state things at the same moments: so long this one lets them go first.
    pub(crate) fn set_turn(&mut self, turn: Duration) {
        self.turn = turn;
    }

    /// Wants this stated; what finds no room is counted.
    pub(crate) fn claim(&mut self, now: Instant, claim: Claim) {
        if self.waiting.is_empty() {
            self.due = self.due.max(now + self.turn);
        }
        if self.waiting.push_back(claim).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Whether a peer may ask for one more: half of the room is kept for what happens by itself.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < N / 2
    }

    /// Whether a statement of this kind about the relationship `with` waits that has not left this device.
    pub(crate) fn waits(&self, kind: u8, with: u8) -> bool {
        let told = usize::from(self.head.is_some());
        self.waiting.iter().skip(told).any(|claim| (claim.kind as u8, claim.with) == (kind, with))
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Events that found no room, or no witness.
    pub(crate) fn lost(&self) -> u32 {
        self.lost
    }

    /// When there is something to do, while there is a channel upwards.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.due)
    }

    /// Whether the first one needs a witness that it does not have.
    pub(crate) fn needs_witness(&self) -> bool {
        let first = self.waiting.front().is_some_and(|c| c.kind.level() == ValidationLevel::Witness);
        first && self.head.as_ref().is_none_or(|head| head.told.attestation.is_none())
    }

    /// The relationship whose key signs the first one.
    pub(crate) fn with(&self) -> Option<u8> {
        self.waiting.front().map(|claim| claim.with)
    }

    /// Signs the first one with `key`, of the relationship `with`, unless it is signed.
    pub(crate) fn sign(
        &mut self,
        (cid, boot, seq): (lct::id::Cid, u32, u32),
        access: Option<Access>,
        with: u8,
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let Some(claim) = self.waiting.front() else { return Ok(()) };
        let event = Event {
            access: access.filter(|_| claim.kind == EventKind::Announce),
            time_ms: claim.time_ms,
            escalation: claim.escalation,
            ..Event::new(claim.kind, cid, boot, seq, &claim.payload)?
        };
        let signature = event.sign(key, rng)?;
        let mut bytes = [0; EVENT_MAX];
        let n = event.encode(&mut bytes)?;
        let event = heapless::Vec::from_slice(&bytes[..n]).map_err(|_| Error::BufferTooSmall)?;
        let told = Told { node: 0, with, signed: Signed { event, signature }, attestation: None };
        self.head = Some(Head { told, number: number((boot, seq)), sent: false });
        Ok(())
    }

    /// Whether the first one is signed.
    pub(crate) fn is_signed(&self) -> bool {
        self.head.is_some()
    }

    /// A new binding stands in the relationship `with`: what was signed is signed anew. What is about the binding before or its
    /// pairing goes: no key of the new one can say it.
    pub(crate) fn rebound(&mut self, with: u8) {
        use EventKind::*;
        self.head = None;
        self.waiting.retain(|claim| {
            let of_relation = matches!(
                claim.kind,
                SignedHandshake
                    | PairedHandshake
                    | PairingCompletion
                    | BindingEstablishment
                    | BindingVerification
            );
            claim.with != with || !of_relation
        });
    }

    /// Something else is stated now: what was signed and not told is signed anew, so that its number comes after.
    pub(crate) fn yield_turn(&mut self) {
        self.head.take_if(|head| !head.sent);
    }

    /// What is to be told upwards now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<&Told> {
        let head = self.head.as_mut().filter(|_| self.due <= now)?;
        head.sent = true;
        self.due = now + RETRY;
        Some(&head.told)
    }

    /// What a witness is to be asked about now. `None` once it was asked for often enough: the event is given up.
    pub(crate) fn poll_witness(&mut self, now: Instant) -> Option<&Signed> {
        if self.tries >= WITNESS_TRIES {
            self.lost = self.lost.saturating_add(1);
            self.next(now);
            return None;
        }
        (self.tries, self.due) = (self.tries + 1, now + WITNESS_WAIT);
        self.head.as_ref().map(|head| &head.told.signed)
    }

    /// No witness can be asked now.
    pub(crate) fn wait(&mut self, now: Instant) {
        (self.tries, self.due) = (self.tries.saturating_add(1), now + WITNESS_WAIT);
        if self.tries >= WITNESS_TRIES {
            self.lost = self.lost.saturating_add(1);
            self.next(now);
        }
    }

    /// The word of the peer in the relationship `with`, whose key is `key`.
    pub(crate) fn attested(
        &mut self,
        now: Instant,
        with: u8,
        word: &[u8],
        key: &PublicKey,
    ) -> Result<(), Error> {
        let Some(head) = self.head.as_mut().filter(|head| head.told.with == with) else { return Ok(()) };
        let attestation = Attestation::decode(word)?;
        attestation.verify((&head.told.signed.decode()?, &head.told.signed.signature), key)?;
        head.told.attestation = Some(attestation);
        self.due = now;
        Ok(())
    }

    /// Whoever brings it to the ledger has the event with this number.
    pub(crate) fn acknowledge(&mut self, now: Instant, number: u64) {
        if self.head.as_ref().is_some_and(|head| head.number == number) {
            self.next(now);
        }
    }

    /// Goes on with the one after the first.
    pub(crate) fn next(&mut self, now: Instant) {
        self.waiting.pop_front();
        (self.head, self.tries, self.due) = (None, 0, now);
    }
}

/// What was witnessed of one peer: the last position (V4).
#[derive(Debug, Default)]
pub(crate) struct Witnessed(Option<(u32, u32)>);

impl Witnessed {
    /// Judges an event of the peer `cid`, whose key is `key`: level 2, its own, and not below what was witnessed before.
    /// The same one again is attested again.
    ///
    /// # Errors
    /// [`Error::WrongParty`] for another signer or level, [`Error::Expired`] for an older one.
    pub(crate) fn judge(
        &mut self,
        signed: &Signed,
        cid: lct::id::Cid,
        key: &PublicKey,
    ) -> Result<Event, Error> {
        let event = signed.decode()?;
        if event.cid != cid || event.level() != ValidationLevel::Witness {
            return Err(Error::WrongParty);
        }
        if Some(event.position()) < self.0 {
            return Err(Error::Expired);
        }
        event.verify(key, &signed.signature)?;
        self.0 = Some(event.position());
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::id::Cid;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    const SIGNER: Cid = Cid([1; 16]);

    fn claim(kind: EventKind, payload: &[u8]) -> Claim {
        let payload = heapless::Vec::from_slice(payload).unwrap();
        Claim { kind, with: 0, payload, time_ms: Some(7), escalation: None }
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn signed(event: &Event, key: &SigningKey, rng: &mut ChaCha20Rng) -> Signed {
        let mut bytes = [0; EVENT_MAX];
        let n = event.encode(&mut bytes).unwrap();
        Signed {
            event: heapless::Vec::from_slice(&bytes[..n]).unwrap(),
            signature: event.sign(key, rng).unwrap(),
        }
    }

    #[test]
    fn a_witness_vouches_for_its_peer_and_for_nothing_older() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let [key, other] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let fault = |cid, boot, seq| Event::new(EventKind::Fault, cid, boot, seq, b"hot").unwrap();
        let announce = Event::new(EventKind::Announce, SIGNER, 9, 9, &[0, 0]).unwrap();
        let mut witnessed = Witnessed::default();
        let mut judge = |event: &Event, by: &SigningKey| {
            let signed = signed(event, by, &mut rng);
            witnessed.judge(&signed, SIGNER, &key.public()).map(|event| event.position())
        };
        assert_eq!(judge(&fault(SIGNER, 1, 5), &key), Ok((1, 5)));
        assert_eq!(judge(&fault(SIGNER, 1, 5), &key), Ok((1, 5)), "its word did not arrive");
        assert_eq!(judge(&fault(SIGNER, 1, 4), &key), Err(Error::Expired));
        assert_eq!(judge(&fault(SIGNER, 1, 6), &other), Err(Error::NotAuthentic));
        assert_eq!(judge(&fault(Cid([2; 16]), 1, 6), &key), Err(Error::WrongParty));
        assert_eq!(judge(&announce, &key), Err(Error::WrongParty), "level 1 has no witness");
        assert_eq!(judge(&fault(SIGNER, 1, 6), &key), Ok((1, 6)), "what was refused left no trace");
        assert_eq!(judge(&fault(SIGNER, 2, 1), &key), Ok((2, 1)));
    }

    /// H170: signed with the key of a new binding, the ledger refuses what is about the one before (207).
    #[test]
    fn a_new_binding_says_nothing_of_the_one_before() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let key = SigningKey::generate(&mut rng);
        let mut testimony = Testimony::<8>::new(at(0));
        let of = |kind, with| Claim { with, ..claim(kind, &[7; 48]) };
        use EventKind::*;
        let all = [
            (PairingCompletion, 2),
            (Announce, 0),
            (PairingCompletion, 3),
            (BindingVerification, 2),
            (Command, 2),
            (SignedHandshake, 2),
            (BindingEstablishment, 2),
        ];
        all.iter().for_each(|(kind, with)| testimony.claim(at(0), of(*kind, *with)));
        testimony.sign((SIGNER, 1, 1), None, 2, &key, &mut rng).unwrap();
        testimony.rebound(2);
        testimony.claim(at(0), of(BindingEstablishment, 2));
        assert!(!testimony.is_signed());
        let left: std::vec::Vec<_> = testimony.waiting.iter().map(|c| (c.kind, c.with)).collect();
        assert_eq!(left, [(Announce, 0), (PairingCompletion, 3), (Command, 2), (BindingEstablishment, 2)]);
    }

    #[test]
    fn statements_are_told_one_at_a_time_until_they_are_kept() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let key = SigningKey::generate(&mut rng);
        let mut testimony = Testimony::<2>::new(at(0));
        for payload in [[0, 1], [0, 2], [0, 3]] {
            testimony.claim(at(0), claim(EventKind::Announce, &payload));
        }
        assert_eq!(testimony.lost(), 1, "no room for the third");
        for seq in 1..=2 {
            testimony.sign((SIGNER, 3, seq), None, 0, &key, &mut rng).unwrap();
            let now = u64::from(seq) * 10_000;
            let first = testimony.poll(at(now)).cloned().unwrap();
            assert_eq!(testimony.poll(at(now)), None);
            assert_eq!(testimony.poll(at(now + 2_000)), Some(&first), "the same bytes");
            let event = first.signed.decode().unwrap();
            assert_eq!((event.position(), event.payload.as_slice()), ((3, seq), &[0, seq as u8][..]));
            testimony.acknowledge(at(now), number((3, seq + 1)));
            assert!(testimony.is_signed(), "the receipt of another");
            testimony.acknowledge(at(now), number((3, seq)));
        }
        assert!(testimony.is_empty() && testimony.due().is_none());
    }

    /// The end of a pairing takes a number: what was signed before and not told comes after it.
    #[test]
    fn what_was_not_told_lets_others_go_first() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let key = SigningKey::generate(&mut rng);
        let mut testimony = Testimony::<2>::new(at(0));
        testimony.claim(at(0), claim(EventKind::Announce, &[0, 1]));
        testimony.sign((SIGNER, 3, 1), None, 0, &key, &mut rng).unwrap();
        testimony.yield_turn();
        assert!(!testimony.is_signed() && testimony.poll(at(0)).is_none());
        testimony.sign((SIGNER, 3, 3), None, 0, &key, &mut rng).unwrap();
        let told = testimony.poll(at(0)).cloned().unwrap();
        testimony.yield_turn();
        assert_eq!(testimony.poll(at(5_000)), Some(&told), "whoever may have it gets the same bytes");
    }

    #[test]
    fn without_a_witness_it_is_given_up() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let [key, witness] = core::array::from_fn(|_| SigningKey::generate(&mut rng));
        let mut testimony = Testimony::<4>::new(at(0));
        testimony.claim(at(0), claim(EventKind::Fault, b"hot"));
        testimony.claim(at(0), claim(EventKind::Fault, b"cold"));
        assert!(testimony.needs_witness());
        testimony.sign((SIGNER, 1, 1), None, 4, &key, &mut rng).unwrap();
        let asked = testimony.poll_witness(at(0)).cloned().unwrap();
        let said = |time, rng: &mut ChaCha20Rng| {
            let event = asked.decode().unwrap();
            Attestation::sign(Cid([2; 16]), time, (&event, &asked.signature), &witness, rng).unwrap().encode()
        };
        let word = said(9, &mut rng);
        testimony.attested(at(1), 5, &word, &witness.public()).unwrap();
        assert!(testimony.needs_witness(), "that was not asked");
        let forged = testimony.attested(at(1), 4, &word, &key.public());
        assert_eq!(forged, Err(Error::NotAuthentic));
        testimony.attested(at(1), 4, &word, &witness.public()).unwrap();
        assert!(!testimony.needs_witness());
        assert!(testimony.poll(at(1)).unwrap().attestation.is_some());
        testimony.acknowledge(at(1), number((1, 1)));
        for tries in 0..WITNESS_TRIES {
            assert!(testimony.needs_witness() && testimony.lost() == 0, "{tries}");
            testimony.wait(at(2));
        }
        assert_eq!((testimony.is_empty(), testimony.lost()), (true, 1));
    }

    #[test]
    fn a_told_statement_has_one_encoding() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let key = SigningKey::generate(&mut rng);
        let event = Event::new(EventKind::Fault, SIGNER, 1, 1, b"hot").unwrap();
        let signed = signed(&event, &key, &mut rng);
        let said = Attestation::sign(Cid([2; 16]), 5, (&event, &signed.signature), &key, &mut rng).unwrap();
        for attestation in [None, Some(said)] {
            let told = Told { node: 3, with: 1, signed: signed.clone(), attestation };
            let pdu = told.to_pdu().unwrap();
            assert_eq!(Told::parse(&pdu[2..]), Ok(told.clone()));
            let whole = pdu.len() - if attestation.is_some() { 89 } else { 0 };
            for end in (2..pdu.len()).filter(|end| *end != whole) {
                assert_eq!(Told::parse(&pdu[2..end]), Err(Error::Malformed), "{end}");
            }
        }
    }
}
