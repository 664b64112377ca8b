//! Statements in the context of LCTs: what a pack is to sign, and how what was signed gets to the ledger.

use super::*;
use crate::commission::Answerable;
use api::context::{Context, Said};
use lct::{
    context::{CONTEXT_MAX, Cids, Content, Signed as SignedContext, Statement},
    id::Cid,
    sign::PublicKey,
};

/// By this the ledger says that it has a statement of the same kind with this number or a later one.
const LCT_SEQUENCE: &str = "W4_ERR_LCT_SEQUENCE";

impl<R: CryptoRng> Uplink<R> {
    /// What the pack `component_id` has to sign about the modules that it is bound to on the ledger; nothing when the ledger
    /// has it.
    pub(super) async fn answerable(&self, component_id: &str) -> Result<Option<Answerable>, UplinkError> {
        let pack = self.client.component(component_id).await?;
        let mut modules = Vec::new();
        for binding in pack.bindings.iter().filter(|b| b.status == "active" && b.partner_role == "module") {
            modules.push(Cid(binding.partner.0));
        }
        modules.sort_unstable();
        let said: Vec<Hex<16>> = modules.iter().map(|cid| Hex(cid.0)).collect();
        let known = self.client.contexts(&pack.lct_id).await?;
        let last = known.contexts.iter().find(|c| matches!(c.said, Said::Witness { .. }));
        if last.map_or(said.is_empty(), |c| c.said == Said::Witness { modules: said }) {
            return Ok(None);
        }
        let modules = Cids::from_slice(&modules).map_err(|_| UplinkError::Answer("too many modules"))?;
        let statement = Statement {
            chain_id: self.chain_id,
            lct: pack.lct_id.0,
            number: last.map_or(1, |c| c.number.saturating_add(1)),
            content: Content::Witness { modules },
            time_ms: known.time * 1000,
        };
        let mut bytes = [0; CONTEXT_MAX];
        let n = statement.encode(&mut bytes)?;
        Ok(Some(Answerable { statement: bytes[..n].to_vec(), key: PublicKey(pack.device_key.0) }))
    }

    /// Brings a signed statement to the ledger; returns once a block holds it.
    pub(super) async fn state(&mut self, signed: &SignedContext) -> Result<Uploaded, UplinkError> {
        let stated = signed.open()?;
        if self.is_stated(&stated, signed).await? {
            return Ok(Uploaded::AlreadyThere);
        }
        let tx = self.signed(api::sign::context(signed)?).await?;
        let sent = self.client.submit(&tx.bytes, true).await?;
        if sent.status != "refused" {
            return Ok(Uploaded::Accepted(sent.txhash.0));
        }
        let (code, error) = reasons(sent.code, sent.error)?;
        self.not_overtaken(&code, &error)?;
        // Another way may have been faster.
        match code == LCT_SEQUENCE && self.is_stated(&stated, signed).await? {
            true => Ok(Uploaded::AlreadyThere),
            false => Ok(Uploaded::Refused(format!("{code}: {error}"))),
        }
    }

    /// Whether the ledger has this statement, or later ones of its kind.
    async fn is_stated(&self, stated: &Statement, signed: &SignedContext) -> Result<bool, UplinkError> {
        let known = match self.client.contexts(&Hex(stated.lct)).await {
            Err(ClientError::Refused(problem)) if problem.status == 404 => return Ok(false),
            known => known?.contexts,
        };
        let same_kind = |c: &&Context| c.said.kind() == stated.content.name();
        Ok(known.iter().find(same_kind).is_some_and(|c| {
            c.number > stated.number
                || (c.number == stated.number && c.statement.0.as_slice() == signed.statement.as_slice())
        }))
    }
}
