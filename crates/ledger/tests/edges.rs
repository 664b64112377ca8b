//! Edges of what somebody without a replica is shown: proofs (L63, L81, L230), changes of validators (L165), trees of blocks
//! (L170), checkpoints (L171 to L174) and excerpts (L250, L251); and of the energy that a block may leave (L56). Each condition is broken alone, and each bound is met exactly and passed by one.

use std::collections::BTreeMap;

use ed25519_dalek::Signer;
use lct::{Digest, hash::sha256, id::Cid, merkle::node_hash, sign::Signature};
use ledger::{
    anchor::{self, Handover, HandoverError, MAX_HANDOVERS, Trust, latest},
    block::{Certificate, CertificateError, Header},
    checkpoint::{self, Checkpoint, CheckpointError, Inclusion, Statement, Succession},
    codec::{Canonical, FormatError},
    excerpt::{self, Excerpt, ExcerptError, Found},
    execute::{Tip, execute, genesis_writes},
    genesis::{Validator, ValidatorSet},
    history::{self, PATH_MAX, is_consistent},
    proof::{Absence, MAX_PROVED, MAX_SIBLINGS, Multiproof, StateProof},
    receipt::{self, Receipt, ReceiptError, verify, verify_within},
    records::{Pending, Totals, key as state_key},
    state::{Halt, Overlay, load},
    tx::{Body, Change, Governance, Kind},
    verdict::{Trusted, Verdict},
};

use crate::world::{bench::Bench, proof, *};

/// One validator, named by its label.
fn set(label: &str) -> ValidatorSet {
    ValidatorSet(vec![Validator { key: validator(label).verifying_key().to_bytes(), power: 1 }])
}

fn trust(label: &str, height: u64) -> Trust {
    Trust { chain_id: chain_id(), validators: set(label), height }
}

fn header(height: u64, state_root: Digest) -> Header {
    Header {
        chain_id: chain_id(),
        height,
        time_ms: START_MS + height,
        proposer: [1; 32],
        parent: [2; 32],
        state_root,
        tx_root: [3; 32],
        result_root: [4; 32],
        tx_count: 1,
    }
}

fn certify(header: &Header, label: &str) -> Certificate {
    let signature = validator(label).sign(&Certificate::message(&header.id())).to_bytes();
    Certificate { signatures: vec![(validator(label).verifying_key().to_bytes(), signature)] }
}

/// Root of a state that holds one entry.
fn root_of(key: &[u8], value: &[u8]) -> Digest {
    reference(&BTreeMap::from([(sha256(&[key]), sha256(&[value]))]), 0, None).0
}

/// The last header of `from` at `height`, whose state decided under `key` on the validator `to` from `holds` on.
fn decided(key: Vec<u8>, (from, to): (&str, &str), height: u64, holds: u64) -> Handover {
    let change = Change::Validators(set(to));
    let value = Pending(Governance { change, height: holds }).to_bytes();
    let header = header(height, root_of(&key, &value));
    let certificate = certify(&header, from);
    Handover { header, certificate, proof: StateProof { key, value, siblings: vec![] } }
}

fn handover(from: &str, to: &str, height: u64) -> Handover {
    decided(state_key::pending(Kind::GovernValidators), (from, to), height, height + 1)
}

fn follow(
    trust: Option<&Trust>,
    list: &[Handover],
    height: u64,
) -> Result<Option<ValidatorSet>, HandoverError> {
    anchor::follow(&chain_id(), trust, list, height)
}

#[test]
fn changes_of_validators_are_followed_in_order_from_the_trusted_height() {
    let a = trust("a", 5);
    let two = [handover("a", "b", 5), handover("b", "c", 7)];
    assert_eq!(follow(Some(&a), &two, 8), Ok(Some(set("c"))));
    assert_eq!(follow(Some(&a), &two[..1], 8), Ok(Some(set("b"))));
    assert_eq!(follow(Some(&a), &[], 8), Ok(Some(set("a"))));
    assert_eq!(follow(None, &two, 8), Ok(Some(set("c"))));
    assert_eq!(follow(None, &[], 8), Ok(None));

    // One at the very height that it is to explain, two of one height, the later one first.
    assert_eq!(follow(Some(&a), &two, 7), Err(HandoverError::Order));
    let again = [two[0].clone(), handover("b", "c", 5)];
    assert_eq!(follow(Some(&a), &again, 8), Err(HandoverError::Order));
    assert_eq!(follow(None, &[two[1].clone(), two[0].clone()], 8), Err(HandoverError::Order));
    // In order, signed and proved, and of another chain.
    let mut other = handover("a", "b", 5);
    other.header.chain_id = [9; 32];
    other.certificate = certify(&other.header, "a");
    assert_eq!(follow(Some(&a), &[other], 8), Err(HandoverError::Order));

    // Before the trusted height it is read only; at that height it is signed by who is trusted.
    assert_eq!(follow(Some(&a), &[handover("x", "y", 4)], 8), Ok(Some(set("a"))));
    let unknown = Err(HandoverError::Certificate(CertificateError::UnknownValidator));
    assert_eq!(follow(Some(&a), &[handover("x", "y", 5)], 8), unknown);
    assert_eq!(follow(Some(&a), &[two[0].clone(), handover("a", "c", 7)], 8), unknown);
}

#[test]
fn a_change_of_validators_is_proved_by_its_key_its_value_and_its_height() {
    let key = || state_key::pending(Kind::GovernValidators);
    let a = trust("a", 0);
    let follow = |h: Handover| follow(Some(&a), &[h], 8);
    assert_eq!(follow(decided(key(), ("a", "b"), 5, 6)), Ok(Some(set("b"))));
    for holds in [5, 7] {
        assert_eq!(follow(decided(key(), ("a", "b"), 5, holds)), Err(HandoverError::Proof), "{holds}");
    }
    // Under another key; under the key, and not in this state; another kind of change under the key.
    assert_eq!(follow(decided(b"other".to_vec(), ("a", "b"), 5, 6)), Err(HandoverError::Proof));
    let mut elsewhere = decided(key(), ("a", "b"), 5, 6);
    elsewhere.header.state_root = [0; 32];
    elsewhere.certificate = certify(&elsewhere.header, "a");
    assert_eq!(follow(elsewhere), Err(HandoverError::Proof));
    let value = Pending(Governance { change: Change::Rules(2), height: 6 }).to_bytes();
    let header = header(5, root_of(&key(), &value));
    let certificate = certify(&header, "a");
    let proof = StateProof { key: key(), value, siblings: vec![] };
    assert_eq!(follow(Handover { header, certificate, proof }), Err(HandoverError::Proof));
}

/// A receipt holds the last 256 changes, and of these the last that take 524 288 bytes.
#[test]
fn a_receipt_holds_the_last_changes_that_fit() {
    let of = |n: u64| (0..n).map(|height| handover("a", "b", height + 1)).collect::<Vec<_>>();
    let most = of(MAX_HANDOVERS as u64 + 1);
    assert_eq!(latest(most.clone()), most[1..]);

    let long = |height, len| {
        let mut long = handover("a", "b", height);
        long.proof.value = vec![0; len];
        long
    };
    // Nine that fill the room to its last byte, and one before them.
    let [empty, nine] = [300, 60_000].map(|len| long(1, len).to_bytes().len() - len);
    assert_eq!(empty, nine, "a length from 256 to 65 535 takes two bytes");
    let last = (1 << 19) - 8 * (60_000 + nine) - nine;
    let full = |last| -> Vec<_> {
        let len = |height| if height == 9 { last } else { 60_000 };
        (0..10).map(|height| long(height, len(height))).collect()
    };
    assert_eq!(latest(full(last)), full(last)[1..]);
    assert_eq!(latest(full(last + 1)), full(last + 1)[2..]);
    assert_eq!(latest(vec![]), vec![]);
}

fn statement(height: u64, validators: &str) -> Statement {
    Statement {
        chain_id: chain_id(),
        height,
        block_id: [1; 32],
        state_root: [2; 32],
        tree_root: [3; 32],
        validators: sha256(&[&set(validators).to_bytes()]),
    }
}

fn signed(statement: Statement) -> Checkpoint {
    statement.certify(set("a"), [&validator("a")])
}

#[test]
fn a_checkpoint_counts_each_witness_once_and_none_that_did_not_sign() {
    let mut held = signed(statement(5, "a"));
    let digest = held.statement.witness_digest();
    let witness = |label: &str| (key(label).public(), key(label).sign_rfc6979(&digest));
    for label in ["w1", "w2", "w1"] {
        let (key, signature) = witness(label);
        held.add_witness(key, signature);
    }
    assert_eq!(held.witnesses, [witness("w2"), witness("w1")]);
    assert_eq!(Checkpoint::from_file(&held.to_file()), Ok(held.clone()));
    let twice = vec![witness("w1"), witness("w1")];
    let forged = vec![(key("w1").public(), witness("w2").1)];
    let none = vec![witness("w2"), (key("w1").public(), Signature([1; 64]))];
    for witnesses in [twice, forged, none] {
        let file = Checkpoint { witnesses, ..held.clone() }.to_file();
        assert_eq!(Checkpoint::from_file(&file), Err(CheckpointError::Witness));
    }
    let others = signed(statement(5, "b"));
    assert_eq!(Checkpoint::from_file(&others.to_file()), Err(CheckpointError::Validators));
}

#[test]
fn of_two_checkpoints_the_later_one_follows_and_two_of_one_height_are_one() {
    let by = Succession { path: vec![], handovers: vec![] };
    let five = signed(statement(5, "a"));
    assert_eq!(five.check_follows(&five, &by), Ok(()));
    let fork = signed(Statement { block_id: [9; 32], ..statement(5, "a") });
    assert_eq!(fork.check_follows(&five, &by), Err(CheckpointError::Fork));
    assert_eq!(signed(statement(4, "a")).check_follows(&five, &by), Err(CheckpointError::Height));
    assert_eq!(signed(statement(6, "a")).check_follows(&five, &by), Err(CheckpointError::Inconsistent));
    let other = signed(Statement { chain_id: [9; 32], ..statement(6, "a") });
    assert_eq!(other.check_follows(&five, &by), Err(CheckpointError::OtherChain));
}

#[test]
fn files_and_paths_are_read_up_to_their_longest() {
    let padded = |file: Vec<u8>, len: usize| [&file[..], &vec![0; len - file.len()]].concat();
    let file = signed(statement(5, "a")).to_file();
    let longest = Checkpoint::from_file(&padded(file.clone(), checkpoint::MAX_LEN));
    assert!(matches!(longest, Err(CheckpointError::Format(_))), "{longest:?}");
    for more in [1, 2] {
        let longer = padded(file.clone(), checkpoint::MAX_LEN + more);
        assert_eq!(Checkpoint::from_file(&longer), Err(CheckpointError::TooLong));
    }
    let too_long = CheckpointError::Format(FormatError::TooLong);
    for (more, fits) in [(0, true), (1, false), (2, false)] {
        let path = vec![[7; 32]; PATH_MAX + more];
        let inclusion = Inclusion { height: 5, path: path.clone() };
        let read = Inclusion::from_file(&inclusion.to_file());
        assert_eq!(read, if fits { Ok(inclusion) } else { Err(too_long) }, "{more} more");
        let succession = Succession { path, handovers: vec![] };
        let read = Succession::from_file(&succession.to_file());
        assert_eq!(read, if fits { Ok(succession) } else { Err(too_long) }, "{more} more");
    }
}

#[test]
fn an_excerpt_is_of_the_trusted_chain_from_the_trusted_height_on() {
    let (name, value) = (b"key".to_vec(), b"value".to_vec());
    let of = |height, found, root| {
        let header = header(height, root);
        let certificate = certify(&header, "a");
        Excerpt { header, certificate, handovers: vec![], found }
    };
    let root = root_of(&name, &value);
    let present = || StateProof { key: name.clone(), value: value.clone(), siblings: vec![] };
    let other = Some((sha256(&[&name]), sha256(&[&value])));
    let absent = || Absence { key: b"missing".to_vec(), other, siblings: vec![] };

    for (found, held) in [(Found::Present(present()), Some(value.clone())), (Found::Absent(absent()), None)] {
        let excerpt = of(6, found.clone(), root);
        assert_eq!(Excerpt::from_file(&excerpt.to_file()), Ok(excerpt.clone()));
        for height in [0, 5, 6] {
            let proved = excerpt.check(&trust("a", height)).unwrap();
            assert_eq!((proved.height, proved.value, proved.state_root), (5, held.clone(), root));
        }
        for height in [7, 8] {
            assert_eq!(excerpt.check(&trust("a", height)), Err(ExcerptError::Earlier));
        }
        let stranger = Trust { chain_id: [9; 32], ..trust("a", 5) };
        assert_eq!(excerpt.check(&stranger), Err(ExcerptError::OtherChain));
        let uncertified = Err(ExcerptError::Certificate(CertificateError::UnknownValidator));
        assert_eq!(excerpt.check(&trust("b", 5)), uncertified);
        assert_eq!(of(6, found, [9; 32]).check(&trust("a", 5)), Err(ExcerptError::State));
    }

    let handed = Excerpt { handovers: vec![handover("b", "a", 5)], ..of(6, Found::Present(present()), root) };
    assert_eq!(Excerpt::from_file(&handed.to_file()), Ok(handed.clone()));
    assert!(handed.check(&trust("b", 5)).is_ok());
    let file = handed.to_file();
    let padded = |len: usize| [&file[..], &vec![0; len - file.len()]].concat();
    let longest = Excerpt::from_file(&padded(excerpt::MAX_LEN));
    assert!(matches!(longest, Err(ExcerptError::Format(_))), "{longest:?}");
    for more in [1, 2] {
        assert_eq!(Excerpt::from_file(&padded(excerpt::MAX_LEN + more)), Err(ExcerptError::TooLong));
    }
}

/// Hash of a subtree that holds nothing.
const EMPTY: Digest = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";

/// Somebody who founds a chain may state any root; a proof that puts an entry where its key does not lead proves nothing.
#[test]
fn an_entry_off_the_path_of_a_key_shows_no_absence() {
    let on = |bit: u8| (0..).map(|n: u32| n.to_be_bytes().to_vec()).find(|k| sha256(&[k])[0] >> 7 == bit);
    let (key, other) = (on(0).unwrap(), sha256(&[&on(1).unwrap()]));
    let leaf = sha256(&[b"JMT::LeafNode", &other, &[5; 32]]);
    let root = sha256(&[b"JMT::IntrnalNode", &leaf, &[6; 32]]);
    let proof = |key: Vec<u8>, siblings| Absence { key, other: Some((other, [5; 32])), siblings };
    assert!(proof(key.clone(), vec![]).leads_to(&leaf), "one entry alone stands on every path");
    assert!(!proof(key, vec![[6; 32]]).leads_to(&root));
    assert!(!proof(on(1).unwrap(), vec![]).leads_to(&leaf), "the key's own entry");
}

#[test]
fn several_proofs_in_one_are_as_deep_and_as_many_as_keys_can_be() {
    let held = (sha256(&[b"key"]), sha256(&[b"value"]));
    let deep = |depth| Multiproof { depths: vec![depth], given: vec![0; 32], siblings: vec![] }.root(&[held]);
    let root = deep(256).unwrap();
    let alone = StateProof { key: b"key".to_vec(), value: b"value".to_vec(), siblings: vec![EMPTY; 256] };
    assert!(alone.leads_to(&root));
    assert_eq!(StateProof::from_bytes(&alone.to_bytes()), Ok(alone));
    assert_eq!(deep(257), None);

    // Two that stand on one side of the node above them, left and right.
    for side in [0, 0x80] {
        let two = [([side; 32], [1; 32]), ([side + 1; 32], [2; 32])];
        let both = Multiproof { depths: vec![1, 1], given: vec![], siblings: vec![] };
        assert_eq!(both.root(&two), None, "{side}");
    }

    let most = |given, siblings| Multiproof {
        depths: vec![256; MAX_PROVED],
        given: vec![0xFF; given],
        siblings: vec![[1; 32]; siblings],
    };
    let all = MAX_PROVED * MAX_SIBLINGS;
    for (given, siblings, fits) in
        [(all / 8, all, true), (all / 8 + 1, all, false), (all / 8, all + 1, false)]
    {
        let proof = most(given, siblings);
        let read = Multiproof::from_bytes(&proof.to_bytes());
        assert_eq!(read.ok(), fits.then_some(proof), "{given} {siblings}");
    }
}

#[test]
fn no_tree_of_blocks_begins_with_a_larger_one_or_with_none() {
    let root = [1; 32];
    assert!(is_consistent((2, &root), (2, &root), &[]));
    assert!(!is_consistent((2, &root), (1, &root), &[]));
    assert!(!is_consistent((0, &root), (3, &root), &[]));
}

#[test]
fn a_receipt_is_read_up_to_its_longest() {
    let file = |len: usize| [&receipt::MAGIC[..], &[receipt::VERSION], &vec![0; len - 5]].concat();
    let longest = Receipt::from_file(&file(receipt::MAX_LEN));
    assert!(matches!(longest, Err(ReceiptError::Format(_))), "{longest:?}");
    assert_eq!(Receipt::from_file(&file(receipt::MAX_LEN + 1)), Err(ReceiptError::TooLong));
}

/// A replica stops when what is stored is not what came less what went, or more than was ever minted.
#[test]
fn a_block_that_leaves_totals_out_of_balance_stops_the_replica() {
    let run = |charged, discharged, atp, minted| {
        let genesis = genesis();
        let mut state = Overlay::new(genesis_writes(&genesis));
        let mut totals: Totals = load(&state, state_key::TOTALS).unwrap().unwrap();
        (totals.charged, totals.discharged, totals.atp, totals.minted) = (charged, discharged, atp, minted);
        state.put(state_key::TOTALS.into(), &totals);
        let block = Tip::genesis(&genesis, [0; 32]).next_block(START_MS + 1, [1; 32], vec![]);
        execute(state, &block).map(|_| ())
    };
    assert!(run(9, 4, 5, 5).is_ok());
    for totals in [(9, 4, 4, 5), (9, 4, 6, 9), (9, 4, 5, 4), (4, 9, 0, 9)] {
        let (charged, discharged, atp, minted) = totals;
        let stopped = run(charged, discharged, atp, minted);
        assert!(matches!(stopped, Err(Halt::Invariant(_))), "{totals:?}: {stopped:?}");
    }
}

/// L223: a checkpoint vouches for the block of a receipt, and for no key that signed it.
#[test]
fn a_receipt_holds_within_a_history() {
    let mut bench = Bench::running();
    let body = Body::LctCreate { a: Cid::of("app-1"), b: Cid::of("pack-1"), context: "edge".into() };
    let (bytes, _) = proof::prove(&mut bench, body);
    let receipt = proof::receipt(&bench, bytes);
    let file = receipt.to_file();
    let (_, next) = receipt.headers().unwrap();
    // The last of eight blocks: whatever stands beside it stands to its left.
    let path = vec![[1; 32], [2; 32], [3; 32]];
    let tree_root = path.iter().fold(history::leaf(&next.id()), |node, left| node_hash(left, &node));
    let at = Statement { tree_root, ..statement(next.height, "a") };
    let by = Inclusion { height: next.height, path };
    let alone = verify(&file, None).unwrap();
    assert_eq!((alone.trusted, alone.signatures), (Trusted::SignerUnknown, 1));
    let within = Verdict { trusted: Trusted::Yes, signatures: 0, validators: None, ..alone };
    assert_eq!(verify_within(&file, &at, &by), Ok(within));

    let other = Statement { chain_id: [9; 32], ..at.clone() };
    assert_eq!(verify_within(&file, &other, &by), Err(ReceiptError::OtherChain));
    let another = Statement { tree_root: [9; 32], ..at.clone() };
    assert_eq!(verify_within(&file, &another, &by), Err(ReceiptError::NotInHistory));
    let of_another = Inclusion { height: 9, ..by };
    assert_eq!(verify_within(&file, &at, &of_another), Err(ReceiptError::NotInHistory));
}
