//! Level-5 commands of the pack (`spec/channel.md`, H36 and H37).

use super::*;

impl Module {
    /// Judges a signed command, carries it out and answers.
    pub(super) fn signed_command(
        &mut self,
        now: Instant,
        base: u16,
        body: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<(), Error> {
        let (Some(session), Some(peer)) = (self.relation.session(), self.relation.peer_spk()) else {
            return Ok(());
        };
        let command = match SignedCommand::open(body, session.th4(), session.epoch(), &peer.sign_pub()) {
            Ok(command) if command.base == base => command,
            _ => {
                self.device.refuse_security();
                return Ok(());
            }
        };
        let stale = self.device.is_stale(now, &command);
        let result = if stale {
            crate::command::CommandResult::Stale
        } else {
            match base {
                ModuleStateChange::BASE => match ModuleStateChange::decode(command.command) {
                    Ok(m) if m.state != RelayState::Off && self.device.health.tripped() => {
                        // A trip holds against every command but Off.
                        crate::command::CommandResult::Refused
                    }
                    Ok(m)
                        if m.state > self.relay
                            && !self.device.may(now, 0, base, Operation::Switch, &mut self.relation) =>
                    {
                        crate::command::CommandResult::Refused
                    }
                    Ok(m) => {
                        self.ceiling = self.ceiling.max(m.state);
                        self.obey(m.state)?;
                        crate::command::CommandResult::Done
                    }
                    Err(_) => crate::command::CommandResult::Refused,
                },
                _ => crate::command::CommandResult::Refused,
            }
        };
        let seq = command.seq;
        self.device.spend(now, seq, stale, &mut self.relation, rng);
        let ack = crate::command::acknowledgement(seq, result, self.device.challenge())?;
        self.seal_pdu(now, Tier::Pair, &ack)
    }
}
