//! What an app may do: the authority states the scope of its LCT (A113; ledger.md, L144).

use api::{context::GiveScope, encoding::Hex, problem::code};
use lct::{
    context::{Cids, Content, Signed, Statement},
    id::{Cid, Role},
    sign::PublicKey,
};
use ledger::{
    records::{Status, registry::ContextRecord},
    tx::TxId,
};

use super::{Core, component, issuance::Kind};
use crate::refusal::{Refusal, Reply};

/// Read, write and execute.
const ALL: u8 = 7;

/// The scope of an app.
pub(crate) struct Scope {
    pub lct_id: Hex<32>,
    pub number: u32,
    pub tx: TxId,
    /// Whether the transaction waits for a block.
    pub waits: bool,
}

impl Core {
    /// States that an app may do everything with the packs that it is bound to, and which account its energy is settled
    /// with; nothing when the ledger has that.
    pub fn scope(&mut self, request: &GiveScope) -> Reply<Scope> {
        let chain = self.chain.clone();
        let snapshot = chain.read()?;
        let (cid, app) = component(&snapshot, "component_id", &request.component_id)?;
        let account = PublicKey::from_slice(&request.account.0);
        let account = account.map_err(|e| Refusal::format(format!("account: {e}")))?;
        let mut packs: Vec<Cid> = Vec::new();
        for (_, binding) in snapshot.bindings_of(&cid)? {
            let peer = if binding.a == cid { binding.b } else { binding.a };
            let is_pack = snapshot.component(&peer)?.is_some_and(|c| c.role == Role::Pack);
            if binding.status == Status::Active && is_pack {
                packs.push(peer);
            }
        }
        if app.role != Role::App || packs.is_empty() {
            let why = "a scope is that of an app which is bound to a pack";
            return Err(Refusal::new(403, code::PAIRING_DENIED, why).detail(request.component_id.clone()));
        }
        packs.sort_unstable();
        let too_many =
            || Refusal::format("component_id: the app is bound to more packs than a scope can name");
        let packs = Cids::from_slice(&packs).map_err(|_| too_many())?;
        let content = Content::Scope { operations: ALL, packs, account };
        let before = snapshot.contexts_of(&app.lct)?.into_iter().find_map(|kept: ContextRecord| {
            let stated = Statement::decode(&kept.statement).ok()?;
            (stated.content.kind() == content.kind()).then_some((stated, kept.tx))
        });
        let lct_id = Hex(app.lct);
        let number = match before {
            Some((stated, tx)) if stated.content == content => {
                return Ok(Scope { lct_id, number: stated.number, tx, waits: false });
            }
            Some((stated, _)) => stated.number.saturating_add(1),
            None => 1,
        };
        let statement =
            Statement { chain_id: chain.chain_id(), lct: app.lct, number, content, time_ms: (self.clock)() };
        let signed = self.key.sign(|key, rng| Signed::by(&statement, key, rng))?;
        let signed = signed.map_err(|e| Refusal::internal(&e))?;
        let name = format!("{lct_id}-{number}");
        self.note(Kind::Scope, name, (&request.creator, &[cid]), &signed.to_file())?;
        let body = api::sign::context(&signed).map_err(|e| Refusal::internal(&e))?;
        let tx = self.submit(body)?;
        Ok(Scope { lct_id, number, tx, waits: true })
    }
}
