//! Attackers on the link, each with a control (`spec/threats.md`).
//!
//! An attack runs against the real roles, except where T103 names a part of them, and says by what it got done whether
//! it succeeded, never by an error code alone. Beside its own aim three things count as success in every attack that runs
//! a role: one nonce under one key for two messages, a protected class sent in clear by a party, and a secret on a bus or
//! in what a party tells its owner (`attack/field.rs`).
//!
//! The same sources are compiled a second time against roles whose defences can be taken away (`weakened/` in the
//! root). There the attack must succeed once its [`Attack::defence`] is gone: otherwise it proves nothing.
//!
//! These files are tests that a command runs: a step of an attack that cannot be taken panics, on a thread of its own,
//! and that is told as a run that failed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod broken_transport;
mod code_dictionary;
mod code_guessing;
mod compact_guessing;
mod cross_context;
mod curious_controller;
mod downgrade;
#[path = "../../pack/tests/eavesdropper/mod.rs"]
mod eavesdropper;
mod escalation_flood;
mod false_time;
mod field;
mod forged_certificate;
mod forged_identity;
mod ground_digits;
mod group_raise;
mod handshake_flood;
mod invalid_points;
mod known_key;
mod late_renewal;
mod lying_ledger_node;
mod misbinding;
mod nonce_after_power_loss;
mod old_epoch;
mod old_revocation_list;
mod reflection;
mod replay;
mod replay_after_start;
mod rewritten_log;
mod rollback;
mod shown_secrets;
mod stolen_device;
mod substituted_key;
mod tampering;
mod two_encodings;
mod used_up_pairing;
#[path = "../../pack/tests/world/mod.rs"]
#[allow(missing_docs)]
mod world;
mod worn_key;
mod wrong_half;

pub use kept::Defence;

/// One attack.
pub struct Attack {
    /// Its number in the list of the design, part 5.
    pub number: u8,
    /// What it is called on the command line.
    pub name: &'static str,
    /// Who attacks, and with what.
    pub attacker: &'static str,
    /// The defence without which it must succeed.
    pub defence: Defence,
    run: fn(&mut Tally, u64),
}

/// Every attack, by number.
pub const ALL: [Attack; 35] = [
    replay::ATTACK,
    replay_after_start::ATTACK,
    tampering::ATTACK,
    reflection::ATTACK,
    old_epoch::ATTACK,
    cross_context::ATTACK,
    downgrade::ATTACK,
    forged_certificate::ATTACK,
    two_encodings::ATTACK,
    nonce_after_power_loss::ATTACK,
    rollback::ATTACK,
    worn_key::ATTACK,
    late_renewal::ATTACK,
    escalation_flood::ATTACK,
    handshake_flood::ATTACK,
    old_revocation_list::ATTACK,
    false_time::ATTACK,
    used_up_pairing::ATTACK,
    forged_identity::ATTACK,
    substituted_key::ATTACK,
    ground_digits::ATTACK,
    curious_controller::ATTACK,
    stolen_device::ATTACK,
    code_guessing::ATTACK,
    code_dictionary::ATTACK,
    invalid_points::ATTACK,
    wrong_half::ATTACK,
    compact_guessing::ATTACK,
    broken_transport::ATTACK,
    shown_secrets::ATTACK,
    group_raise::ATTACK,
    rewritten_log::ATTACK,
    lying_ledger_node::ATTACK,
    misbinding::ATTACK,
    known_key::ATTACK,
];

/// Attacks of [`ALL`] at the full size of the design, which takes minutes.
pub const LONG: [Attack; 3] = [ground_digits::LONG, code_dictionary::LONG, compact_guessing::LONG];

/// Attacks of the design that are not run here: number, name, and why.
pub const NOT_BUILT: [(u8, &str, &str); 2] = [
    (30, "firmware", "devices take no firmware"),
    (
        32,
        "timing",
        "no run of a role shows it: `cargo xtask test --only timing` compares instructions over secrets",
    ),
];

/// What an attack did and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts made.
    pub tried: u32,
    /// Each thing that the attacker got done, in words; the first of many alike.
    pub achieved: Vec<String>,
    /// Attempts that got something done.
    pub hits: u32,
}

impl Tally {
    /// How many different things are told.
    const TOLD: usize = 8;

    /// Notes an attempt and, if it got something done, what.
    pub(crate) fn attempt(&mut self, achieved: bool, what: impl FnOnce() -> String) {
        self.tried += 1;
        if achieved {
            self.hits += 1;
            if self.achieved.len() < Self::TOLD {
                self.achieved.push(what());
            }
        }
    }
}

/// Room for the roles, which are as large as on a device.
const STACK: usize = 64 << 20;

impl Attack {
    /// Runs it on a thread of its own, after `prepare` ran there.
    ///
    /// # Errors
    /// A sentence when a step of the attack could not be taken.
    pub fn run(&self, seed: u64, prepare: impl FnOnce() + Send + 'static) -> Result<Tally, String> {
        let run = self.run;
        let work = move || {
            prepare();
            let mut tally = Tally::default();
            run(&mut tally, seed);
            tally
        };
        let thread = std::thread::Builder::new().name(self.name.to_owned()).stack_size(STACK).spawn(work);
        let thread = thread.map_err(|e| format!("no thread for it: {e}"))?;
        thread.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
        })
    }
}
