//! Governance: every rejection in its order, which role may change what, and from when a change holds.
//!
//! Rules L160 to L164.

use crate::world;

use lct::{
    id::Role,
    sign::{PublicKey, Signature, SigningKey},
};
use ledger::{
    block::Block,
    codec::{Canonical, FormatError},
    execute::{RULES, Tip, execute, genesis_writes, rules_of},
    genesis::{Genesis, GenesisError, Params, Validator, ValidatorSet},
    records::{Account, AccountRole, Pending, RulesVersion, Status, key as state_key},
    reject::Rejection::{self, *},
    rules::allowed,
    state::{Halt, load},
    tx::{Body, Change, Governance, Kind, Target, Tx},
};
use world::{bench::*, *};

fn govern(change: Change, height: u64) -> Body {
    Body::Govern(Governance { change, height })
}

fn account(label: &str, role: AccountRole) -> Change {
    Change::Account { role, key: key(label).public() }
}

fn set(labels: &[&str]) -> ValidatorSet {
    let one = |l: &&str| Validator { key: validator(l).verifying_key().to_bytes(), power: 1 };
    ValidatorSet(labels.iter().map(one).collect())
}

fn roots(added: Option<&str>, withdrawn: Option<&str>, signature: Option<Signature>) -> Change {
    let public = |label: Option<&str>| label.map(|l| key(l).public());
    Change::Roots { added: public(added), withdrawn: public(withdrawn), signature }
}

/// The change by which `signer` lets `added` take the place of `withdrawn`.
fn renewal(added: &str, withdrawn: &str, height: u64, signer: &SigningKey) -> Change {
    let digest =
        Change::root_digest(&chain_id(), height, &key(withdrawn).public(), Some(&key(added).public()));
    roots(Some(added), Some(withdrawn), Some(signer.sign_rfc6979(&digest)))
}

/// Sends a body as an account that the bench does not know.
fn send_as(bench: &mut Bench, label: &str, nonce: u64, body: Body) -> Option<Rejection> {
    bench.apply(&tx(&key(label), nonce, body))
}

#[test]
pub fn every_rejection_in_its_order() {
    let mut bench = Bench::new();
    let point = PublicKey([0xFF; 33]);
    let no_point = Change::Account { role: AccountRole::Owner, key: point };
    let lame = Params { max_tx_bytes: ledger::genesis::MIN_TX_BYTES - 1, ..Params::default() };
    let next = bench.height + 1;
    // Each body breaks the rule of its row and every later one that it can.
    let rows = [
        ("account of a key that is no point, too early", govern(no_point, next), GovernInvalid),
        ("no root", govern(roots(None, None, None), next), GovernInvalid),
        ("a root in its own place", govern(roots(Some("root"), Some("root"), None), next), GovernInvalid),
        (
            "a root that is no point",
            govern(Change::Roots { added: Some(point), withdrawn: None, signature: None }, next),
            GovernInvalid,
        ),
        ("parameters of no chain", govern(Change::Params(lame), next), GovernInvalid),
        ("no validators", govern(Change::Validators(set(&[])), next), GovernInvalid),
        ("a validator twice", govern(Change::Validators(set(&["v", "v"])), next), GovernInvalid),
        ("too early, exists", govern(account("operator", AccountRole::Owner), next), GovernHeight),
        ("too early, unknown", govern(roots(Some("new"), Some("old"), None), next), GovernHeight),
        ("too early, version", govern(Change::Rules(7), next), GovernHeight),
        ("exists", govern(account("operator", AccountRole::Owner), next + 1), GovernExists),
        (
            "signed by another root, exists",
            govern(renewal("root", "old", next + 1, &key("x")), next + 1),
            GovernDenied,
        ),
        (
            "signed for another height",
            govern(renewal("new", "root", next + 2, &key("root")), next + 1),
            GovernDenied,
        ),
        ("exists, unknown", govern(roots(Some("root"), Some("old"), None), next + 1), GovernExists),
        ("unknown", govern(roots(Some("new"), Some("old"), None), next + 1), GovernUnknown),
        ("the version in force", govern(Change::Rules(1), next + 1), GovernVersion),
        ("a version left out", govern(Change::Rules(3), next + 1), GovernVersion),
    ];
    for (what, body, expected) in rows {
        bench.refuse(what, body, expected);
    }

    // A thousand roots more: there is room for one in the place of another only.
    bench.roots.resize(ledger::genesis::MAX_KEYS, key("many").public());
    bench.refuse("no room", govern(roots(Some("new"), None, None), next + 1), GovernLimit);
    bench.accept(govern(roots(Some("new"), Some("root"), None), next + 1));
    bench.roots.truncate(1);

    // What is decided can be decided otherwise until the block before it holds.
    bench.accept(govern(Change::Validators(set(&["v", "w"])), next + 1));
    bench.accept(govern(Change::Validators(set(&["v", "u"])), next + 1));
    bench.end_block();
    bench.refuse(
        "it takes effect with the next block",
        govern(Change::Validators(set(&["v"])), next + 9),
        GovernPending,
    );
    bench.accept(govern(Change::Params(Params::default()), next + 9));
}

#[test]
pub fn a_change_holds_from_its_height_on_and_not_before() {
    let mut bench = Bench::new();
    let height = bench.height + 2;
    let params = Params { max_batch_records: 7, ..Params::default() };
    bench.accept(govern(account("newcomer", AccountRole::Operator), height));
    bench.accept(govern(roots(Some("root 2"), None, None), height));
    bench.accept(govern(Change::Params(params.clone()), height));
    bench.accept(govern(Change::Validators(set(&["v", "w"])), height));
    let validators =
        |bench: &Bench| -> ValidatorSet { load(&bench.state, state_key::VALIDATORS).unwrap().unwrap() };

    bench.end_block();
    assert_eq!(bench.height + 1, height);
    assert_eq!((validators(&bench), &bench.params), (set(&["v"]), &Params::default()));
    assert_eq!(bench.roots, [key("root").public()]);
    let registration = || register("app-1", Role::App);
    assert_eq!(send_as(&mut bench, "newcomer", 1, registration()), Some(UnknownSigner), "a block too early");

    bench.end_block();
    assert_eq!((validators(&bench), &bench.params), (set(&["v", "w"]), &params));
    assert_eq!(bench.roots, ["root", "root 2"].map(|l| key(l).public()));
    assert_eq!(send_as(&mut bench, "newcomer", 1, registration()), None);

    // Later blocks do not decide it again: what was withdrawn meanwhile stays withdrawn.
    bench.accept(govern(roots(None, Some("root 2"), None), bench.height + 2));
    for _ in 0..3 {
        bench.end_block();
    }
    assert_eq!(bench.roots, [key("root").public()]);
    let mut other = registration_of_second_root();
    other.chain_id = chain_id();
    bench.refuse("its devices too", register_with(&other, &key("app-2")), AttestRoot);
}

fn registration_of_second_root() -> lct::registration::Registration {
    let mut r = world::registration("app-2", Role::App);
    r.batch = batch_certificate("root 2");
    r
}

#[test]
pub fn a_manufacturer_renews_its_own_root_and_no_other() {
    let mut bench = Bench::new();
    bench.accept(govern(account("maker", AccountRole::Manufacturer), bench.height + 2));
    bench.end_block();
    bench.end_block();
    let height = bench.height + 2;
    let send = |bench: &mut Bench, nonce, change| send_as(bench, "maker", nonce, govern(change, height));
    assert_eq!(send(&mut bench, 1, roots(Some("root 2"), None, None)), Some(GovernDenied), "out of nothing");
    assert_eq!(send(&mut bench, 2, roots(None, Some("root"), None)), Some(GovernDenied), "unsigned");
    let foreign = renewal("root 2", "root", height, &key("maker"));
    assert_eq!(send(&mut bench, 3, foreign), Some(GovernDenied), "its account's key is not the root's");
    assert_eq!(send(&mut bench, 4, renewal("root 2", "root", height, &key("root"))), None);
    // What it signs takes the place of nothing that waits, least of all of what an authority decided.
    let again = || renewal("root 3", "root", height, &key("root"));
    assert_eq!(send(&mut bench, 5, again()), Some(GovernPending), "its own waits");
    bench.accept(govern(roots(Some("root 2"), Some("root"), None), height));
    assert_eq!(send(&mut bench, 6, again()), Some(GovernPending), "an authority's waits");
    let params = Change::Params(Params::default());
    assert_eq!(send(&mut bench, 7, params), Some(RoleForbidden), "parameters are not a manufacturer's");
    bench.end_block();
    bench.end_block();
    assert_eq!(bench.roots, [key("root 2").public()]);
}

#[test]
pub fn an_account_comes_once_and_a_withdrawn_key_never_again() {
    let mut bench = Bench::new();
    bench.accept(govern(account("late", AccountRole::Auditor), 50));
    let stored: Account = load(&bench.state, &state_key::account(&key("late").public())).unwrap().unwrap();
    assert_eq!(stored, Account { role: AccountRole::Auditor, status: Status::Active, from_height: 50 });
    bench.refuse("again", govern(account("late", AccountRole::Owner), 60), GovernExists);
    bench.accept(Body::Revoke { target: Target::Account(key("late").public()), reason: 4 });
    bench.refuse("withdrawn", govern(account("late", AccountRole::Auditor), 60), GovernExists);
    bench.height = 50;
    let body = Body::Revoke { target: Target::Account(key("late").public()), reason: 4 };
    assert_eq!(send_as(&mut bench, "late", 1, body), Some(UnknownSigner));
}

/// A replica that is too old for the rules stops before the first block under them, and not a block sooner.
#[test]
pub fn rules_that_a_build_does_not_have_stop_it() {
    let mut bench = Bench::new();
    let later = RULES + 1;
    for version in 2..=later {
        let height = bench.height + 2;
        bench.accept(govern(Change::Rules(version), height));
        bench.end_block();
        bench.end_block();
        assert_eq!(bench.height, height);
        let rules: RulesVersion = load(&bench.state, state_key::RULES).unwrap().unwrap();
        assert_eq!(rules.version, version);
    }
    let tip = Tip::genesis(&genesis(), [0; 32]);
    let block: Block = tip.next_block(START_MS, [0; 32], vec![]);
    assert_eq!(execute(&bench.state, &block).err(), Some(Halt::Rules(later)));
    let height = bench.height + 9;
    bench.refuse("one above those in force", govern(Change::Rules(later), height), GovernVersion);
    bench.accept(govern(Change::Rules(later + 1), height));
}

/// L22 as it stands in the document, for the roles beside authority and operator.
#[test]
fn each_role_sends_its_kinds() {
    use AccountRole::*;
    let table: [(AccountRole, &[u8]); 6] = [
        (Authority, &[1, 5, 17, 25, 42, 43, 44, 45, 46]),
        (Operator, &[1, 5, 6, 7, 8, 16, 17, 19, 22, 23, 24, 26, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41]),
        (Manufacturer, &[1, 17, 22, 23, 32, 33, 38, 43]),
        (Owner, &[16, 17, 23, 24, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41]),
        (Auditor, &[8, 17, 24]),
        (Controller, &[5, 6, 7, 8, 16, 17, 19, 24, 26, 33, 38, 39, 40, 41]),
    ];
    for (role, kinds) in table {
        for number in (1..=8).chain(16..=26).chain(32..=46) {
            let kind = Kind::from_number(number).unwrap();
            let expected = role == Authority || kinds.contains(&number);
            assert_eq!(allowed(role, kind), expected, "{} and {}", role.name(), kind.name());
        }
    }
}

#[test]
fn further_accounts_of_the_genesis() {
    let with = |accounts| Genesis { accounts, ..genesis() };
    let auditor = (AccountRole::Auditor, key("auditor").public());
    let g = with(vec![auditor, (AccountRole::Owner, key("owner").public())]);
    assert_eq!(g.check(), Ok(()));
    assert_eq!(Genesis::from_bytes(&g.to_bytes()), Ok(g.clone()));
    assert_ne!(g.chain_id(), chain_id());
    assert_eq!(with(vec![]).chain_id(), chain_id(), "without any the identity is what it was");
    assert_eq!(with(vec![auditor, auditor]).check(), Err(GenesisError::Account));
    let operator = (AccountRole::Owner, key("operator").public());
    assert_eq!(with(vec![operator]).check(), Err(GenesisError::Account), "one key, one account");
    // A list that is there but empty would be a second encoding of the same genesis.
    let mut empty = genesis().to_bytes();
    empty[0] += 1;
    empty.extend_from_slice(&[8, 0x80]);
    assert_eq!(Genesis::from_bytes(&empty), Err(FormatError::NotCanonical));
}

/// A chain begins under the rules that its genesis names, and every one from before that was so under the first.
#[test]
fn rules_of_the_genesis() {
    let plain = genesis();
    for accounts in [vec![], vec![(AccountRole::Auditor, key("auditor").public())]] {
        let begins = |rules| Genesis { rules, accounts: accounts.clone(), ..genesis() };
        for rules in [1, 2, 300] {
            let g = begins(rules);
            assert_eq!((g.check(), Genesis::from_bytes(&g.to_bytes())), (Ok(()), Ok(g.clone())));
            assert_eq!(rules_of(&genesis_writes(&g)), Ok(rules));
        }
        assert_eq!(begins(0).check(), Err(GenesisError::Rules));
        assert_ne!(begins(2).chain_id(), begins(1).chain_id());
        assert_eq!(begins(1).chain_id() == plain.chain_id(), accounts.is_empty());
    }
    assert!(!genesis_writes(&plain).contains_key(state_key::RULES), "the first state is what it was");
    // That of the first rules has no such member; a member is there once, and in its place.
    let with = |more: u8, tail: &[u8]| {
        let mut bytes = genesis().to_bytes();
        bytes[0] += more;
        bytes.extend_from_slice(tail);
        Genesis::from_bytes(&bytes)
    };
    assert_eq!(with(1, &[9, 1]), Err(FormatError::NotCanonical));
    assert_eq!(with(1, &[10, 2]), Err(FormatError::Unexpected));
    assert_eq!(with(2, &[9, 2, 9, 2]), Err(FormatError::Unexpected));
    assert_eq!(with(1, &[9, 2]).map(|g| g.rules), Ok(2));
}

#[test]
fn bodies_and_records_have_one_encoding() {
    let height = 77;
    let signature = Some(Signature([5; 64]));
    let changes = [
        account("a", AccountRole::Controller),
        roots(Some("r"), None, None),
        roots(None, Some("r"), None),
        roots(Some("r"), Some("s"), signature),
        Change::Params(Params::default()),
        Change::Validators(set(&["v", "w"])),
        Change::Rules(2),
    ];
    for change in changes {
        let bytes = tx(&key("authority"), 1, govern(change.clone(), height));
        assert_eq!(Tx::from_bytes(&bytes).unwrap().to_bytes(), bytes);
        assert_eq!(Tx::from_bytes(&bytes).unwrap().unsigned.body, govern(change.clone(), height));
        let pending = Pending(Governance { change, height });
        assert_eq!(Pending::from_bytes(&pending.to_bytes()), Ok(pending));
    }
}
