//! Sends a transaction: signed here with the key of an account, and waited for until a block holds it (A33).

use api::Client;
use api::sign::Envelope;
use api::transaction::REFUSED;
use lct::Digest;
use lct::sign::SigningKey;
use ledger::tx::{Body, TxId};

use super::{Failure, ask, os_rng};

/// Blocks for which a transaction stays valid.
const EXPIRY_BLOCKS: u64 = 10_000;

/// A way to a ledger, with an account.
pub struct Sender {
    client: Client,
    chain_id: Digest,
    key: SigningKey,
}

impl Sender {
    /// Sends to the bridge at `url`, for chain `chain_id`, signed with `key`.
    pub fn new(url: &str, chain_id: Digest, key: SigningKey) -> Result<Self, Failure> {
        let client = Client::new(url).map_err(|e| Failure::Input(e.to_string()))?;
        Ok(Sender { client, chain_id, key })
    }

    /// Signs `body` and returns the transaction once it took effect.
    pub fn send(&self, body: Body) -> Result<TxId, Failure> {
        let mut rng = os_rng()?;
        let sent = ask(async {
            let account = self.client.account(&self.key.public()).await?;
            let expiry_height = account.height + EXPIRY_BLOCKS;
            let envelope = Envelope { chain_id: self.chain_id, nonce: account.next_nonce, expiry_height };
            let tx = api::sign::sign(body, &envelope, &self.key, &mut rng);
            self.client.submit(&tx.bytes, true).await
        })?;
        if sent.status == REFUSED {
            let (code, error) = (sent.code.unwrap_or_default(), sent.error.unwrap_or_default());
            return Err(Failure::Failed(format!("the ledger refuses it: {error} ({code})")));
        }
        Ok(sent.txhash.0)
    }
}
