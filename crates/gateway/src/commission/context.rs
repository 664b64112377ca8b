//! What is stated in the context of LCTs at commissioning: the app's scope, and for which modules the pack answers
//! (`spec/channel.md`, H210, H211; `spec/ledger.md`, L144 to L146).

use super::*;

/// What a pack is to sign about its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answerable {
    /// The next statement of its kind about the pack.
    pub statement: Vec<u8>,
    /// The pack's identity key.
    pub key: PublicKey,
}

impl Commissioner {
    /// What follows from a binding, once everything else is done: of a module that the pack says that it answers for it, of
    /// this app that the authority states what it may do.
    pub(super) fn answer_anew(&mut self, bound: Task) {
        let task = match bound {
            Task::Bind(pack @ Some(Party::Pack), Some(Party::Module(_))) => Task::Answer(pack),
            Task::Bind(None, Some(Party::Pack)) => Task::Scope,
            _ => return,
        };
        if !self.tasks.contains(&task) {
            self.tasks.push_back(task);
        }
    }

    /// What this app and its pack are to have stated: asked for where it was not seen to be there, for a start in between forgets it.
    /// What the ledger has costs a question.
    pub fn state_anew(&mut self) {
        for task in [Task::Scope, Task::Answer(Some(Party::Pack))] {
            if !self.tasks.contains(&task) {
                self.tasks.push_back(task);
            }
        }
    }

    /// Whether that is being asked for, or is about to be.
    pub fn is_stating(&self) -> bool {
        self.tasks.iter().any(|task| matches!(task, Task::Scope | Task::Answer(_)))
    }

    /// The ledger has what the pack says, or the pack is to sign this.
    pub(super) fn on_answerable(
        &mut self,
        now: Instant,
        pack: Member,
        wanted: Option<Answerable>,
    ) -> Result<(), Error> {
        match wanted {
            None => self.finish(),
            Some(wanted) => {
                let message = prefixed(&[pdu::BINDING, op::ANSWER_FOR], &wanted.statement);
                self.stage = Stage::AwaitAnswer { wanted };
                self.send(now, vec![(pack, message)]);
            }
        }
        Ok(())
    }

    /// The pack's signature. One that does not verify may be anybody's: the pack is asked again.
    pub(super) fn on_answers_for(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let ([pdu::BINDING, op::ANSWERS_FOR, body @ ..], Stage::AwaitAnswer { wanted }) =
            (bytes, &self.stage)
        else {
            return Ok(());
        };
        let mut f = Fields::new(body);
        let (about, signature): (Digest, _) = (f.array()?, Signature(f.array()?));
        f.end()?;
        if about != sha256(&[&wanted.statement]) {
            return Ok(());
        }
        let signed = SignedContext::new(&wanted.statement, wanted.key, signature)?;
        self.ask(Request::State(Box::new(signed)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{APP, DONE, MODULE, PACK, commissioner};
    use lct::{
        context::{CONTEXT_MAX, Content, Statement},
        sign::SigningKey,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn next(c: &mut Commissioner) -> Option<Step> {
        c.poll(Instant::START, &mut |bytes: &mut [u8]| bytes.fill(7)).unwrap()
    }

    fn statement() -> Vec<u8> {
        let content = Content::Witness { modules: Default::default() };
        let made = Statement { chain_id: [0; 32], lct: [1; 32], number: 1, content, time_ms: 1 };
        let mut bytes = [0; CONTEXT_MAX];
        let n = made.encode(&mut bytes).unwrap();
        bytes[..n].to_vec()
    }

    /// What the bus says is believed only as far as the pack's key signed it.
    #[test]
    fn the_ledger_is_told_what_the_pack_signed_and_nothing_else() {
        let done: Vec<String> = DONE[..10].iter().map(|task| (*task).to_owned()).collect();
        let mut c = commissioner(&done);
        assert!(matches!(next(&mut c), Some(Step::Ask(r)) if matches!(*r, Request::Answerable { .. })));
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let [key, other] = [(); 2].map(|()| SigningKey::generate(&mut rng));
        let wanted = Answerable { statement: statement(), key: key.public() };
        c.reply(Instant::START, Reply::Answerable(Some(wanted))).unwrap();
        assert!(matches!(next(&mut c), Some(Step::Send(PACK, _))));
        let digest = Statement::decode(&statement()).unwrap().digest().unwrap();
        let mut said = |key: &SigningKey, about: &[u8]| {
            let signature = key.sign(&digest, &mut rng);
            [&[pdu::BINDING, op::ANSWERS_FOR][..], &sha256(&[about]), &signature.0].concat()
        };
        let forged = said(&other, &statement());
        assert!(c.answer(Instant::START, PACK, &forged).is_err());
        for ignored in [said(&key, b"something else"), forged[..40].to_vec()] {
            let _misfit = c.answer(Instant::START, PACK, &ignored);
            assert!(next(&mut c).is_none());
        }
        let good = said(&key, &statement());
        c.answer(Instant::START, MODULE, &good).unwrap();
        assert!(next(&mut c).is_none(), "it is not the module's to say");
        c.answer(Instant::START, PACK, &good).unwrap();
        assert!(matches!(next(&mut c), Some(Step::Ask(r)) if matches!(*r, Request::State(_))));
        c.reply(Instant::START, Reply::Done).unwrap();
        assert!(matches!(next(&mut c), Some(Step::Finished(Task::Answer(PACK)))));
        assert!(c.is_finished());
    }

    /// A start between a binding and what follows from it forgets that: it is asked for in operation, and without a network nothing
    /// waits for it before.
    #[test]
    fn a_start_asks_again_for_what_is_to_be_stated_and_does_not_wait_for_it() {
        let mut done: Vec<String> = DONE[..9].iter().map(|task| (*task).to_owned()).collect();
        assert_eq!(
            commissioner(&done).tasks,
            [Task::Scope, Task::Answer(PACK)],
            "commissioning ends with it"
        );
        done.push(COMMISSIONED.into());
        let mut c = commissioner(&done);
        assert!(c.is_finished());
        for _ in 0..2 {
            c.state_anew();
        }
        assert_eq!(c.tasks, [Task::Scope, Task::Answer(PACK)]);
    }

    /// A module that is bound anew has another key: the pack says anew for whom it answers, once for all of them. Another app is
    /// given a scope.
    #[test]
    fn who_is_bound_is_answered_for() {
        let mut c = commissioner(&DONE.map(str::to_owned));
        assert!(c.tasks.is_empty());
        c.answer_anew(Task::Pair(PACK, MODULE));
        assert!(c.tasks.is_empty(), "only bindings are news");
        for _ in 0..2 {
            c.answer_anew(Task::Bind(PACK, MODULE));
            c.answer_anew(Task::Bind(APP, PACK));
        }
        assert_eq!(c.tasks, [Task::Answer(PACK), Task::Scope]);
    }
}
