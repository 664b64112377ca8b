//! Statements in bytes: certificates, metadata, introductions, packages, commands, records. Where a signature guards
//! them, the input is signed first, so that what an authentic statement may contain is reached too.

use crate::fixture::{AUTHORITY, SIDE_A, SIDE_B, cid_a, cid_b, rng, signed};
use lct::id::{BindingId, PairingId, Role};
use lct::secret::Secret;

pub mod metadata {
    use super::*;
    use lct::metadata::{ClearMetadata, Entity, PairingContext, Timing};

    pub fn example() -> Vec<u8> {
        let side =
            |cid, role| Entity { cid, role, access: heapless::Vec::from_slice(b"can").expect("short") };
        let metadata = ClearMetadata {
            pairing_id: PairingId([1; 16]),
            context: PairingContext::BatteryManagement,
            entities: [side(cid_a(), Role::App), side(cid_b(), Role::Pack)],
            timing: Timing { created: 1, valid_from: 1, expires: u32::MAX, max_uses: 0 },
            operations: 7,
            unencrypted_allowed: heapless::Vec::from_slice(&[0x410]).expect("short"),
            salt: [3; 32],
            iv_seed: [4; 16],
            policy_version: 1,
            compact: heapless::Vec::from_slice(&[0x508]).expect("short"),
            crl_number: 0,
        };
        let mut out = [0; 512];
        let n = metadata.encode(&mut out).expect("fits");
        out[..n].to_vec()
    }

    pub fn seeds() -> Vec<Vec<u8>> {
        vec![example()]
    }

    pub fn run(data: &[u8]) {
        if let Ok(metadata) = ClearMetadata::decode(data) {
            let mut out = [0; 512];
            let n = metadata.encode(&mut out).expect("what was read fits");
            assert_eq!(&out[..n], data, "one encoding only");
        }
    }
}

pub mod certificate {
    use super::*;
    use lct::certificate::{Certificate, Issue, VALIDATION_BUFFER, issue};
    use lct::exchange::{Side, pairing_key};

    fn halves() -> [Secret<32>; 3] {
        [1, 2, 3].map(|b| Secret::new([b; 32]))
    }

    pub fn seeds() -> Vec<Vec<u8>> {
        let [half_a, half_b, exchange_key] = halves();
        let what = Issue {
            pairing_id: PairingId([1; 16]),
            clear_metadata: &super::metadata::example(),
            spk_a: &SIDE_A.public(),
            spk_b: &SIDE_B.public(),
            spk_authority: &AUTHORITY.public(),
            key: AUTHORITY.signing_key(),
            half_a: &half_a,
            half_b: &half_b,
            exchange_key: &exchange_key,
            validation_nonce: &[9; 32],
            endpoint: "http://127.0.0.1/api/v1/pairings",
            timeout_s: 3600,
        };
        let whole = issue(&what, &mut rng()).expect("fits");
        vec![whole[..whole.len() - 64].to_vec(), whole.to_vec()]
    }

    pub fn run(data: &[u8]) {
        let _as_it_stands = Certificate::parse(data).map(|c| c.hash());
        let bytes = signed(AUTHORITY.signing_key(), b"modbatt1 paircert", data);
        let Ok(certificate) = Certificate::parse(&bytes) else { return };
        certificate.verify(&AUTHORITY.public().sign_pub()).expect("it was signed");
        for (side, secret) in [(Side::A, &SIDE_A), (Side::B, &SIDE_B)] {
            let _section = certificate.open_section(side, secret, &AUTHORITY.public());
        }
        let [half_a, half_b, _] = halves();
        if let (Ok(key), Ok(validation)) = (pairing_key(&half_a, &half_b), certificate.validation()) {
            let mut buffer = [0; VALIDATION_BUFFER];
            let _opened = validation.open(&key, &AUTHORITY.public().sign_pub(), &mut buffer);
        }
    }
}

pub mod binding {
    use super::*;
    use lct::attest::{CertificateType, DeviceCertificate, Subject, verify_chain};
    use lct::binding::{BindRequest, BindingRecord, BoundEntity, Introduction};
    use pack::answers::{self, Completed, DeviceKeys, Signed};
    use pack::introduction::Introduced;

    pub fn certificate(kind: CertificateType) -> DeviceCertificate {
        let subject = Subject {
            kind,
            cid: cid_b(),
            role: Role::Pack,
            flags: 1,
            not_before: 0,
            not_after: u32::MAX,
            hw: *b"MB-TEST1",
            key: AUTHORITY.public().sign_pub(),
            code_commit: [0; 32],
        };
        DeviceCertificate::issue(&subject, AUTHORITY.signing_key(), &mut rng())
    }

    pub fn seeds() -> Vec<Vec<u8>> {
        let request = BindRequest {
            binding_id: BindingId([1; 16]),
            own: (cid_a(), Role::App),
            partner: (cid_b(), Role::Pack),
            nonce: [2; 16],
            partner_access: heapless::Vec::from_slice(b"can").expect("short"),
        };
        let request = request.issue(AUTHORITY.signing_key(), &mut rng()).expect("fits");
        let [device, batch] = [CertificateType::Device, CertificateType::Batch].map(certificate);
        let whole =
            [&[2][..], &[1; 16], &cid_a().0, &device.0, &batch.0, &SIDE_B.public().0, &[3; 16], &[4; 64]]
                .concat();
        let whole = [whole, vec![5; 68], vec![1]].concat();
        let entity = |cid, role, spk: &lct::spk::SpkSecret| BoundEntity {
            cid,
            role,
            sign_pub: spk.public().sign_pub(),
            spk_id: spk.public().id(),
            access_commit: [1; 32],
        };
        let record = BindingRecord {
            binding_id: BindingId([1; 16]),
            entities: [entity(cid_a(), Role::App, &SIDE_A), entity(cid_b(), Role::Pack, &SIDE_B)],
            time: 1,
            assurance: lct::binding::Assurance::Attested,
        };
        let record = record.encode().to_vec();
        vec![
            record,
            request[..request.len() - 64].to_vec(),
            whole,
            device.0.to_vec(),
            [device.0, batch.0].concat(),
        ]
    }

    pub fn run(data: &[u8]) {
        let authority = AUTHORITY.public().sign_pub();
        let request = signed(AUTHORITY.signing_key(), b"modbatt1 bind-request", data);
        if let Ok(request) = BindRequest::open(&request, &authority) {
            let again = request.issue(AUTHORITY.signing_key(), &mut rng()).expect("what was read fits");
            assert_eq!(&again[..again.len() - 64], data, "one encoding only");
        }
        let _parts = Introduction::split(data);
        let introduction = signed(AUTHORITY.signing_key(), b"modbatt1 bind-peer", data);
        if let Ok(introduction) = Introduction::open(&introduction, &authority) {
            let _partner = introduction.verify_partner((cid_b(), Role::Pack), &[authority]);
        }
        if let Ok(record) = BindingRecord::decode(data) {
            assert_eq!(record.encode()[..], *data, "one encoding only");
            let _digest = record.digest();
        }
        let _introduced = Introduced::parse(data);
        let _answers = (DeviceKeys::read(data), Signed::read(data), Completed::read(data), answers::status(data));
        let _registration = answers::registration([1; 32], "pack-0001", data);
        if let Some((device, batch)) = data.split_first_chunk::<{ lct::attest::CERTIFICATE_LEN }>() {
            let resigned = |bytes: &[u8]| {
                let bytes =
                    signed(AUTHORITY.signing_key(), b"modbatt1 devcert", &bytes[..bytes.len().min(103)]);
                DeviceCertificate::from_slice(&bytes)
            };
            if let (Ok(device), Ok(batch)) = (resigned(device), resigned(batch)) {
                let _chain = verify_chain(&device, &batch, &[authority], Some(1));
            }
        }
    }
}

pub mod key_package {
    use super::*;
    use lct::handshake::Kind;
    use lct::hash::sha256;
    use lct::key_package::{KeyPackage, PACKAGE_LEN, Parties};
    use lct::metadata::LinkParameters;
    use lct::sign::Signature;

    const NONCE: [u8; 16] = [1; 16];

    fn info(parties: &Parties) -> Vec<u8> {
        [&b"modbatt1 kpkg"[..], &parties.own.0.0, &parties.peer.0.0, &NONCE].concat()
    }

    const PARTIES: fn() -> Parties = || Parties { own: (cid_b(), Role::Pack), peer: (cid_a(), Role::App) };

    pub fn seeds() -> Vec<Vec<u8>> {
        let package = KeyPackage {
            kind: Kind::Dev,
            relation: [1; 16],
            half_own: Secret::new([2; 64]),
            half_peer: Secret::new([3; 64]),
            lct_half: Secret::new([4; 64]),
            salt: [5; 32],
            parameters: LinkParameters { iv_seed: [6; 16], kdf: 1, aead: 1, rotation_days: 30 },
            epoch: 0,
        };
        let parties = PARTIES();
        let other = package.for_peer(Secret::new([7; 64])).encode(&parties.swapped()).expect("fits");
        let plain = package.encode(&parties).expect("fits").to_vec();
        let sealed = package
            .seal(&parties, &SIDE_B.public(), &NONCE, AUTHORITY.signing_key(), &mut rng())
            .expect("fits")
            .to_vec();
        let mut inner = vec![0; PACKAGE_LEN];
        SIDE_B.open(&info(&parties), &sealed[..sealed.len() - 64], &mut inner).expect("sealed to it");
        let plain = vec![plain, other.to_vec(), inner];
        let sealed = vec![sealed];
        [plain, sealed].concat()
    }

    pub fn run(data: &[u8]) {
        let parties = PARTIES();
        for parties in [&parties, &parties.swapped()] {
            if let Ok(package) = KeyPackage::decode(data, parties) {
                assert_eq!(package.encode(parties).expect("what was read")[..], *data, "one encoding only");
                let _halves = package.halves(parties);
            }
        }
        // Sealed to the pack and signed by the authority, whatever it contains.
        let info = info(&parties);
        let mut sealed = vec![0; data.len() + lct::spk::HPKE_OVERHEAD];
        SIDE_B.public().seal(&info, data, &mut sealed, &mut rng()).expect("fits");
        let Signature(signature) =
            AUTHORITY.signing_key().sign_rfc6979(&sha256(&[b"modbatt1 kpkg sig", &sealed]));
        let bytes = [&sealed[..], &signature].concat();
        let _package = KeyPackage::open(&bytes, &parties, &SIDE_B, &NONCE, &AUTHORITY.public().sign_pub());
        let _garbage = KeyPackage::open(data, &parties, &SIDE_B, &NONCE, &AUTHORITY.public().sign_pub());
    }
}

pub mod command {
    use super::*;
    use lct::command::SignedCommand;
    use lct::sign::Signature;

    pub fn seeds() -> Vec<Vec<u8>> {
        let command = SignedCommand {
            base: 0x400,
            seq: 1,
            challenge: 2,
            ttl_ms: 500,
            command: &[3, 0, 0, 0, 0, 0, 0, 0],
        };
        let bytes = command.sign(&[1; 32], 0, SIDE_A.signing_key(), &mut rng()).expect("fits");
        vec![bytes[..bytes.len() - 64].to_vec(), vec![1, 0, 0, 0, 0, 1, 2, 3, 4]]
    }

    pub fn run(data: &[u8]) {
        let key = SIDE_A.public().sign_pub();
        let _garbage = SignedCommand::open(data, &[1; 32], 0, &key);
        let _acknowledgement = pack::command::Acknowledgement::parse(data);
        if data.len() < 12 {
            return;
        }
        let number = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().expect("four bytes"));
        let half = |at: usize| u16::from_be_bytes(data[at..at + 2].try_into().expect("two bytes"));
        let command = SignedCommand {
            base: half(0),
            seq: number(2),
            challenge: number(6),
            ttl_ms: half(10),
            command: &data[12..],
        };
        let Signature(signature) = SIDE_A.signing_key().sign_rfc6979(&command.digest(&[1; 32], 0));
        let bytes = [data, &signature].concat();
        if let Ok(opened) = SignedCommand::open(&bytes, &[1; 32], 0, &key) {
            assert_eq!(opened, command);
        }
    }
}

pub mod records {
    use super::*;
    use lct::context::{CONTEXT_MAX, Content, Signed, Statement};
    use lct::energy::{CycleClose, EnergyEvent};
    use lct::lifecycle::{LIFECYCLE_MAX, Move, State, Version};
    use lct::merkle::verify_path;
    use lct::record::{BATCH_STATEMENT_MAX, BatchStatement, RECORD_MAX, Record};
    use lct::registration::{REGISTRATION_MAX, Registration};
    use lct::trust::{MetricsReport, REPORT_MAX, TrustContext};

    pub fn seeds() -> Vec<Vec<u8>> {
        let statement =
            BatchStatement { cid: cid_a(), first_seq: 0, count: 2, root: [1; 32], first_ms: 1, last_ms: 2 };
        let mut out = [0; BATCH_STATEMENT_MAX];
        let n = statement.encode(&mut out).expect("fits");
        let close = CycleClose {
            cid: cid_a(),
            cycle: 1,
            events: 2,
            charged_mwh: 3,
            discharged_mwh: 4,
            start_ms: 5,
            end_ms: 6,
        };
        let mut close_out = [0; lct::energy::STATEMENT_MAX];
        let m = close.encode(&mut close_out).expect("fits");
        // A record and an energy event, by their layouts: map, version, cid, numbers.
        let registration = Registration {
            chain_id: [1; 32],
            device: super::binding::certificate(lct::attest::CertificateType::Device),
            batch: super::binding::certificate(lct::attest::CertificateType::Batch),
            component_id: "pack-0001".try_into().expect("short"),
            serial: "S-1".try_into().expect("short"),
            hardware: 1,
            firmware: 1,
            capacity_mwh: 1,
            opening_soc_ppm: 500_000,
        };
        let mut registered = [0; REGISTRATION_MAX];
        let k = registration.encode(&mut registered).expect("fits");
        let (chain_id, number, time_ms) = ([1; 32], 1, 5);
        let moved = Move {
            chain_id,
            cid: cid_a(),
            number,
            to: State::Retired,
            reason: lct::revocation::Reason::Retired,
            time_ms,
        };
        let version =
            Version { chain_id, cid: cid_a(), number, hardware: 1, firmware: 2, image: [3; 32], time_ms };
        let mut told = [[0; LIFECYCLE_MAX]; 2];
        let ends = [moved.encode(&mut told[0]), version.encode(&mut told[1])].map(|n| n.expect("fits"));
        let mut seeds: Vec<_> = told.iter().zip(ends).map(|(out, n)| out[..n].to_vec()).collect();
        let contents = [
            Content::Manufacturing {
                made: 1,
                batch: "B".try_into().expect("short"),
                quality: [("x_mv".try_into().expect("short"), -1)].into_iter().collect(),
            },
            Content::Deployment {
                location: "here".try_into().expect("short"),
                system: "s".try_into().expect("short"),
                environment: "e".try_into().expect("short"),
            },
            Content::Scope {
                operations: 1,
                packs: [cid_a()].into_iter().collect(),
                account: SIDE_A.public().sign_pub(),
            },
            Content::Witness { modules: [cid_b()].into_iter().collect() },
            Content::Profile {
                nominal_mv: 1,
                charge_ma: 2,
                discharge_ma: 3,
                resistance_uohm: 4,
                temperature_mc: [-1, 1],
            },
        ];
        for content in contents {
            let mut out = [0; CONTEXT_MAX];
            let stated = Statement { chain_id, lct: [2; 32], number, content, time_ms };
            let n = stated.encode(&mut out).expect("fits");
            seeds.push(out[..n].to_vec());
        }
        let report = MetricsReport {
            observer: cid_a(),
            subject: cid_b(),
            context: TrustContext::Energy,
            start_ms: 1,
            end_ms: 2,
            metrics: [1, 2, 3, 4, 5],
            temperature: -1,
            load_ppm: 6,
            cycles: 7,
        };
        let mut reported = [0; REPORT_MAX];
        let k_report = report.encode(&mut reported).expect("fits");
        seeds.push(reported[..k_report].to_vec());
        let cid = [&[0x50][..], &cid_a().0].concat();
        let record = [&[0xa6, 0, 1, 1][..], &cid, &[2, 5, 3, 0x18, 99, 4, 1, 5, 0x82, 1, 0x20]].concat();
        let event = [&[0xaa, 0, 1, 1][..], &cid, &[2, 1, 3, 0, 4, 1, 5, 1, 6, 2, 7, 3, 8, 4, 9, 5]].concat();
        seeds.extend([out[..n].to_vec(), close_out[..m].to_vec(), registered[..k].to_vec(), record, event]);
        seeds
    }

    pub fn run(data: &[u8]) {
        macro_rules! one_encoding {
            ($type:ty, $max:expr) => {
                if let Ok(value) = <$type>::decode(data) {
                    let mut out = [0; $max];
                    let n = value.encode(&mut out).expect("what was read fits");
                    assert_eq!(&out[..n], data, "one encoding only");
                }
            };
        }
        let _leaf = Record::decode(data).and_then(|record| record.leaf());
        let _digests = (
            BatchStatement::decode(data).and_then(|statement| statement.digest()),
            EnergyEvent::decode(data).and_then(|event| event.digest()),
            CycleClose::decode(data).and_then(|close| close.digest()),
            Registration::decode(data).and_then(|registration| registration.digest()),
            Move::decode(data).and_then(|moved| moved.digest()),
            Version::decode(data).and_then(|version| version.digest()),
            Statement::decode(data).and_then(|stated| stated.digest()),
            MetricsReport::decode(data).and_then(|report| report.digest()),
        );
        one_encoding!(Record, RECORD_MAX);
        one_encoding!(BatchStatement, BATCH_STATEMENT_MAX);
        one_encoding!(EnergyEvent, lct::energy::STATEMENT_MAX);
        one_encoding!(CycleClose, lct::energy::STATEMENT_MAX);
        one_encoding!(Registration, REGISTRATION_MAX);
        one_encoding!(lct::ownership::Transfer, lct::ownership::TRANSFER_MAX);
        one_encoding!(Move, LIFECYCLE_MAX);
        one_encoding!(Version, LIFECYCLE_MAX);
        one_encoding!(Statement, CONTEXT_MAX);
        one_encoding!(MetricsReport, REPORT_MAX);
        let _file = Signed::from_file(data).map(|signed| signed.to_file());
        one_encoding!(lct::trade::Order, lct::trade::TRADE_MAX);
        one_encoding!(lct::trade::Receipt, lct::trade::TRADE_MAX);
        one_encoding!(lct::trade::Quote, lct::trade::TRADE_MAX);
        one_encoding!(lct::pairing::Terms, lct::pairing::TERMS_MAX);
        let mut input = crate::input::Input(data);
        let (index, count) = (input.number(), input.number());
        let path: Vec<_> = input.0.chunks_exact(32).map(|hash| hash.try_into().expect("32 bytes")).collect();
        let _proved = verify_path(&[1; 32], index, count, &path, &[2; 32]);
    }
}

pub mod validation {
    use super::*;
    use lct::energy::{EnergyKind, ModuleEnergy};
    use lct::validation::{Access, Announce, Attestation, EVENT_MAX, Escalation, EscalationReason, Event};
    use lct::validation::{EventKind, Protocol, Urgency, ValidationLevel};
    use pack::testimony::{Signed, Told};

    pub fn seeds() -> Vec<Vec<u8>> {
        let announce = Event::new(EventKind::Announce, cid_a(), 1, 2, &[0, 1]).expect("fits");
        let compact = Announce { cid: cid_a(), boot: 1, seq: 2, flags: 1 };
        let full = Event {
            access: Some(Access {
                protocol: Protocol::Can,
                endpoint: "can1".try_into().expect("short"),
                device: "7".try_into().expect("short"),
            }),
            bound_lct: Some([5; 32]),
            time_ms: Some(1_000),
            escalation: Some(Escalation {
                target: ValidationLevel::Command,
                reason: EscalationReason::Anomaly,
                urgency: Urgency::Immediate,
            }),
            ..Event::new(EventKind::Fault, cid_b(), 3, 4, b"x").expect("fits")
        };
        let key = SIDE_A.signing_key();
        let sig = announce.sign(key, &mut rng()).expect("fits");
        let attestation = Attestation::sign(cid_b(), 5, (&announce, &sig), key, &mut rng()).expect("two");
        let (kind, start_ms, end_ms) = (EnergyKind::Discharge, 1, 2);
        let energy = ModuleEnergy { cycle: 1, event: 2, kind, start_ms, end_ms, mwh: 3 };
        let of_a_module = Event::new(EventKind::Energy, cid_b(), 3, 5, &energy.encode()).expect("fits");
        let mut seeds = vec![
            compact.issue(key, &mut rng()).to_vec(),
            attestation.encode().to_vec(),
            energy.encode().to_vec(),
        ];
        for event in [announce, full, of_a_module] {
            let mut out = [0; EVENT_MAX];
            let n = event.encode(&mut out).expect("fits");
            seeds.push(out[..n].to_vec());
            let event = heapless::Vec::from_slice(&out[..n]).expect("fits");
            for attestation in [None, Some(attestation)] {
                let signed = Signed { event: event.clone(), signature: sig };
                let told = Told { node: 1, with: 2, signed, attestation };
                seeds.push(told.to_pdu().expect("fits")[2..].to_vec());
            }
        }
        seeds
    }

    pub fn run(data: &[u8]) {
        if let Ok(told) = Told::parse(data) {
            assert_eq!(told.to_pdu().expect("what was read fits")[2..], *data, "one encoding only");
            let _event = told.signed.decode();
        }
        if let Ok(event) = Event::decode(data) {
            let mut out = [0; EVENT_MAX];
            let n = event.encode(&mut out).expect("what was read fits");
            assert_eq!(&out[..n], data, "one encoding only");
        }
        let bytes = signed(SIDE_A.signing_key(), b"modbatt1 l1", data);
        if let Ok(announce) = Announce::open(&bytes, &SIDE_A.signing_key().public()) {
            assert_eq!(announce.position(), (announce.boot, announce.seq));
        }
        if let Ok(attestation) = Attestation::decode(data) {
            assert_eq!(attestation.encode()[..], *data, "one encoding only");
        }
        if let Ok(energy) = ModuleEnergy::decode(data) {
            assert_eq!(energy.encode()[..], *data, "one encoding only");
        }
    }
}
