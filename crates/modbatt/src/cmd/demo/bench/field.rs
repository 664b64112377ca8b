//! What was signed under keys that a laptop made, on the app's host: whether the ledger knows of them by now, or never will, and what
//! becomes of what is held (`spec/channel.md`, H237, H251 to H253).

use gateway::{Fate, FieldKey, Held, Noted, Outbox, Standing};
use lct::binding::{Assurance, BindingRecord};
use lct::delegation::Delegation;
use lct::id::{BindingId, Cid, PairingId};
use lct::revocation::Reason;
use lct::sign::PublicKey;
use ledger::codec::Canonical;
use ledger::records::Status;
use ledger::reject::Rejection;
use ledger::tx::{Body, Target, Tx};
use node::Snapshot;
use tokio::sync::watch;

use super::super::super::Failure;
use super::super::super::ledger::failure;
use super::super::entity::Unbrought;
use super::super::say;
use super::{KEYS_PERIOD, Live, Progress};

/// How long the ledger may have a binding and not the pairing that goes with it in a journal, before an end of that goes there all the
/// same.
const PAIRING_MS: u64 = 60_000;
/// Why a new binding waits.
pub(super) const HELD: &str = "what was signed under keys of a laptop is held: bring its journal (`modbatt delegate bring`), or give it up \
                               (`modbatt demo --give-up-held`)";

/// What waits for the journal of a laptop, for a line of progress.
pub(super) fn held_in_words(held: &Held) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let full = match held.has_room() {
        true => "",
        false => ", which is full: devices keep their last 8 batches, and what is older is lost",
    };
    match held.jobs {
        0 => String::new(),
        jobs => format!(
            ", {jobs} held for a laptop's journal ({:.1} of {:.0} MiB{full})",
            mib(held.bytes),
            mib(held.limit)
        ),
    }
}

/// Nobody will bring the journal that would tell of the keys, of `component` or of all.
pub(super) fn give_up_held(outbox: &Outbox, component: Option<&str>) -> Result<(), Failure> {
    let reason = "given up: the ledger does not know the keys that signed it";
    let given_up = outbox.give_up_held(component.map(Cid::of), reason);
    let n = given_up.map_err(|e| Failure::Failed(e.to_string()))?;
    let of = component.map_or_else(String::new, |name| format!(" under bindings of {name}"));
    say(&format!("{n} jobs that were held{of} are given up; they lie with what the ledger refused"));
    Ok(())
}

/// What became of a key among `all`, as far as the ledger tells for certain (H251); `ends` are pairings whose ends are held under it.
fn fate(
    ledger: &Snapshot<'_>,
    Noted { key, since, .. }: &Noted,
    ends: &[PairingId],
    all: &[(Noted, Vec<PairingId>)],
    now_ms: u64,
) -> Result<Option<Fate>, node::Error> {
    if let Some(binding) = ledger.binding(&key.binding)? {
        if ![binding.key_a, binding.key_b].contains(&key.key) {
            return Ok(Some(Fate::Never("the ledger has other keys in that binding".into())));
        }
        for pairing in ends {
            // The act that says that they were paired comes behind the one that binds them.
            if now_ms < binding.time_ms.saturating_add(PAIRING_MS) && ledger.pairing(pairing)?.is_none() {
                return Ok(None);
            }
        }
        return Ok(Some(Fate::Recorded));
    }
    for (id, binding) in ledger.bindings_of(&key.of)? {
        // Another laptop made that one before this one, and its journal was brought first.
        if all.iter().any(|(other, _)| other.key.binding == id && other.since <= *since) {
            continue;
        }
        let two = [binding.a, binding.b];
        let between = two.contains(&key.of) && two.contains(&key.with);
        // One that proves nothing gives way to any other (L36).
        let stands = binding.status == Status::Active && binding.assurance != Assurance::Plain as u8;
        if between && stands && binding.height > *since {
            let why = format!("the two were bound anew meanwhile, in block {}", binding.height);
            return Ok(Some(Fate::Replaced(why)));
        }
    }
    for cid in [key.of, key.with] {
        if let Some(component) = ledger.component(&cid)?.filter(|c| c.status.is_final()) {
            return Ok(Some(Fate::Never(format!("{} is at its end on the ledger", component.component_id))));
        }
    }
    Ok(refused(ledger, key)?.map(Fate::Never))
}

/// Why the ledger refused the journal that would have told of `key`, or takes nothing more of it (L123).
fn refused(ledger: &Snapshot<'_>, key: &FieldKey) -> Result<Option<String>, node::Error> {
    let mut open = false;
    let mut taken_back = None;
    for (id, recorded) in ledger.delegations()? {
        let delegation = Delegation::read(&recorded.statement);
        if !delegation.is_ok_and(|delegation| delegation.delegate.sign_pub() == key.delegate) {
            continue;
        }
        for (number, act) in ledger.acts_of(&id)? {
            let Some(why) = Rejection::from_number(act.outcome) else { continue };
            let tx = ledger.tx(&act.tx)?.and_then(|included| Tx::from_bytes(&included.bytes).ok());
            if tx.is_some_and(|tx| binds(&tx.unsigned.body) == Some(key.binding)) {
                let code = why.code();
                return Ok(Some(format!(
                    "the ledger refused act {number} of a laptop's journal: {why} ({code})"
                )));
            }
        }
        let mut void = false;
        for target in [Target::Delegation(id), Target::Account(recorded.authority)] {
            let reason = ledger.revocation(&target)?.and_then(|r| Reason::from_code(r.reason).ok());
            void |= reason.is_some_and(Reason::voids_the_past);
        }
        match void {
            true => {
                taken_back = Some(format!("delegation {id} was taken back with all that was done under it"))
            }
            false => open = true,
        }
    }
    Ok(taken_back.filter(|_| !open))
}

/// Which binding an act of a journal makes.
fn binds(body: &Body) -> Option<BindingId> {
    let Body::DelegateAct { body, .. } = body else { return None };
    match Body::from_bytes(body).ok()? {
        Body::Bind { record, .. } | Body::Rebind { record, .. } => {
            BindingRecord::decode(&record).ok().map(|record| record.binding_id)
        }
        _ => None,
    }
}

impl Live<'_> {
    /// What of that which these keys signed the ledger does not have, while it answers. What waits for one that is away may wait for
    /// long, and is lost when the keys end before (H229).
    pub(super) fn unbrought(
        outbox: &Outbox,
        uploads: &watch::Receiver<Progress>,
        keys: &[PublicKey],
    ) -> Unbrought {
        match uploads.borrow().away {
            true => Unbrought::Nothing,
            false if outbox.is_held(keys) => Unbrought::Held,
            // What cannot be read may be one of them.
            false if outbox.holds(keys).unwrap_or(true) => Unbrought::OnItsWay,
            false => Unbrought::Nothing,
        }
    }

    /// Looks whether the ledger knows by now what a delegate bound, or never will (H237, H251).
    pub(super) fn look_for_keys(&mut self) -> Result<(), Failure> {
        if self.world.now() < self.field_due {
            return Ok(());
        }
        self.field_due = self.world.now() + KEYS_PERIOD;
        let all = self.outbox.noted();
        if all.is_empty() {
            return Ok(());
        }
        let (mut fates, now_ms) = (Vec::new(), self.clock.load(std::sync::atomic::Ordering::Relaxed));
        {
            let ledger = self.chain.read().map_err(|e| failure(&e))?;
            for (noted, ends) in &all {
                let fate = fate(&ledger, noted, ends, &all, now_ms).map_err(|e| failure(&e))?;
                fates.extend(fate.map(|fate| (noted.key.key, fate)));
            }
        }
        let changed = self.outbox.became(&fates).map_err(|e| Failure::Failed(e.to_string()))?;
        self.gateway.set_fates(&changed);
        let why = |key: &PublicKey| fates.iter().find(|(known, _)| known == key).map(|(_, fate)| fate);
        for key in changed.iter().filter(|key| key.standing == Standing::Void) {
            if let Some(Fate::Never(why) | Fate::Replaced(why)) = why(&key.key) {
                let [of, with] = [key.of, key.with].map(|cid| self.name_of(cid));
                say(&format!(
                    "the ledger will never have the key of {of} in binding {} with {with}: {why}. What is held under it lies with what \
                     the ledger refused; what else it signs stays with it until the two are bound anew",
                    key.binding
                ));
            }
        }
        match changed.iter().any(|key| key.standing == Standing::Recorded) {
            true => self.learn_keys(),
            false => Ok(()),
        }
    }

    /// Moves on with what need not be held any more, a piece in each turn: a pack that has much to bring goes on meanwhile.
    pub(super) fn move_held(&mut self) -> Result<(), Failure> {
        let moved = self.outbox.move_on().map_err(|e| Failure::Failed(e.to_string()))?;
        if moved == gateway::Moved::default() {
            return Ok(());
        }
        if moved.released > 0 {
            say(&format!("{} jobs that were held go to the ledger, which knows their keys", moved.released));
        }
        if moved.given_up > 0 {
            say(&format!("{} jobs that were held lie with what the ledger refused", moved.given_up));
        }
        self.gateway.set_room(self.outbox.held().has_room());
        Ok(())
    }

    fn name_of(&self, cid: Cid) -> String {
        self.names.get(&cid).map_or_else(|| cid.to_string(), Clone::clone)
    }
}
