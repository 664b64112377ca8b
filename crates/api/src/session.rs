//! Logging in, and how a request proves that whoever sends it holds the key of its token (A134 to A136).

use ::lct::{
    Digest,
    sign::{PublicKey, Signature},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoding::Hex;

/// Header that carries a [`Proof`].
pub const PROOF_HEADER: &str = "x-modbatt-proof";
/// How far the time of a proof may be from the bridge's, in milliseconds.
pub const PROOF_WINDOW_MS: u64 = 60_000;
/// Longest passphrase, in bytes.
pub const PASSPHRASE_MAX: usize = 1024;
/// What every token begins with, so that a leaked one is recognised.
pub const TOKEN_PREFIX: &str = "mbt_";

/// Body of `POST /sessions`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user.
    pub user: String,
    /// His passphrase.
    pub passphrase: String,
    /// The key that the token is to be bound to.
    pub key: Hex<33>,
    /// A passphrase in the place of that one, from here on: needed where that one was given for once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_passphrase: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Answer of `POST /sessions`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// For `Authorization: Bearer`.
    pub token: String,
    /// The user's role.
    pub role: String,
    /// Unix seconds.
    pub expires_at: u64,
    /// Until when the user counts as present, Unix seconds.
    pub present_until: u64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What a request is, for its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// In upper case.
    pub method: &'a str,
    /// Host, and port unless it is the scheme's, as in the `Host` header: proofs for another bridge are worth nothing.
    pub authority: &'a str,
    /// Path and query, as sent.
    pub path: &'a str,
    /// The token.
    pub token: &'a str,
}

/// That a request was made by the holder of a key, once, at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// Never used before with this key.
    pub nonce: [u8; 16],
    /// Over [`Proof::digest`].
    pub signature: Signature,
}

impl Proof {
    /// What is signed: SHA-256 of `modbatt1 request`, method, authority, path with query, time in decimal, nonce in lower
    /// case hexadecimal and the token's SHA-256 likewise, each followed by a line feed.
    pub fn digest(asked: &Asked<'_>, time_ms: u64, nonce: &[u8; 16]) -> Digest {
        let text = format!(
            "modbatt1 request\n{}\n{}\n{}\n{time_ms}\n{}\n{}\n",
            asked.method,
            asked.authority,
            asked.path,
            hex::encode(nonce),
            hex::encode(token_hash(asked.token)),
        );
        ::lct::hash::sha256(&[text.as_bytes()])
    }

    /// Reads `time.nonce.signature`, the last two in hexadecimal.
    pub fn parse(text: &str) -> Option<Proof> {
        let mut parts = text.splitn(3, '.');
        let time = parts.next()?;
        // A decimal number has one form only.
        if !time.bytes().all(|b| b.is_ascii_digit()) || time.len() > 15 {
            return None;
        }
        let time_ms = time.parse().ok()?;
        let (mut nonce, mut signature) = ([0; 16], [0; 64]);
        hex::decode_to_slice(parts.next()?, &mut nonce).ok()?;
        hex::decode_to_slice(parts.next()?, &mut signature).ok()?;
        Some(Proof { time_ms, nonce, signature: Signature(signature) })
    }

    /// Whether `key` signed it for this request.
    pub fn holds(&self, asked: &Asked<'_>, key: &PublicKey) -> bool {
        key.verify(&Proof::digest(asked, self.time_ms, &self.nonce), &self.signature).is_ok()
    }
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.time_ms, hex::encode(self.nonce), hex::encode(self.signature.0))
    }
}

/// What a bridge keeps of a token.
pub fn token_hash(token: &str) -> Digest {
    ::lct::hash::sha256(&[b"modbatt1 token", token.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::lct::sign::SigningKey;

    #[test]
    fn a_proof_is_of_one_request_only() {
        let key = SigningKey::from_bytes(&[5; 32]).unwrap();
        let asked = Asked { method: "POST", authority: "a:1", path: "/x?y=1", token: "mbt_1" };
        let nonce = [9; 16];
        let signature = key.sign_rfc6979(&Proof::digest(&asked, 77, &nonce));
        let proof = Proof { time_ms: 77, nonce, signature };
        assert_eq!(Proof::parse(&proof.to_string()), Some(proof));
        assert!(proof.holds(&asked, &key.public()));
        for other in [
            Asked { method: "PUT", ..asked },
            Asked { authority: "b:1", ..asked },
            Asked { path: "/x?y=2", ..asked },
            Asked { token: "mbt_2", ..asked },
        ] {
            assert!(!proof.holds(&other, &key.public()), "{other:?}");
        }
        assert!(!Proof { time_ms: 78, ..proof }.holds(&asked, &key.public()));
        assert!(!Proof { nonce: [8; 16], ..proof }.holds(&asked, &key.public()));
        assert!(!proof.holds(&asked, &SigningKey::from_bytes(&[6; 32]).unwrap().public()));
    }

    #[test]
    fn what_is_no_proof() {
        let good = Proof { time_ms: 1, nonce: [1; 16], signature: Signature([2; 64]) }.to_string();
        assert!(Proof::parse(&good).is_some());
        for bad in
            ["", "1", "1.2", "-1.00.00", &good[..good.len() - 2], &format!("{good}00"), &format!("+{good}")]
        {
            assert_eq!(Proof::parse(bad), None, "{bad}");
        }
        let long = format!("99999999999999999999999{}", &good[1..]);
        assert_eq!(Proof::parse(&long), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let login = Login {
            user: "u".into(),
            passphrase: "hidden".into(),
            key: Hex([0; 33]),
            new_passphrase: Some("hidden".into()),
        };
        let session =
            Session { token: "hidden".into(), role: "viewer".into(), expires_at: 1, present_until: 1 };
        assert!(!format!("{login:?}{session:?}").contains("hidden"));
    }
}
