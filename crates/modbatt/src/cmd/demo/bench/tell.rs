//! What happened at the gateway, in words, and what follows from it for the run.

use gateway::Event;
use lct::id::Cid;
use pack::fault::FaultCode;

use super::super::super::Failure;
use super::super::{bootstrap, say};
use super::{KEYS_PERIOD, Live};

impl Live<'_> {
    pub(super) fn tell(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Found(who) => say(&format!("discovered {} on CAN 1", who.component_id)),
            Event::Modules(n) => {
                self.found = n;
                say(&format!("discovered {n} modules on CAN 2"));
            }
            Event::TaskDone(task) => {
                self.tasks.add(&task)?;
                say(&format!("done: {task}"));
            }
            Event::ChannelUp(epoch) => say(&format!("channel to the pack is up, epoch {epoch}")),
            Event::Rotated(epoch) => say(&format!("channel to the pack rotated, epoch {epoch}")),
            Event::HandshakeDue => say("a full handshake is due: the authority is asked for a new pairing"),
            Event::Renewed(what) => say(&format!("renewed: {what}")),
            Event::Bound => self.learn_keys()?,
            Event::NotRenewed(what, why) => {
                say(&format!("not renewed: {what}: {why}; it is tried again later"));
            }
            Event::Alarm(_) => say("alarm: too many messages on the channel to the pack did not open"),
            Event::Escalated(level, own) => {
                let who = if own { "the app" } else { "the pack" };
                say(&format!("{who} asks for validation level {}", level as u8));
            }
            Event::Contradiction(party) => {
                // Its device tells it again and again.
                if self.world.now() >= self.keys_due {
                    self.keys_due = self.world.now() + KEYS_PERIOD;
                    let who = self.name(party);
                    say(&format!("a statement of {who} does not fit what was received; it is not kept"));
                    // A delegate may have bound it anew, and the ledger know that by now (H229).
                    self.learn_keys()?;
                }
            }
            Event::Compare(digits) => {
                say(&format!("the app shows the digits {}", bootstrap::shown(digits)));
                self.digits = Some(digits);
            }
            Event::DeviceChannel(assurance) => {
                say(&format!("device channel to the pack stands, {}", assurance.name()));
            }
            Event::BootstrapFailed(failure) => return Err(Failure::Failed(bootstrap::sentence(failure))),
            Event::Revocations(_, 0) => {}
            Event::Revocations(number, entries) => {
                say(&format!("revocation list {number} with {entries} entries goes to pack and modules"));
            }
            Event::Checked(found) => self.checked = Some(found),
            Event::Unpaired(ending) => {
                let name = |cid: Cid| self.names.get(&cid).map_or_else(|| cid.to_string(), Clone::clone);
                let reason = api::revocation::reason_name(ending.reason);
                say(&format!("{} ended its pairing with {} ({reason})", name(ending.by), name(ending.with)));
            }
            Event::Health(party, report) => {
                let faults = report.faults.iter().map(|fault| (fault.code, fault.severity));
                self.faults.report(&self.name(party), faults);
            }
            Event::Alert(party, alert) => {
                let name = self.name(party);
                let known =
                    FaultCode::from_code(alert.code).map_or("a fault it does not name", FaultCode::name);
                say(&format!("alert of {name}: {known}, detail {}", alert.detail));
                self.faults.alert(&name, alert.code, alert.severity());
            }
            Event::Follow(id) => {
                say(&format!("app, pack and modules obey the authority {id}, which followed"))
            }
            Event::Obeys(member, id) => {
                let who = member.map_or_else(|| "the app".to_owned(), |party| self.name(party));
                say(&format!(
                    "{who} obeys the authority {id}, which is none of this installation: it takes nothing from this one, and \
                     needs new factory data"
                ));
            }
            Event::NotTaken(why) => say(&format!("the app does not take what the authority says: {why}")),
            Event::State(_) | Event::PackStatus(_) | Event::ModuleScan(..) => {}
        }
        Ok(())
    }
}
