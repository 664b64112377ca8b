//! Keys of bindings that a delegate made, of which the ledger does not know before its journal is brought (`spec/channel.md`, H237):
//! this host carried the ceremonies, and verifies with them what devices sign meanwhile.

use super::*;
use lct::binding::Introduction;
use pack::pdu::{binding as bind, delegation as op};

impl Gateway {
    /// Gives the keys of which the ledger did not know when the outbox was opened.
    pub fn set_field_keys(&mut self, keys: Vec<FieldKey>) {
        self.field.restore(keys);
    }

    /// Says what became of some of them: what the ledger has is known by [`Gateway::set_keys`].
    pub fn set_fates(&mut self, keys: &[FieldKey]) {
        self.field.became(keys);
    }

    /// Says whether the outbox takes what it has to hold.
    pub fn set_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// The keys of `from` in its binding with `with`: that which the ledger has, and those that it does not know yet (H237).
    pub(super) fn keys_between(&self, from: Member, with: Member) -> impl Iterator<Item = PublicKey> {
        let field = self.field_keys_between(from, with).map(|key| key.key);
        self.key_between(from, with).into_iter().chain(field)
    }

    /// Those of them that the ledger does not know.
    pub(super) fn field_keys_between(&self, from: Member, with: Member) -> impl Iterator<Item = &FieldKey> {
        let pair = self.cid_of(from).zip(self.cid_of(with));
        pair.into_iter().flat_map(|(of, with)| self.field.of(of, with))
    }

    fn cid_of(&self, member: Member) -> Option<lct::id::Cid> {
        match member {
            Some(party) => self.cids.get(&party).copied(),
            None => Some(self.app.identity().cid()),
        }
    }

    /// That of them with which something verifies.
    pub(super) fn signed_by(
        &self,
        (from, with): (Member, Member),
        verifies: impl Fn(&PublicKey) -> bool,
    ) -> Option<PublicKey> {
        self.keys_between(from, with).find(verifies)
    }

    /// The same of what `party` measures: signed with the key of its binding with the app or the pack above.
    pub(super) fn measured_by(
        &self,
        party: Party,
        verifies: impl Fn(&PublicKey) -> bool,
    ) -> Option<PublicKey> {
        let above = if party == Party::Pack { None } else { Some(Party::Pack) };
        self.signed_by((Some(party), above), verifies)
    }

    /// Whether a key is known with which `party` signs what it measures.
    pub(super) fn is_measuring(&self, party: Party) -> bool {
        self.measured_by(party, |_| true).is_some()
    }

    /// What passes here tells with which keys a delegate has parts sign of which the ledger does not know (H237). All of it is
    /// verified again: answers come in clear, and so may anybody's messages. What only an answer says makes nothing forgotten.
    pub(super) fn overheard(&mut self, from: Member, message: &[u8], answer: &[u8]) {
        let taken = status_of(answer) == Status::Accepted;
        let learned = match (message, answer) {
            ([pdu::DELEGATION, op::SHOW, shown @ ..], _) if taken => {
                self.field.shown(shown, &self.app.identity().authority.sign_pub());
                Vec::new()
            }
            // Whoever takes it may prove possession at once, and this app state that before the other side is asked.
            ([pdu::BINDING, bind::INTRODUCTION, who @ ..], _) if taken => {
                let new = self.introduced(who).filter(|new| !self.keys.has(&new.key));
                new.and_then(|new| self.field.learn(new)).into_iter().collect()
            }
            ([pdu::CERTIFICATE, certificate @ ..], [pdu::CERTIFICATE, pdu::PAIRING_COMPLETE, done @ ..]) => {
                self.cid_of(from).map_or_else(Vec::new, |by| self.field.paired(by, certificate, done))
            }
            _ => Vec::new(),
        };
        self.outputs.extend(learned.into_iter().map(Output::Learn));
    }

    /// The key of the partner that a delegate introduces, which its manufacturer's chain vouches for.
    fn introduced(&self, message: &[u8]) -> Option<FieldKey> {
        let (bytes, _) = Introduction::split(message).ok()?;
        let (read, delegate) = self.opened(bytes)?;
        let partner = read.device.subject().ok()?;
        read.verify_partner((partner.cid, partner.role), &[self.app.identity().root]).ok()?;
        let (binding, key) = (read.binding_id, read.spk.sign_pub());
        let (time, standing) = (read.time, Standing::Begun);
        Some(FieldKey { binding, of: partner.cid, with: read.own, key, delegate, time, standing })
    }

    /// An introduction that a delegate signed, and who.
    fn opened(&self, bytes: &[u8]) -> Option<(Introduction, PublicKey)> {
        self.field.delegates().find_map(|key| Introduction::open(bytes, key).ok().map(|read| (read, *key)))
    }

    /// The delegate that signed this introduction with its token.
    pub(super) fn introduced_by(&self, message: &[u8]) -> Option<PublicKey> {
        let (bytes, _) = Introduction::split(message).ok()?;
        self.opened(bytes).map(|(_, delegate)| delegate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::service::tests::{at, operating},
        world::{MODULE, PACK, authority},
    };
    use lct::{
        attest::{CertificateType, DeviceCertificate, Subject, spk_attestation_digest},
        certificate::{Certificate, Issue, METADATA_MAX, issue},
        delegation::{Delegation, DelegationId},
        id::{Cid, PairingId},
        metadata::{ClearMetadata, Entity, PairingContext, Timing},
        pairing::Completion,
        revocation::Reason,
        secret::Secret,
        sign::SigningKey,
        spk::SpkSecret,
        validation::EventKind,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    const IDS: [&str; 2] = ["pack-0001", "module-0001"];

    struct Laptop {
        key: SpkSecret,
        rng: ChaCha20Rng,
        /// Of its introductions.
        time: u32,
    }

    impl Laptop {
        fn new(seed: u64) -> Self {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            Laptop { key: SpkSecret::generate(&mut rng).unwrap(), rng, time: 9 }
        }

        fn delegation(&mut self, by: &SigningKey) -> Vec<u8> {
            let right = Delegation {
                number: 1,
                delegate: self.key.public(),
                issued: self.time.min(100),
                not_before: self.time.min(100),
                not_after: 600,
                lease_s: 60,
                operations: 7,
                packs: [Cid::of(IDS[0])].into_iter().collect(),
            };
            right.issue(by, &mut self.rng).unwrap().to_vec()
        }

        /// The module is introduced to the pack with `spk`, under a manufacturer's `root`.
        fn introduction(&mut self, spk: &SpkSecret, root: &SigningKey) -> Vec<u8> {
            let [batch_key, device_key] = [(); 2].map(|()| SigningKey::generate(&mut self.rng));
            let mut certificate = |kind, key: &SigningKey, by: &SigningKey| {
                let (cid, role, hw) = (Cid::of(IDS[1]), Role::Module, [0; 8]);
                let (flags, not_before, not_after, code_commit) = (0, 0, u32::MAX, [0; 32]);
                let key = key.public();
                let subject = Subject { kind, cid, role, flags, not_before, not_after, hw, key, code_commit };
                DeviceCertificate::issue(&subject, by, &mut self.rng)
            };
            let batch = certificate(CertificateType::Batch, &batch_key, root);
            let device = certificate(CertificateType::Device, &device_key, &batch_key);
            let (cid, own) = (Cid::of(IDS[1]), Cid::of(IDS[0]));
            let digest = spk_attestation_digest(&cid, Role::Module, &spk.public(), &own, &[3; 16]);
            let partner = Introduction {
                binding_id: BindingId([6; 16]),
                own,
                device,
                batch,
                spk: spk.public(),
                nonce: [3; 16],
                attestation: device_key.sign(&digest, &mut self.rng),
                access_commits: [[0; 32]; 2],
                time: self.time,
                assurance: Assurance::Attested,
            };
            let signed = partner.issue(self.key.signing_key(), &mut self.rng).unwrap();
            [&[pdu::BINDING, bind::INTRODUCTION][..], &signed].concat()
        }

        fn certificate(&mut self, spk: &SpkSecret) -> Vec<u8> {
            let entity = |id, role| Entity { cid: Cid::of(id), role, access: Default::default() };
            let metadata = ClearMetadata {
                pairing_id: PairingId([7; 16]),
                context: PairingContext::BatteryManagement,
                entities: [entity(IDS[0], Role::Pack), entity(IDS[1], Role::Module)],
                timing: Timing { created: 9, valid_from: 9, expires: 60, max_uses: 0 },
                operations: 7,
                unencrypted_allowed: Default::default(),
                salt: [1; 32],
                iv_seed: [1; 16],
                policy_version: 1,
                compact: Default::default(),
                crl_number: 1,
            };
            let mut clear = [0; METADATA_MAX];
            let n = metadata.encode(&mut clear).unwrap();
            let [half_a, half_b, exchange_key] = [(); 3].map(|()| Secret::random(&mut self.rng));
            let what = Issue {
                pairing_id: metadata.pairing_id,
                clear_metadata: &clear[..n],
                spk_a: &spk.public(),
                spk_b: &spk.public(),
                spk_authority: &self.key.public(),
                key: self.key.signing_key(),
                half_a: &half_a,
                half_b: &half_b,
                exchange_key: &exchange_key,
                validation_nonce: &[1; 32],
                endpoint: "/",
                timeout_s: 9,
            };
            [&[pdu::CERTIFICATE][..], &issue(&what, &mut self.rng).unwrap()].concat()
        }
    }

    fn shown(delegation: &[u8]) -> [Vec<u8>; 2] {
        let id = DelegationId::of(delegation).0;
        let message = [&[pdu::DELEGATION, op::SHOW], delegation].concat();
        [message, [&[pdu::DELEGATION, op::TAKEN][..], &id, &[0]].concat()]
    }

    /// What a device answers that is paired under this certificate, signed with `spk`.
    fn completed(certificate: &[u8], spk: &SpkSecret, rng: &mut ChaCha20Rng) -> Vec<u8> {
        let cert_hash = Certificate::parse(&certificate[1..]).unwrap().hash();
        let (pairing_id, nonce, th4) = (PairingId([7; 16]), [8; 32], [9; 32]);
        let done = Completion { pairing_id, nonce, cert_hash, th4 };
        let signature = spk.signing_key().sign(&done.digest(), rng);
        let head = [pdu::CERTIFICATE, pdu::PAIRING_COMPLETE];
        [&head[..], &pairing_id.0, &nonce, &th4, &signature.0].concat()
    }

    fn learned(gateway: &mut Gateway) -> Vec<FieldKey> {
        let outputs = gateway.outputs.drain(..);
        outputs.filter_map(|o| if let Output::Learn(key) = o { Some(key) } else { None }).collect()
    }

    /// H237: what the module signs with a key that the ledger does not know is verified with what this host carried, from the
    /// pairing on, and only under the authority's delegation and the manufacturer's root.
    #[test]
    fn keys_of_the_field_are_those_of_a_delegate_whom_the_authority_names() {
        let root = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let other = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(2));
        let spk = SpkSecret::generate(&mut ChaCha20Rng::seed_from_u64(8)).unwrap();
        let key = spk.public().sign_pub();
        let signed = [&[pdu::BINDING, bind::SIGNED][..], &[6; 16], &[0; 64]].concat();
        for (what, by_authority, by_maker, expected) in [
            ("a stranger's delegate", false, true, 0),
            ("a stranger's module", true, false, 0),
            ("good", true, true, 2),
        ] {
            let (mut laptop, mut gateway) = (Laptop::new(4), operating());
            let authority = authority();
            let issuer = if by_authority { authority.signing_key() } else { &other };
            let [message, answer] = shown(&laptop.delegation(issuer));
            gateway.overheard(PACK, &message, &answer);
            let introduction = laptop.introduction(&spk, if by_maker { &root } else { &other });
            gateway.overheard(PACK, &introduction, &[pdu::BINDING, bind::STATUS, Status::WrongParty as u8]);
            assert_eq!(learned(&mut gateway), [], "{what}: refused");
            gateway.overheard(PACK, &introduction, &signed);
            gateway.overheard(PACK, &introduction, &signed);
            let verifies = |gateway: &Gateway| gateway.measured_by(Party::Module(1), |known| *known == key);
            assert_eq!(verifies(&gateway), None, "{what}: the laptop may not have it in its journal yet");
            let certificate = laptop.certificate(&spk);
            let mut rng = ChaCha20Rng::seed_from_u64(10);
            let foreign = Laptop::new(5).certificate(&spk);
            let complete = completed(&foreign, &spk, &mut rng);
            gateway.overheard(MODULE, &foreign, &complete);
            assert_eq!(verifies(&gateway), None, "{what}: by somebody else");
            let stranger = SpkSecret::generate(&mut rng).unwrap();
            let (forged, complete) =
                (completed(&certificate, &stranger, &mut rng), completed(&certificate, &spk, &mut rng));
            gateway.overheard(MODULE, &certificate, &forged);
            gateway.overheard(PACK, &certificate, &complete);
            assert_eq!(verifies(&gateway), None, "{what}: said in clear, and not signed with the key");
            gateway.overheard(MODULE, &certificate, &complete);
            gateway.overheard(MODULE, &certificate, &complete);
            let told = learned(&mut gateway);
            assert_eq!(told.len(), expected, "{what}");
            let [begun, stands] = told[..] else { continue };
            assert_eq!(begun.standing, Standing::Begun);
            assert_eq!(stands, FieldKey { standing: Standing::Stands, ..begun });
            let names = (Cid::of(IDS[1]), Cid::of(IDS[0]), BindingId([6; 16]));
            assert_eq!((stands.of, stands.with, stands.binding), names);
            assert_eq!(verifies(&gateway), Some(key));
            // After a restart they are those of the outbox.
            let mut again = operating();
            again.set_field_keys(vec![stands]);
            assert_eq!(verifies(&again), Some(key));
            // The ledger knows it.
            let mut keys = Keys::default();
            keys.insert(Party::Module(1), PACK, key);
            again.set_keys(keys);
            assert!(!again.field.has(&key) && verifies(&again) == Some(key));
        }
    }

    /// Whoever hears the bus of an earlier day can have its introductions carried again and say that they were taken: the one that is
    /// under way is not forgotten for that, and comes to something.
    #[test]
    fn a_forged_answer_makes_no_key_forgotten() {
        let root = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let (mut laptop, mut gateway) = (Laptop { time: 50, ..Laptop::new(4) }, operating());
        let [message, answer] = shown(&laptop.delegation(authority().signing_key()));
        gateway.overheard(PACK, &message, &answer);
        let signed = [&[pdu::BINDING, bind::SIGNED][..], &[6; 16], &[0; 64]].concat();
        let mut spks = Vec::new();
        for time in [1_000, 1, 2, 3, 4, 5, 6] {
            let spk = SpkSecret::generate(&mut rng).unwrap();
            laptop.time = time;
            gateway.overheard(PACK, &laptop.introduction(&spk, &root), &signed);
            spks.push(spk);
        }
        // Old delegations of others do the same to the list of delegates.
        for seed in 20..30 {
            let [message, answer] = shown(&Laptop::new(seed).delegation(authority().signing_key()));
            gateway.overheard(PACK, &message, &answer);
        }
        let certificate = laptop.certificate(&spks[0]);
        gateway.overheard(MODULE, &certificate, &completed(&certificate, &spks[0], &mut rng));
        let key = spks[0].public().sign_pub();
        assert_eq!(gateway.measured_by(MODULE.unwrap(), |known| *known == key), Some(key));
    }

    fn field_key(key: &SigningKey, delegate: u8, standing: Standing) -> FieldKey {
        let (of, with, binding) = (Cid::of(IDS[1]), Cid::of(IDS[0]), BindingId([6; 16]));
        let delegate = SigningKey::from_bytes(&[delegate; 32]).unwrap().public();
        FieldKey { binding, of, with, key: key.public(), delegate, time: 9, standing }
    }

    /// The module ends a pairing that a laptop made: that goes to be held, and is not dropped because the ledger has no such key.
    #[test]
    fn the_end_of_a_pairing_under_a_key_of_the_field_is_kept() {
        let (mut gateway, mut rng) = (operating(), ChaCha20Rng::seed_from_u64(7));
        let [known, field] = [(); 2].map(|()| SigningKey::generate(&mut rng));
        let (cid, partner) = (Cid::of(IDS[1]), Cid::of(IDS[0]));
        gateway.set_signers(vec![Signer { cid, partner, key: known.public() }]);
        let payload = [&[7; 16][..], &[Reason::Retired as u8]].concat();
        let said = lct::validation::Event::new(EventKind::PairingRevocation, cid, 1, 1, &payload).unwrap();
        let mut bytes = [0; lct::validation::EVENT_MAX];
        let n = said.encode(&mut bytes).unwrap();
        let signature = said.sign(&field, &mut rng).unwrap();
        let statement = [&[n as u8], &bytes[..n], &signature.0].concat();
        gateway.ended(at(0), &statement);
        assert!(gateway.outputs.is_empty(), "signed by nobody");
        gateway.set_field_keys(vec![field_key(&field, 5, Standing::Stands)]);
        gateway.ended(at(0), &statement);
        let Some(Output::Keep(Job::Withdrawal { key, .. }, None)) = gateway.outputs.pop_front() else {
            panic!("it is kept")
        };
        assert_eq!(key, field.public());
    }

    /// An introduction that ends a key of the field is weighed with what that signed, but where the same laptop made both: its journal
    /// tells of the first one before it ends it (H238).
    #[test]
    fn keys_of_the_field_end_with_another_binding() {
        let root = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        let (field, spk) = (SigningKey::generate(&mut rng), SpkSecret::generate(&mut rng).unwrap());
        let mut laptop = Laptop::new(4);
        let introduction = laptop.introduction(&spk, &root);
        let [message, answer] = shown(&laptop.delegation(authority().signing_key()));
        for (own, expected) in [(false, vec![field.public()]), (true, vec![])] {
            let mut gateway = operating();
            gateway.overheard(PACK, &message, &answer);
            let key = field_key(&field, 5, Standing::Stands);
            let delegate = if own { laptop.key.public().sign_pub() } else { key.delegate };
            gateway.set_field_keys(vec![FieldKey { delegate, ..key }]);
            assert_eq!(gateway.keys_ending(IDS[0], &introduction), expected);
        }
    }

    /// H251: a device whose key the ledger will never have keeps what it signs with it; nobody calls that a contradiction.
    #[test]
    fn what_a_void_key_signs_stays_with_its_device() {
        let (mut gateway, mut rng) = (operating(), ChaCha20Rng::seed_from_u64(7));
        let key = SigningKey::generate(&mut rng);
        gateway.set_field_keys(vec![field_key(&key, 5, Standing::Stands)]);
        gateway.set_fates(&[field_key(&key, 5, Standing::Void)]);
        let cid = Cid::of(IDS[1]);
        let (root, party) = ([1; 32], Party::Module(1));
        let statement = BatchStatement { cid, first_seq: 0, count: 1, root, first_ms: 9, last_ms: 9 };
        let signature = statement.sign(&key, &mut rng).unwrap();
        gateway.batch(at(0), party, statement, signature).unwrap();
        let job = Job::Metrics { statement: vec![1], key: key.public(), signature };
        let by = (key.public(), None);
        let kept = Kept { party: MODULE, kind: pdu::METRICS, number: 1, by, again: true };
        assert!(!gateway.keep(job, kept));
        assert!(gateway.outputs.is_empty(), "neither kept nor called a contradiction");
        gateway.set_fates(&[field_key(&key, 5, Standing::Recorded)]);
        gateway.batch(at(0), party, statement, signature).unwrap();
        assert!(matches!(gateway.outputs.pop_front(), Some(Output::Event(Event::Contradiction(_)))));
    }

    /// Without room nothing is taken that would have to be held; its device keeps it and tells it again.
    #[test]
    fn without_room_a_batch_stays_with_its_device() {
        let mut gateway = operating();
        let (key, mut rng) = (SigningKey::from_bytes(&[5; 32]).unwrap(), ChaCha20Rng::seed_from_u64(7));
        let of = Cid::of(IDS[1]);
        gateway.set_field_keys(vec![field_key(&key, 5, Standing::Stands)]);
        let party = Party::Module(1);
        let record = lct::record::Record {
            cid: of,
            seq: 0,
            time_ms: 9,
            kind: lct::record::RecordKind::Module,
            values: [1].into_iter().collect(),
        };
        let root = lct::merkle::root(&[record.leaf().unwrap()]);
        let statement = BatchStatement { cid: of, first_seq: 0, count: 1, root, first_ms: 9, last_ms: 9 };
        let signature = statement.sign(&key, &mut rng).unwrap();
        gateway.collector.record(party, &record).unwrap();
        gateway.set_room(false);
        gateway.batch(at(0), party, statement, signature).unwrap();
        assert!(gateway.outputs.is_empty(), "neither kept nor said to be wrong");
        gateway.set_room(true);
        for _ in 0..2 {
            gateway.batch(at(1), party, statement, signature).unwrap();
        }
        let Some(Output::Keep(Job::Batch { key: by, entries, .. }, Some(kept))) = gateway.outputs.pop_front()
        else {
            panic!("it is kept")
        };
        assert_eq!((by, entries.len(), gateway.outputs.len()), (key.public(), 1, 0));
        // The disk was fuller than thought: the same again is a batch again.
        gateway.not_kept(kept);
        gateway.collector.record(party, &record).unwrap();
        gateway.batch(at(2), party, statement, signature).unwrap();
        assert_eq!(gateway.outputs.len(), 1);
        assert_eq!(MODULE, Some(party));
    }
}
