//! Files that prove what a ledger holds: receipts and checkpoints, which anybody may hand to anybody. The input is judged as it
//! stands and once more signed by the fixed keys, so that what lies behind the signatures is reached too.

use crate::fixture::{AUTHORITY, SIDE_A, SIDE_B};
use ed25519_dalek::{Signer, SigningKey};
use ledger::anchor::{Handover, Trust};
use ledger::block::Certificate;
use ledger::genesis::{Validator, ValidatorSet};

/// The one validator.
fn validator() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn validators() -> ValidatorSet {
    ValidatorSet(vec![Validator { key: validator().verifying_key().to_bytes(), power: 1 }])
}

fn certify(message: &[u8]) -> Certificate {
    let key = validator();
    Certificate { signatures: vec![(key.verifying_key().to_bytes(), key.sign(message).to_bytes())] }
}

/// Lets the validator have signed each header of the list.
fn sign_over(handovers: &mut [Handover]) {
    for handover in handovers {
        handover.certificate = certify(&Certificate::message(&handover.header.id()));
    }
}

/// The values of `name` in the vectors of the model, which are files in hexadecimal digits.
fn files(name: &str) -> Vec<Vec<u8>> {
    let vectors = include_str!("../../../spec/vectors/link-more.json");
    let digits = |text: &str| {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
        (0..text.len()).step_by(2).map(byte).collect()
    };
    let before = format!("\"{name}\": \"");
    let values = vectors.split(&before).skip(1);
    values.map(|rest| digits(rest.split('"').next().expect("a value ends"))).collect()
}

pub mod receipts {
    use super::*;
    use lct::energy::{CycleClose, EnergyEvent};
    use lct::record::BatchStatement;
    use ledger::receipt::{Receipt, verify};
    use ledger::tx::{Body, Signed};

    pub fn seeds() -> Vec<Vec<u8>> {
        files("file")
    }

    /// Signs what is inside, as far as one key signs it.
    fn sign(body: &mut Body) {
        let own = |signed: &mut Signed, digest: Option<lct::Digest>| {
            signed.key = SIDE_A.public().sign_pub();
            let digest = digest.unwrap_or_default();
            signed.signature = SIDE_A.signing_key().sign_rfc6979(&digest);
        };
        match body {
            Body::Batch(s) => {
                let digest = BatchStatement::decode(&s.statement).and_then(|b| b.digest()).ok();
                own(s, digest);
            }
            Body::Energy(s) => {
                let digest = EnergyEvent::decode(&s.statement).and_then(|e| e.digest()).ok();
                own(s, digest);
            }
            Body::CycleClose(s) => {
                let digest = CycleClose::decode(&s.statement).and_then(|c| c.digest()).ok();
                own(s, digest);
            }
            Body::PairComplete(p) => {
                let digest = p.digest();
                (p.key_a, p.key_b) = (SIDE_A.public().sign_pub(), SIDE_B.public().sign_pub());
                p.signature_a = SIDE_A.signing_key().sign_rfc6979(&digest);
                p.signature_b = SIDE_B.signing_key().sign_rfc6979(&digest);
                p.signature_authority = AUTHORITY.signing_key().sign_rfc6979(&digest);
            }
            _ => (),
        }
    }

    pub fn run(data: &[u8]) {
        let _as_it_stands = verify(data, None).map(|verdict| verdict.to_string());
        let Ok(mut receipt) = Receipt::from_file(data) else { return };
        assert_eq!(receipt.to_file(), data, "one encoding only");
        sign(&mut receipt.tx.unsigned.body);
        receipt.tx.unsigned.signer = AUTHORITY.public().sign_pub();
        receipt.tx.signature = AUTHORITY.signing_key().sign_rfc6979(&receipt.tx.unsigned.digest());
        sign_over(&mut receipt.handovers);
        let Ok((_, next)) = receipt.headers() else { return };
        receipt.certificate = certify(&Certificate::message(&next.id()));
        let trust = Trust { chain_id: next.chain_id, validators: validators(), height: 0 };
        let file = receipt.to_file();
        let _signed = verify(&file, Some(&trust)).map(|verdict| (verdict.component(), verdict.to_string()));
        let _by_whom = verify(&file, None);
    }
}

pub mod checkpoints {
    use super::*;
    use lct::hash::sha256;
    use ledger::checkpoint::{Checkpoint, Inclusion, Statement, Succession};
    use ledger::codec::Canonical;

    pub fn seeds() -> Vec<Vec<u8>> {
        [files("checkpoint_file"), files("succession_file"), files("inclusion_file")].concat()
    }

    /// A checkpoint of the fixed chain, signed.
    fn at(height: u64, tree_root: lct::Digest) -> Checkpoint {
        let set = validators();
        let statement = Statement {
            chain_id: [1; 32],
            height,
            block_id: [2; 32],
            state_root: [3; 32],
            tree_root,
            validators: sha256(&[&set.to_bytes()]),
        };
        statement.certify(set, [&validator()])
    }

    pub fn run(data: &[u8]) {
        if let Ok(checkpoint) = Checkpoint::from_file(data) {
            assert_eq!(checkpoint.to_file(), data, "one encoding only");
            let _trusted = checkpoint.trust();
        }
        if let Ok(by) = Inclusion::from_file(data) {
            assert_eq!(by.to_file(), data, "one encoding only");
            for height in [0, 1, by.height, u64::MAX] {
                let _holds = at(by.height, [4; 32]).statement.holds(height, &[2; 32], &by);
            }
        }
        if let Ok(mut by) = Succession::from_file(data) {
            assert_eq!(by.to_file(), data, "one encoding only");
            sign_over(&mut by.handovers);
            let last = by.handovers.last().map_or(9, |h| h.header.height);
            for (early, late) in [(1, 2), (5, 9), (1, last.saturating_add(1))] {
                let _follows = at(late, [5; 32]).check_follows(&at(early, [4; 32]), &by);
            }
        }
    }
}
