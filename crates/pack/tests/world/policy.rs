//! Signed changes of the policy, asked for and taken as an authority has it done.

use super::World;
use lct::{
    policy::{Policy, Rotation},
    sign::Signature,
};
use pack::{
    app::Party,
    message::{Message, ModuleDeregister},
    module::UNREGISTERED,
    pdu::{self, policy as op},
    policies::factory_rows,
};

/// A party, and its place among the parties of a world.
pub type Entity = (Option<Party>, usize);
pub const APP: Entity = (None, super::APP);
pub const PACK: Entity = (Some(Party::Pack), super::PACK);
pub const MODULE: Entity = (Some(Party::Module(1)), super::PACK + 1);

/// A policy for the binding of `a` and `b` with the table and the periods of the factory.
pub fn policy(w: &World, version: u32, [a, b]: [Entity; 2]) -> Policy {
    let entities = [a, b].map(|(_, who)| w.identities[who].cid());
    Policy { version, entities, rotation: Rotation::FACTORY, rows: factory_rows() }
}

/// The same, in which a paired module takes 0x518 (deregister) in clear.
pub fn lowered(w: &World, version: u32) -> Policy {
    let mut policy = policy(w, version, [PACK, MODULE]);
    let row = policy.rows.iter_mut().find(|row| row[..2] == [0x05, 0x18]).unwrap();
    assert_eq!(row[5..], [0, 1, 3]);
    row[7] = 0;
    policy
}

/// Sends a message about a policy; the signature or the status of the answer.
pub fn ask(w: &mut World, to: Option<Party>, operation: u8, message: &[u8]) -> Result<Signature, u8> {
    w.run_for(1_100);
    w.events.clear();
    w.give(to, &[&[pdu::POLICY, operation], message].concat());
    w.run_for(1_000);
    if let Some(answer) = w.answer(to, pdu::POLICY, op::SIGNED) {
        assert_eq!(answer[2..6], message[1..5]);
        return Ok(Signature::from_slice(&answer[6..]).unwrap());
    }
    let answer = w.answer(to, pdu::POLICY, op::STATUS).expect("an answer");
    assert_eq!((&answer[2..6], answer.len()), (&message[1..5], 7));
    Err(answer[6])
}

/// The update that all three signed.
pub fn signed(w: &mut World, policy: &Policy, pair: [Entity; 2]) -> Vec<u8> {
    let proposal = policy.propose(w.authority.spk.signing_key(), &mut w.rng).unwrap();
    let signatures = pair.map(|(party, _)| ask(w, party, op::SIGN, &proposal).expect("a signature"));
    let keys = [w.spk_of(pair[0].1, pair[1].1), w.spk_of(pair[1].1, pair[0].1)].map(|spk| spk.sign_pub());
    Policy::complete(&proposal, &keys, &signatures).unwrap().to_vec()
}

/// The status with which an update is answered.
pub fn take(w: &mut World, to: Entity, update: &[u8]) -> u8 {
    ask(w, to.0, op::UPDATE, update).expect_err("a status")
}

/// Whether a clear 0x518 from the bus takes module 1 off its node.
pub fn falls_to_a_clear_frame(w: &mut World) -> bool {
    let node = w.modules[0].node();
    assert_ne!(node, UNREGISTERED);
    let frame = ModuleDeregister { controller: 0 }.frame(node).unwrap();
    let now = w.now;
    w.modules[0].frame(now, &frame, &mut w.rng).unwrap();
    let fell = w.modules[0].node() == UNREGISTERED;
    w.run_for(12_000);
    assert_eq!(w.modules[0].node(), node, "it is back");
    fell
}
