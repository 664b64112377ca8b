//! Sends a transaction: signed here with the key of an account, and waited for until a block holds it (A33).

use std::path::{Path, PathBuf};

use api::Client;
use api::sign::Envelope;
use api::transaction::REFUSED;
use bridge::{AuthorityKey, Hand, Source, Token as _};
use lct::Digest;
use lct::sign::{PublicKey, SigningKey};
use ledger::tx::{Body, TxId};
use serde_json::json;
use zeroize::Zeroizing;

use super::data_dir::{DataDir, Run};
use super::{Failure, Outcome, ask, demo, os_rng, print, reason};
use crate::custody::Unlock;
use crate::custody::authority::{Kept, Keys};
use crate::custody::token::TokenKey;

/// Blocks for which a transaction stays valid.
const EXPIRY_BLOCKS: u64 = 10_000;

/// How often a transaction is made anew when another one of the same account was faster.
const TRIES: u32 = 20;

/// Reads a private key: a P-256 scalar of 32 bytes, as `modbatt factory request` writes it, or the key file of an authority or
/// of the one that followed it.
pub fn key_file(path: &Path) -> Result<SigningKey, Failure> {
    let keys = Keys::at(path)?;
    let followed = keys.lineage().map(|_| keys.file(""));
    let path = followed.as_deref().unwrap_or(path);
    let unusable = |why: &str| Failure::Input(format!("{} holds no private key: {why}", path.display()));
    let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|e| unusable(&reason(&e)))?;
    if let Some(secret) = AuthorityKey::from_bytes(&bytes).ok().as_ref().and_then(AuthorityKey::secret) {
        return Ok(secret.signing_key().clone());
    }
    let scalar = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new);
    let scalar = scalar.map_err(|_| unusable("it is not 32 bytes long"))?;
    SigningKey::from_bytes(&scalar).map_err(|_| unusable("it is no P-256 scalar"))
}

/// Who signs: with a private key of this process, with one in a token, or with an authority's, which may lie in either.
pub enum Signatory {
    Here(SigningKey),
    Token(Box<TokenKey>),
    Authority(Box<AuthorityKey>),
}

impl From<SigningKey> for Signatory {
    fn from(key: SigningKey) -> Self {
        Self::Here(key)
    }
}

impl Signatory {
    /// The key at `path`: a file that [`key_file`] reads, or what stands in its place (A210, A211).
    pub fn open(path: &Path, unlock: &Unlock) -> Result<Self, Failure> {
        let keys = Keys::at(path)?;
        match keys.kept()? {
            // Of a factory's root or batch there is a signing key alone.
            Some(Kept::Token(held)) if !held.is_of_authority() => {
                Ok(Self::Token(Box::new(held.open(&unlock.pin.get()?)?)))
            }
            Some(Kept::Encrypted | Kept::Token(_)) => Ok(Self::Authority(Box::new(keys.open(unlock)?))),
            Some(Kept::Plain) | None => key_file(path).map(Self::Here),
        }
    }

    /// The key under which its signatures verify.
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Here(key) => key.public(),
            Self::Token(key) => key.public(),
            Self::Authority(key) => key.public().sign_pub(),
        }
    }

    /// The key itself, where it is in this process and nothing but a signing key.
    pub fn secret(&self) -> Option<&SigningKey> {
        match self {
            Self::Here(key) => Some(key),
            Self::Token(_) | Self::Authority(_) => None,
        }
    }

    /// Runs `f` with what signs.
    pub fn with<T>(&self, f: impl FnOnce(&Hand<'_>) -> T) -> Result<T, Failure> {
        let source = match self {
            Self::Here(key) => Source::Here(key),
            Self::Token(key) => Source::Token(key.as_ref()),
            Self::Authority(key) => key.source(),
        };
        source.with(f).map_err(|e| Failure::Failed(e.to_string()))
    }
}

/// A way to a ledger, with an account.
pub struct Sender {
    client: Client,
    chain_id: Digest,
    signatory: Signatory,
}

impl Sender {
    /// Sends to the bridge at `url`, for chain `chain_id`, signed with `key`.
    pub fn new(url: &str, chain_id: Digest, key: SigningKey) -> Result<Self, Failure> {
        Self::by(url, chain_id, Signatory::Here(key))
    }

    /// The same, signed by `signatory`.
    pub fn by(url: &str, chain_id: Digest, signatory: Signatory) -> Result<Self, Failure> {
        let client = Client::new(url).map_err(|e| Failure::Input(e.to_string()))?;
        Ok(Sender { client, chain_id, signatory })
    }

    /// Signs `body` and returns the transaction once it took effect.
    pub fn send(&self, body: Body) -> Result<TxId, Failure> {
        let mut rng = os_rng()?;
        let sent = ask(async {
            let mut tries = 0;
            loop {
                let account = self.client.account(&self.signatory.public()).await?;
                let expiry_height = account.height + EXPIRY_BLOCKS;
                let envelope = Envelope { chain_id: self.chain_id, nonce: account.next_nonce, expiry_height };
                let body = body.clone();
                let tx = match self.signatory.with(|hand| api::sign::sign(body, &envelope, hand, &mut rng)) {
                    Ok(tx) => tx,
                    Err(failure) => return Ok(Err(failure)),
                };
                let sent = self.client.submit(&tx.bytes, true).await;
                let code = match &sent {
                    Ok(sent) => sent.code.as_deref(),
                    Err(e) => e.code(),
                };
                // Somebody else sends with this account too.
                let overtaken = matches!(code, Some("W4_ERR_PROTO_REPLAY" | "W4_ERR_PROTO_SEQUENCE"));
                if !overtaken || tries == TRIES {
                    return sent.map(Ok);
                }
                tries += 1;
            }
        })??;
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
    /// Private key of the account that sends it, 32 bytes, or the key of an authority: plain, encrypted, or in a token that
    /// FILE.token names [default: the operator of the installation]
    #[arg(long, value_name = "FILE")]
    account_key: Option<PathBuf>,
    #[command(flatten)]
    unlock: Unlock,
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
        let signatory = match &self.account_key {
            Some(path) => self.signatory(path)?,
            None => Signatory::Here(demo::operator(&dir)?),
        };
        let client = Client::new(&url).map_err(|e| Failure::Input(e.to_string()))?;
        Ok(There { sender: Sender::by(&url, *dir.chain_id(), signatory)?, client, dir })
    }

    /// Another key, opened with the same passphrase and PIN.
    pub fn signatory(&self, path: &Path) -> Result<Signatory, Failure> {
        Signatory::open(path, &self.unlock)
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
