//! Renewals in operation: policies that were ordered (`spec/channel.md`, H111, H112), and pairings that come to their end.

use super::*;
use pack::{pdu::policy, policies::Reason};

/// What is to be done for the policy of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyStep {
    /// Both sign this proposal.
    Sign(Vec<u8>),
    /// Both take this update.
    Take(Vec<u8>),
    /// It is in force; the two are to be paired anew.
    Pair,
    /// It is in force.
    InForce,
}

impl Commissioner {
    /// The members with these component ids.
    pub fn pair_of(&self, ids: [&str; 2]) -> Option<[Member; 2]> {
        let member = |id: &str| self.members.iter().find(|(_, who)| who.component_id == id).map(|(m, _)| *m);
        match ids.map(member) {
            [Some(a), Some(b)] => Some([a, b]),
            _ => None,
        }
    }

    /// The entities of `binding`, A then B, agree to the policy that was ordered, if there is one, and are paired anew.
    /// A pair that waits already changes nothing.
    pub fn renew(&mut self, binding: BindingId, [a, b]: [Member; 2]) {
        if !self.waits([a, b]) {
            self.tasks.extend([Task::Policy(binding, a, b), Task::Pair(a, b)]);
        }
    }

    /// A and B need a new certificate.
    pub fn pair_anew(&mut self, a: Member, b: Member) {
        if !self.waits([a, b]) {
            self.tasks.push_back(Task::Pair(a, b));
        }
    }

    /// An operator ordered that the components `ids`, A then B, are paired anew. The name of the task that does it, or
    /// nothing when one of them is no member here.
    pub fn pair_by_order(&mut self, ids: [&str; 2]) -> Option<String> {
        let [a, b] = self.pair_of(ids)?;
        self.pair_anew(a, b);
        Some(self.task_name(Task::Pair(a, b)))
    }

    /// An operator ordered that the components `ids`, A then B, are bound, or bound anew, and paired. The name of the task
    /// that ends it; nothing when one of them is no member here, or something else waits to be done with the two.
    pub fn bind_by_order(&mut self, ids: [&str; 2]) -> Option<String> {
        let [a, b] = self.pair_of(ids).filter(|pair| !self.waits(*pair))?;
        self.tasks.extend([Task::Bind(a, b), Task::Lct(a, b), Task::Pair(a, b)]);
        Some(self.task_name(Task::Pair(a, b)))
    }

    /// An operator ordered that B, which joined this pack since it was commissioned, is registered, bound and paired with A. The
    /// name of the task that ends it; nothing as in [`Commissioner::bind_by_order`].
    pub fn install_by_order(&mut self, ids: [&str; 2]) -> Option<String> {
        let [a, b] = self.pair_of(ids).filter(|pair| !self.waits(*pair))?;
        self.tasks.extend([Task::Register(b), Task::Bind(a, b), Task::Lct(a, b), Task::Pair(a, b)]);
        Some(self.task_name(Task::Pair(a, b)))
    }

    /// An operator ordered that this pack, in the place of another one, is registered, bound and paired with this app. The name
    /// of the task that ends it; nothing when the pack is another one, or something else waits to be done with it.
    pub fn exchange_by_order(&mut self, pack_id: &str) -> Option<String> {
        let pack = Some(Party::Pack);
        if self.name(pack) != Some(pack_id) || self.waits([None, pack]) {
            return None;
        }
        self.tasks.extend([Task::Register(pack), Task::Bind(None, pack), Task::Lct(None, pack)]);
        self.tasks.push_back(Task::Pair(None, pack));
        Some(self.task_name(Task::Pair(None, pack)))
    }

    /// Whether a task of this name waits or is under way.
    pub fn has(&self, name: &str) -> bool {
        self.tasks.iter().any(|task| self.task_name(*task) == name)
    }

    /// Whether anything waits to be done with these two.
    pub fn waits(&self, pair: [Member; 2]) -> bool {
        self.tasks.iter().any(|task| task.pair() == Some(pair))
    }

    /// Leaves the task under way undone, and what else waits for the same two.
    pub fn give_up(&mut self) -> Option<Task> {
        let task = self.tasks.front().copied()?;
        let same = |other: &Task| match task {
            Task::Register(member) => other.pair().is_some_and(|pair| pair.contains(&member)),
            _ => other.pair() == task.pair(),
        };
        self.tasks.retain(|other| *other != task && !same(other));
        self.begin_anew();
        Some(task)
    }

    /// What the authority says about the policy task under way.
    pub(super) fn policy_step(
        &mut self,
        now: Instant,
        a: Member,
        b: Member,
        step: PolicyStep,
    ) -> Result<(), Error> {
        let message = match step {
            PolicyStep::Sign(proposal) => {
                let version = version_of(&proposal)?;
                self.stage = Stage::AwaitPolicySigned { version, signatures: [None; 2] };
                prefixed(&[pdu::POLICY, policy::SIGN], &proposal)
            }
            PolicyStep::Take(update) => {
                let version = version_of(&update)?;
                self.stage = Stage::AwaitPolicyTaken { version, taken: [false; 2] };
                prefixed(&[pdu::POLICY, policy::UPDATE], &update)
            }
            PolicyStep::Pair => {
                self.tasks.pop_front();
                self.begin_anew();
                return Ok(());
            }
            PolicyStep::InForce => {
                self.give_up();
                return Ok(());
            }
        };
        self.send(now, vec![(a, message.clone()), (b, message)]);
        Ok(())
    }

    pub(super) fn on_policy(
        &mut self,
        id: BindingId,
        a: Member,
        b: Member,
        from: Member,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let side = usize::from(from == b);
        let [pdu::POLICY, operation, body @ ..] = bytes else { return Ok(()) };
        let mut f = Fields::new(body);
        let answered = f.u32()?;
        match (*operation, &mut self.stage) {
            (policy::SIGNED, Stage::AwaitPolicySigned { version, signatures }) if answered == *version => {
                signatures[side] = Some(f.array()?);
                f.end()?;
                let (version, both) = (*version, *signatures);
                self.heard(from);
                if let [Some(of_a), Some(of_b)] = both {
                    self.ask(Request::SignPolicy { id, version, signatures: [of_a, of_b] });
                }
            }
            (policy::STATUS, Stage::AwaitPolicyTaken { version, taken }) if answered == *version => {
                let status = f.u8()?;
                f.end()?;
                if status == 0 {
                    taken[side] = true;
                    let all = *taken == [true; 2];
                    self.heard(from);
                    if all {
                        self.finish();
                    }
                    return Ok(());
                }
                return Err(self.policy_refused(a, b, from, status));
            }
            (policy::STATUS, Stage::AwaitPolicySigned { version, .. }) if answered == *version => {
                let status = f.u8()?;
                f.end()?;
                return Err(self.policy_refused(a, b, from, status));
            }
            _ => {}
        }
        Ok(())
    }

    fn policy_refused(&self, a: Member, b: Member, from: Member, status: u8) -> Error {
        let name = |member| self.name(member).unwrap_or("a device").to_owned();
        let reason = Reason::from_code(status).map_or_else(|| format!("status {status}"), |r| r.to_string());
        Error::Policy { who: name(from), a: name(a), b: name(b), reason }
    }
}

/// Version of a proposal or of an update.
fn version_of(bytes: &[u8]) -> Result<u32, Error> {
    let mut f = Fields::new(bytes);
    f.u8()?;
    Ok(f.u32()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{APP, DONE, MODULE, PACK, commissioner};

    const BINDING: BindingId = BindingId([5; 16]);

    /// App, pack and a module, with nothing left to commission.
    fn operating() -> Commissioner {
        let mut c = commissioner(&[]);
        c.tasks.clear();
        c
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// Everything that is to be done now.
    fn steps(c: &mut Commissioner) -> Vec<Step> {
        let mut random = |bytes: &mut [u8]| bytes.fill(7);
        std::iter::from_fn(|| c.poll(at(0), &mut random).unwrap()).collect()
    }

    /// What is sent, and to whom.
    fn sent(c: &mut Commissioner) -> Vec<(Member, Vec<u8>)> {
        let sent = steps(c).into_iter().map(|step| match step {
            Step::Send(to, bytes) => (to, bytes),
            other => panic!("{other:?}"),
        });
        sent.collect()
    }

    fn asked(c: &mut Commissioner) -> Request {
        match steps(c).pop() {
            Some(Step::Ask(request)) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn signature(version: u8, byte: u8) -> Vec<u8> {
        [&[pdu::POLICY, policy::SIGNED, 0, 0, 0, version][..], &[byte; 64]].concat()
    }

    fn status(version: u8, status: u8) -> [u8; 7] {
        [pdu::POLICY, policy::STATUS, 0, 0, 0, version, status]
    }

    fn list(number: u8, status: u8) -> [u8; 7] {
        [pdu::REVOCATION, pdu::REVOCATION_STATUS, 0, 0, 0, number, status]
    }

    /// Who joins a pack that was commissioned is left alone, until somebody orders that it is taken in; where that fails
    /// nothing else of it is tried.
    #[test]
    fn who_joins_later_waits_for_an_order() {
        let mut done: Vec<String> =
            DONE.iter().filter(|t| !t.contains("module")).map(|t| (*t).into()).collect();
        assert_eq!(commissioner(&done).tasks.len(), 4, "before the end everybody is commissioned");
        done.push(crate::commission::COMMISSIONED.into());
        let mut c = commissioner(&done);
        assert!(c.is_finished());
        let ids = ["pack-0001", "module-0001"];
        assert_eq!(c.install_by_order(ids).as_deref(), Some("pair pack-0001 module-0001"));
        assert_eq!(c.tasks.front(), Some(&Task::Register(MODULE)));
        assert_eq!((c.install_by_order(ids), c.tasks.len()), (None, 4), "once");
        assert_eq!(c.give_up(), Some(Task::Register(MODULE)));
        assert!(c.is_finished() && !c.has("pair pack-0001 module-0001"));
    }

    /// Both sign, both take, both hold the list, and only then the certificate is carried, to B first.
    #[test]
    fn a_policy_goes_from_the_order_to_the_certificate() {
        let mut c = operating();
        let pair = c.pair_of(["pack-0001", "module-0001"]).unwrap();
        assert_eq!((pair, c.pair_of(["pack-0001", "module-0009"])), ([PACK, MODULE], None));
        c.renew(BINDING, pair);
        c.renew(BINDING, pair);
        assert_eq!(c.tasks.len(), 2, "what waits is not done twice");
        assert!(matches!(asked(&mut c), Request::Policy { id: BINDING }));
        let proposal = [1, 0, 0, 0, 2, 0xAA];
        c.reply(at(0), Reply::Policy(PolicyStep::Sign(proposal.to_vec()))).unwrap();
        let message = [&[pdu::POLICY, policy::SIGN][..], &proposal].concat();
        assert_eq!(sent(&mut c), [(PACK, message.clone()), (MODULE, message)]);
        c.answer(at(1), MODULE, &signature(2, 0xB)).unwrap();
        // Another version, another operation, somebody else.
        c.answer(at(1), PACK, &signature(3, 0xA)).unwrap();
        c.answer(at(1), PACK, &status(3, 0)).unwrap();
        c.answer(at(1), APP, &signature(2, 0xC)).unwrap();
        assert!(steps(&mut c).is_empty());
        c.answer(at(1), PACK, &signature(2, 0xA)).unwrap();
        let Request::SignPolicy { id: BINDING, version: 2, signatures } = asked(&mut c) else { panic!() };
        assert_eq!(signatures, [[0xA; 64], [0xB; 64]]);
        let update = [1, 0, 0, 0, 2, 0xBB];
        c.reply(at(2), Reply::Policy(PolicyStep::Take(update.to_vec()))).unwrap();
        assert_eq!(sent(&mut c).len(), 2);
        c.answer(at(3), PACK, &status(2, 0)).unwrap();
        c.answer(at(3), PACK, &status(2, 0)).unwrap();
        assert!(steps(&mut c).is_empty(), "one of two");
        c.answer(at(3), MODULE, &status(2, 0)).unwrap();
        let done = steps(&mut c);
        assert!(matches!(done[0], Step::Finished(Task::Policy(BINDING, ..))));
        assert!(matches!(&done[1], Step::Ask(r) if matches!(**r, Request::IssuePairing { .. })));

        let crl = [&b"MBRL"[..], &[0, 0, 0, 9]].concat();
        let issued = Reply::Issued { id: PairingId([1; 16]), certificate: vec![0xCC], list: crl.clone() };
        c.reply(at(4), issued).unwrap();
        let message = [&[pdu::REVOCATION][..], &crl].concat();
        assert_eq!(sent(&mut c), [(PACK, message.clone()), (MODULE, message.clone())]);
        c.answer(at(5), MODULE, &list(9, 0)).unwrap();
        c.answer(at(5), PACK, &list(8, 3)).unwrap();
        assert!(steps(&mut c).is_empty(), "the pack holds an older list");
        c.tick(at(5_000), |_| None).unwrap();
        assert_eq!(sent(&mut c), [(PACK, message)], "and is given it again");
        c.answer(at(5_001), PACK, &list(10, 0)).unwrap();
        assert_eq!(sent(&mut c), [(MODULE, vec![pdu::CERTIFICATE, 0xCC])]);
    }

    /// A word against a policy may be anybody's: it counts only when nothing else ever comes. Others are not held up.
    #[test]
    fn a_refusal_ends_the_renewal_of_these_two_only() {
        let mut c = operating();
        c.renew(BINDING, [PACK, MODULE]);
        c.renew(BindingId([6; 16]), [APP, PACK]);
        asked(&mut c);
        c.reply(at(0), Reply::Policy(PolicyStep::Take(vec![1, 0, 0, 0, 2]))).unwrap();
        c.answer(at(1), PACK, &status(2, 0)).unwrap();
        c.answer(at(1), MODULE, &status(2, Reason::NoPlace as u8)).unwrap();
        let mut ms = 0;
        let refused = loop {
            ms += 5_000;
            match c.tick(at(ms), |_| None) {
                Ok(()) => assert!(ms < 60_000, "it never ends"),
                Err(e) => break e.to_string(),
            }
        };
        assert_eq!(
            refused,
            "module-0001 does not take the policy of pack-0001 and module-0001: two other policies are in use"
        );
        assert_eq!(c.give_up(), Some(Task::Policy(BINDING, PACK, MODULE)));
        assert_eq!(c.tasks, [Task::Policy(BindingId([6; 16]), APP, PACK), Task::Pair(APP, PACK)]);
        steps(&mut c);
        // Nobody who says anything: silence.
        c.reply(at(ms), Reply::Policy(PolicyStep::Take(vec![1, 0, 0, 0, 2]))).unwrap();
        let silent = (1..20).find_map(|n| c.tick(at(ms + n * 5_000), |_| None).err());
        let silent = silent.unwrap().to_string();
        assert!(
            silent.starts_with("app-0001 does not answer during `policy app-0001 pack-0001`"),
            "{silent}"
        );
        let other = SpkId([7; 8]);
        let strange = c.tick(at(ms + 200_000), |member| (member == APP).then_some(other)).unwrap_err();
        assert!(strange.to_string().contains(&format!("obeys the authority {other}")), "{strange}");
    }

    #[test]
    fn what_is_in_force_is_left_alone_and_what_is_due_is_paired() {
        let mut c = operating();
        c.renew(BINDING, [APP, PACK]);
        asked(&mut c);
        c.reply(at(0), Reply::Policy(PolicyStep::InForce)).unwrap();
        assert!(c.is_finished() && steps(&mut c).is_empty());
        c.renew(BINDING, [APP, PACK]);
        asked(&mut c);
        c.reply(at(0), Reply::Policy(PolicyStep::Pair)).unwrap();
        assert!(matches!(asked(&mut c), Request::IssuePairing { .. }));
        c.pair_anew(APP, PACK);
        assert_eq!(c.tasks, [Task::Pair(APP, PACK)]);
    }
}
