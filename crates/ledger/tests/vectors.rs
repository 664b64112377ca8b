//! The bytes of statements, ids, commitments and bodies are those that the model in `spec/model` computes from the
//! specification (`spec/vectors/link-more.json`).
//!
//! Rules L1 to L6, L21 and L171.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use lct::{
    Digest,
    command::SignedCommand,
    commitment::{Field, commit, commitment, opening},
    context::{CONTEXT_MAX, Content, Signed, Statement},
    hash::sha256,
    id::{Cid, PairingId},
    lifecycle::{LIFECYCLE_MAX, Move, State, Version},
    revocation::Reason,
    secret::Secret,
    sign::{PublicKey, Signature},
    validation::Event,
};
use ledger::{
    anonymous,
    authorization::{self, Rule},
    checkpoint::{Checkpoint, CheckpointError, Inclusion, Succession},
    codec::Canonical,
    genesis::{Params, Validator, ValidatorSet},
    history,
    receipt::{Receipt, ReceiptError, Trust, verify},
    records::{
        AccountRole, entity_lct_id,
        registry::{AuthorizationId, QueueId},
    },
    tx::{Body, Change, CommandReference, Config, Governance, Registry, registry::Anonymous},
    verdict::Trusted,
};
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/link-more.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn at<'a>(v: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(v, |v, key| match key.parse::<usize>() {
        Ok(index) => &v[index],
        Err(_) => &v[key],
    })
}

fn text(v: &Value, path: &str) -> String {
    at(v, path).as_str().unwrap_or_else(|| panic!("no text {path}")).into()
}

fn bytes(v: &Value, path: &str) -> Vec<u8> {
    hex::decode(text(v, path)).unwrap()
}

fn fixed<const N: usize>(v: &Value, path: &str) -> [u8; N] {
    bytes(v, path).try_into().unwrap_or_else(|_| panic!("length of {path}"))
}

#[test]
fn statements() {
    let v = vectors();
    let (chain_id, cid) = (fixed(&v, "registry.chain_id"), Cid(fixed(&v, "spk.cidB")));
    let time_ms = v["attestation"]["time"].as_u64().unwrap() * 1000;
    let maker = PublicKey(fixed(&v, "registry.maker_key"));
    let device = PublicKey(fixed(&v, "registry.device_key"));

    let moved = Move { chain_id, cid, number: 1, to: State::Suspended, reason: Reason::Unspecified, time_ms };
    let mut out = [0; LIFECYCLE_MAX];
    let n = moved.encode(&mut out).unwrap();
    assert_eq!(hex::encode(&out[..n]), text(&v, "registry.move"));
    let image = fixed(&v, "registry.image");
    let told = Version { chain_id, cid, number: 2, hardware: 7, firmware: 70_000, image, time_ms };
    let n = told.encode(&mut out).unwrap();
    assert_eq!(hex::encode(&out[..n]), text(&v, "registry.version"));

    let lct = fixed(&v, "registry.lct");
    assert_eq!(entity_lct_id(&chain_id, &cid, &device), lct);
    let figure = |name: &str, value| (name.try_into().unwrap(), value);
    let contents = [
        Content::Manufacturing {
            made: (time_ms / 1000) as u32,
            batch: "B-7".try_into().unwrap(),
            quality: [figure("capacity_mwh", 512_000), figure("spread_uv", -12)].into_iter().collect(),
        },
        Content::Deployment {
            location: "bay 4".try_into().unwrap(),
            system: "storage".try_into().unwrap(),
            environment: "".try_into().unwrap(),
        },
        Content::Scope { operations: 5, packs: [cid].into_iter().collect(), account: maker },
        Content::Witness { modules: [Cid::of(&text(&v, "inputs.component_id_m"))].into_iter().collect() },
        Content::Profile {
            nominal_mv: 48_000,
            charge_ma: 65_000,
            discharge_ma: 200_000,
            resistance_uohm: 900,
            temperature_mc: [-20_000, 60_000],
        },
    ];
    for (i, content) in contents.into_iter().enumerate() {
        let statement = Statement { chain_id, lct, number: 1, content, time_ms };
        let mut out = [0; CONTEXT_MAX];
        let n = statement.encode(&mut out).unwrap();
        let path = format!("registry.contexts.{i}");
        assert_eq!(hex::encode(&out[..n]), text(&v, &path), "{path}");
        assert_eq!(Statement::decode(&bytes(&v, &path)), Ok(statement), "{path}");
    }

    let (file, signed) = (bytes(&v, "registry.context_file"), bytes(&v, "registry.contexts.3"));
    let kept = Signed::from_file(&file).unwrap();
    assert_eq!((kept.statement.as_slice(), kept.to_file().as_slice()), (signed.as_slice(), file.as_slice()));
    let answer = [&[0x04, 0x0B][..], &lct::hash::sha256(&[&signed]), &kept.signature.0].concat();
    assert_eq!(answer, bytes(&v, "registry.answers_for"));

    // The signatures are the model's, over its own digests.
    let body = |name: &str| Body::from_bytes(&bytes(&v, &format!("registry.bodies.{name}"))).unwrap();
    let Body::Registry(Registry::Move { key, signature, .. }) = body("move") else { panic!("no move") };
    assert_eq!(key, maker);
    key.verify(&moved.digest().unwrap(), &signature).unwrap();
    let Body::Registry(Registry::Version { signature, vouched, .. }) = body("version_vouched") else {
        panic!("no version")
    };
    device.verify(&told.digest().unwrap(), &signature).unwrap();
    let (key, signature) = vouched.unwrap();
    key.verify(&told.digest().unwrap(), &signature).unwrap();
    let Body::Registry(Registry::Context { statement, key, signature }) = body("context") else {
        panic!("no context")
    };
    key.verify(&Statement::decode(&statement).unwrap().digest().unwrap(), &signature).unwrap();
}

#[test]
fn commitments_and_ids() {
    let v = vectors();
    let secret = Secret::new(fixed(&v, "commitments.secret"));
    for (i, field) in
        [Field::Component, Field::Manufacturer, Field::Category, Field::Rule].into_iter().enumerate()
    {
        let value = text(&v, &format!("commitments.values.{i}"));
        let shown = opening(&secret, field, value.as_bytes());
        assert_eq!(hex::encode(shown), text(&v, &format!("commitments.openings.{i}")));
        let committed = commitment(&shown, field, value.as_bytes());
        assert_eq!(committed, commit(&secret, field, value.as_bytes()));
        assert_eq!(hex::encode(committed), text(&v, &format!("commitments.commitments.{i}")));
    }
    let chain_id = fixed(&v, "registry.chain_id");
    let (pack, module) = (Cid(fixed(&v, "spk.cidB")), Cid::of(&text(&v, "inputs.component_id_m")));
    let id = authorization::id_of(&chain_id, &pack, &module, "energy");
    assert_eq!(id, AuthorizationId(fixed(&v, "registry.authorization_id")));
    let (a, b) = (fixed(&v, "commitments.commitments.0"), fixed(&v, "registry.other_commitment"));
    assert_eq!(anonymous::pair_id(&chain_id, &a, &b), fixed(&v, "registry.anonymous_id"));
    let queue = sha256(&[b"modbatt1 queue", &bytes(&v, "registry.transaction")]);
    assert_eq!(queue[..16], bytes(&v, "registry.queue_id"));
}

/// Each body is written as the model writes it, read back, and refused with a byte behind it.
#[test]
fn bodies() {
    let v = vectors();
    let (app, pack) = (Cid(fixed(&v, "spk.cidA")), Cid(fixed(&v, "spk.cidB")));
    let module = Cid::of(&text(&v, "inputs.component_id_m"));
    let commitment = |i: usize| fixed(&v, &format!("commitments.commitments.{i}"));
    let rule = text(&v, "registry.rule");
    assert!(Rule::parse(&rule).is_some());
    let (reason, opening) = (Reason::Superseded, fixed(&v, "commitments.openings.3"));
    let other = fixed(&v, "registry.other_commitment");
    let bodies = [
        (
            "grant",
            Registry::Grant { a: pack, b: module, context: "energy".into(), level: 2, rule: rule.clone() },
        ),
        (
            "revoke_grant",
            Registry::RevokeGrant { id: AuthorizationId(fixed(&v, "registry.authorization_id")), reason },
        ),
        (
            "anonymous_register",
            Registry::Anonymous(Anonymous::Register {
                component: commitment(0),
                manufacturer: commitment(1),
                category: commitment(2),
            }),
        ),
        (
            "anonymous_authorize",
            Registry::Anonymous(Anonymous::Authorize {
                a: commitment(0),
                b: other,
                rule: commitment(3),
                level: 3,
                trust_ppm: 900_000,
            }),
        ),
        (
            "anonymous_revoke",
            Registry::Anonymous(Anonymous::Revoke {
                scope: 2,
                target: commitment(1),
                urgency: 3,
                category: 1,
            }),
        ),
        (
            "anonymous_open",
            Registry::Anonymous(Anonymous::Open {
                field: Field::Rule as u8,
                id: fixed(&v, "registry.anonymous_id"),
                opening,
                value: rule,
            }),
        ),
        (
            "lct_status",
            Registry::LctStatus { id: fixed(&v, "registry.lct"), status: 4, reason: Reason::Violation },
        ),
        (
            "queue",
            Registry::Queue {
                initiator: pack,
                target: module,
                wish: 1,
                priority: 4,
                proxy: app,
                context: "energy".into(),
            },
        ),
        ("process", Registry::Process { cid: pack }),
        (
            "cancel",
            Registry::Cancel { id: QueueId(fixed(&v, "registry.queue_id")), reason: Reason::Unspecified },
        ),
    ];
    for (name, body) in bodies {
        let body = Body::Registry(body);
        assert_eq!(hex::encode(body.to_bytes()), text(&v, &format!("registry.bodies.{name}")), "{name}");
    }
    let all = v["registry"]["bodies"].as_object().unwrap();
    assert_eq!(all.len(), 14);
    for (name, hex) in all {
        let mut bytes = hex::decode(hex.as_str().unwrap()).unwrap();
        let body = Body::from_bytes(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(body.to_bytes(), bytes, "{name}");
        bytes.push(0);
        assert!(Body::from_bytes(&bytes).is_err(), "{name} and a byte");
    }
    let Body::Registry(Registry::Version { signature, vouched: None, .. }) =
        Body::from_bytes(&bytes(&v, "registry.bodies.version")).unwrap()
    else {
        panic!("nobody vouches for it")
    };
    assert_ne!(signature, Signature([0; 64]));
}

/// Receipts that the model made are read, judged and written as it does.
#[test]
fn receipts() {
    let v = vectors();
    let chain_id: Digest = fixed(&v, "receipts.chain");
    for (name, height) in [("record", 1000), ("binding", 1000), ("change", 1000)] {
        let path = |what: &str| format!("receipts.{name}.{what}");
        let keys = at(&v, &path("validators")).as_array().unwrap().len();
        let validators =
            (0..keys).map(|n| Validator { key: fixed(&v, &path(&format!("validators.{n}"))), power: 1 });
        let trust = Trust { chain_id, validators: ValidatorSet(validators.collect()), height: 0 };
        let file = bytes(&v, &path("file"));
        assert_eq!(Receipt::from_file(&file).unwrap().to_file(), file, "{name}");
        let verdict = verify(&file, Some(&trust)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((verdict.trusted, verdict.height), (Trusted::Yes, height), "{name}");
        assert_eq!(verdict.tx_id, fixed(&v, &path("transaction")), "{name}");
        let number = verdict.kind as u64;
        assert_eq!(Some(number), at(&v, &path("facts.kind")).as_u64(), "{name}");
        let seq = at(&v, &path("facts")).get("seq").and_then(Value::as_u64);
        assert_eq!(verdict.record.map(|r| u64::from(r.seq)), seq, "{name}");
        let other = Trust { chain_id: [0; 32], ..trust };
        assert_eq!(verify(&file, Some(&other)), Err(ReceiptError::OtherChain), "{name}");
    }
}

/// The later checkpoint of the model is as this build writes it, follows the earlier one by its file, and by no other.
#[test]
fn checkpoints() {
    let v = vectors();
    let early = Checkpoint::from_file(&bytes(&v, "checkpoints.earlier.checkpoint_file")).unwrap();
    let file = bytes(&v, "checkpoints.later.checkpoint_file");
    let late = Checkpoint::from_file(&file).unwrap();
    assert_eq!(late.to_file(), file);
    assert_eq!(hex::encode(late.statement.to_bytes()), text(&v, "checkpoints.statement"));
    assert_eq!((early.statement.height, late.statement.height, late.witnesses.len()), (5, 11, 2));
    assert_ne!(early.validators, late.validators);

    let mut stored = BTreeMap::new();
    for (height, block) in (1..).zip(at(&v, "checkpoints.blocks").as_array().unwrap()) {
        let id = hex::decode(block.as_str().unwrap()).unwrap().try_into().unwrap();
        let before = stored.clone();
        let get = |level, index| Ok::<_, Infallible>(before[&(level, index)]);
        history::append(height, &id, get, |level, index, node| {
            stored.insert((level, index), *node);
            Ok(())
        })
        .unwrap();
    }
    let get = |level, index| Ok::<_, Infallible>(stored[&(level, index)]);
    assert_eq!(history::root(11, get), Ok(late.statement.tree_root));
    for height in 1..=11 {
        let block = fixed(&v, &format!("checkpoints.blocks.{}", height - 1));
        let file = bytes(&v, &format!("checkpoints.inclusions.{}.inclusion_file", height - 1));
        let by = Inclusion::from_file(&file).unwrap();
        assert_eq!(by.to_file(), file);
        assert_eq!(history::inclusion(height, 11, get), Ok(by.path.clone()), "{height}");
        assert!(late.statement.holds(height, &block, &by), "{height}");
        assert!(!late.statement.holds(height % 11 + 1, &block, &by), "{height}");
    }
    let file = bytes(&v, "checkpoints.succession_file");
    let by = Succession::from_file(&file).unwrap();
    assert_eq!(by.to_file(), file);
    assert_eq!(history::consistency(5, 11, get), Ok(by.path.clone()));
    assert_eq!(late.check_follows(&early, &by), Ok(()));
    let unsigned = Succession { handovers: vec![], ..by };
    assert_eq!(late.check_follows(&early, &unsigned), Err(CheckpointError::Validators));
}

/// Kinds 42 to 48 are written as the model writes them, read back, and refused with a byte behind them; signatures inside are
/// over what the specification says.
#[test]
fn governance_and_configuration() {
    let v = vectors();
    let key = |name: &str| PublicKey(fixed(&v, &format!("governance.{name}")));
    let height = v["governance"]["height"].as_u64().unwrap();
    let (chain_id, old, new) = (fixed(&v, "governance.chain"), key("old_root"), key("new_root"));
    let pack = Cid(fixed(&v, "spk.cidB"));
    let read = |name: &str| Body::from_bytes(&bytes(&v, &format!("governance.bodies.{name}"))).unwrap();
    let signed = |name: &str| match read(name) {
        Body::Govern(Governance { change: Change::Roots { signature, .. }, .. }) => signature.unwrap(),
        other => panic!("{name} is {other:?}"),
    };
    let (goes, renewed) = (signed("root_goes"), signed("root_renewed"));
    old.verify(&Change::root_digest(&chain_id, height, &old, None), &goes).unwrap();
    old.verify(&Change::root_digest(&chain_id, height, &old, Some(&new)), &renewed).unwrap();
    let params = Params {
        max_block_txs: 2000,
        witness_quorum: 3,
        admission: 1,
        price_micro_per_kwh: 310_000,
        ..Params::default()
    };
    let validator =
        |n: u64| Validator { key: fixed(&v, &format!("governance.validators.{n}")), power: n + 1 };
    let roots = |added, withdrawn, signature| Change::Roots { added, withdrawn, signature };

    let (pairing, epoch, seq) = (PairingId(fixed(&v, "inputs.pairing_id")), 2, 9);
    let reference = CommandReference {
        event: bytes(&v, "governance.event"),
        pairing,
        epoch,
        seq,
        challenge: 0x4d,
        ttl_ms: 500,
        body: [&[0x42, 0, 0, 0], &150_000_i32.to_le_bytes()[..]].concat(),
    };
    let command = SignedCommand { base: 0x403, seq, challenge: 0x4d, ttl_ms: 500, command: &reference.body };
    let th4 = fixed(&v, "governance.TH4");
    assert_eq!(command.digest(&th4, epoch), fixed(&v, "governance.command_digest"));
    assert_eq!(Event::decode(&reference.event).unwrap().payload, command.digest(&th4, epoch));

    let set = |parameter, version, value, command| Config { cid: pack, parameter, version, value, command };
    let changes = [
        ("account", Change::Account { role: AccountRole::Owner, key: key("owner") }),
        ("root_comes", roots(Some(new), None, None)),
        ("root_goes", roots(None, Some(old), Some(goes))),
        ("root_renewed", roots(Some(new), Some(old), Some(renewed))),
        ("params", Change::Params(params)),
        ("params_default", Change::Params(Params::default())),
        ("validators", Change::Validators(ValidatorSet((0..3).map(validator).collect()))),
        ("rules", Change::Rules(2)),
    ];
    let governed = changes.map(|(name, change)| (name, Body::Govern(Governance { change, height })));
    let configured = [
        ("config_set", Body::ConfigSet(set(8, 3, -1500, None))),
        ("config_report", Body::ConfigReport(set(18, 0, i32::MAX, None))),
        ("config_command", Body::ConfigSet(set(2, 1, 150_000, Some(reference)))),
    ];
    let all = governed.into_iter().chain(configured);
    let mut kinds = BTreeSet::new();
    for (name, body) in all {
        assert_eq!(hex::encode(body.to_bytes()), text(&v, &format!("governance.bodies.{name}")), "{name}");
        assert_eq!(read(name), body, "{name}");
        assert!(Body::from_bytes(&[&body.to_bytes()[..], &[0]].concat()).is_err(), "{name} and a byte");
        kinds.insert(body.kind() as u8);
    }
    assert_eq!(kinds, (42..=48).collect());
    assert_eq!(v["governance"]["bodies"].as_object().unwrap().len(), 11);
}
