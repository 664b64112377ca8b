//! Sends a transaction: signed here with the key of an account, and waited for until a block holds it (A33).

use std::path::{Path, PathBuf};

use api::Client;
use api::sign::Envelope;
use api::transaction::REFUSED;
use bridge::AuthorityKey;
use lct::Digest;
use lct::sign::SigningKey;
use ledger::tx::{Body, TxId};
use serde_json::json;
use zeroize::Zeroizing;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, demo, os_rng, print, reason};

/// Blocks for which a transaction stays valid.
const EXPIRY_BLOCKS: u64 = 10_000;

/// How often a transaction is made anew when another one of the same account was faster.
const TRIES: u32 = 20;

/// Reads a private key: a P-256 scalar of 32 bytes, as `modbatt factory request` writes it, or the key file of an authority.
pub fn key_file(path: &Path) -> Result<SigningKey, Failure> {
    let unusable = |why: &str| Failure::Input(format!("{} holds no private key: {why}", path.display()));
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|e| unusable(&reason(&e)))?;
    if let Some(secret) = AuthorityKey::from_bytes(&bytes).ok().as_ref().and_then(AuthorityKey::secret) {
        return Ok(secret.signing_key().clone());
    }
    let scalar = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new);
    let scalar = scalar.map_err(|_| unusable("it is not 32 bytes long"))?;
    SigningKey::from_bytes(&scalar).map_err(|_| unusable("it is no P-256 scalar"))
}

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
            let mut tries = 0;
            loop {
                let account = self.client.account(&self.key.public()).await?;
                let expiry_height = account.height + EXPIRY_BLOCKS;
                let envelope = Envelope { chain_id: self.chain_id, nonce: account.next_nonce, expiry_height };
                let tx = api::sign::sign(body.clone(), &envelope, &self.key, &mut rng);
                let sent = self.client.submit(&tx.bytes, true).await;
                let code = match &sent {
                    Ok(sent) => sent.code.as_deref(),
                    Err(e) => e.code(),
                };
                // Somebody else sends with this account too.
                let overtaken = matches!(code, Some("W4_ERR_PROTO_REPLAY" | "W4_ERR_PROTO_SEQUENCE"));
                if !overtaken || tries == TRIES {
                    return sent;
                }
                tries += 1;
            }
        })?;
        if sent.status == REFUSED {
            let (code, error) = (sent.code.unwrap_or_default(), sent.error.unwrap_or_default());
            return Err(Failure::Failed(format!("the ledger refuses it: {error} ({code})")));
        }
        Ok(sent.txhash.0)
    }
}

/// To which ledger, by whose account, and how the answer is told.
#[derive(clap::Args)]
pub struct At {
    /// The data directory of the installation, which runs
    #[arg(long, value_name = "DIR", default_value = "modbatt-data")]
    data_dir: PathBuf,
    /// Private key of the account that sends it, 32 bytes, or the key file of an authority [default: the operator of the
    /// installation]
    #[arg(long, value_name = "FILE")]
    account_key: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A running ledger, with who sends.
pub struct There {
    pub client: Client,
    pub dir: DataDir,
    pub sender: Sender,
}

impl At {
    /// Opens the way.
    pub fn open(&self) -> Result<There, Failure> {
        let (dir, Run { url, .. }) = DataDir::open_running(&self.data_dir, "its ledger can take it")?;
        let key = match &self.account_key {
            Some(path) => key_file(path)?,
            None => demo::operator(&dir)?,
        };
        let client = Client::new(&url).map_err(|e| Failure::Input(e.to_string()))?;
        Ok(There { sender: Sender::new(&url, *dir.chain_id(), key)?, client, dir })
    }

    /// Tells that a transaction took effect: `words`, and the `id` of what it is about.
    pub fn tell(&self, tx: &TxId, id: Option<&[u8]>, words: &str) -> Result<Outcome, Failure> {
        let txhash = hex::encode(tx);
        print(&match (self.json, id) {
            (false, _) => format!("{words}; transaction {txhash}\n"),
            (true, None) => format!("{}\n", json!({ "format": 1, "txhash": txhash })),
            (true, Some(id)) => {
                format!("{}\n", json!({ "format": 1, "id": hex::encode(id), "txhash": txhash }))
            }
        })?;
        Ok(Outcome::Good)
    }
}
