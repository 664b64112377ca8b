//! Signing with a key of this process, or with one that lies in a token (`spec/api.md`, A210).

use std::cell::RefCell;

use lct::{
    Digest,
    sign::{PublicKey, Signature, Signer, SigningKey},
};
use rand_core::CryptoRng;

use crate::entropy::{self, Entropy, NoEntropy};

/// A token did not sign: it was taken out, it locked itself, or the key in it is another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token does not sign: {0}")]
pub struct TokenFailure(pub String);

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The system gives no randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The token failed.
    #[error(transparent)]
    Token(#[from] TokenFailure),
}

/// A signing key that never leaves where it lies.
pub trait Token: Send {
    /// Its public key.
    fn public(&self) -> PublicKey;
    /// Signs `digest`; low s, and checked under [`Token::public`].
    ///
    /// # Errors
    /// [`TokenFailure`].
    fn sign(&self, digest: &Digest) -> Result<Signature, TokenFailure>;
}

/// Where a signing key lies.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// In this process.
    Here(&'a SigningKey),
    /// In a token.
    Token(&'a dyn Token),
}

impl Source<'_> {
    /// Runs `f` with a signer; what it made is dropped when the token failed meanwhile.
    ///
    /// # Errors
    /// [`TokenFailure`].
    pub fn with<T>(self, f: impl FnOnce(&Hand<'_>) -> T) -> Result<T, TokenFailure> {
        let hand = Hand { source: self, failed: RefCell::new(None) };
        let made = f(&hand);
        match hand.failed.into_inner() {
            None => Ok(made),
            Some(failure) => Err(failure),
        }
    }

    /// As [`Source::with`], with randomness of the system.
    pub(crate) fn sign<T>(self, f: impl FnOnce(&Hand<'_>, &mut Entropy) -> T) -> Result<T, SignError> {
        Ok(entropy::with(|rng| self.with(|hand| f(hand, rng)))??)
    }
}

/// The signer of one operation; remembers whether its token failed.
pub struct Hand<'a> {
    source: Source<'a>,
    failed: RefCell<Option<TokenFailure>>,
}

impl Signer for Hand<'_> {
    fn public(&self) -> PublicKey {
        match self.source {
            Source::Here(key) => key.public(),
            Source::Token(token) => token.public(),
        }
    }

    fn sign(&self, digest: &Digest, rng: &mut impl CryptoRng) -> Signature {
        let signed = match self.source {
            Source::Here(key) => return key.sign(digest, rng),
            Source::Token(token) => token.sign(digest),
        };
        signed.unwrap_or_else(|failure| {
            // Nothing that holds this leaves `with`.
            *self.failed.borrow_mut() = Some(failure);
            Signature([0; 64])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Signs so often, then fails.
    struct Worn(SigningKey, Cell<u32>);

    impl Token for Worn {
        fn public(&self) -> PublicKey {
            self.0.public()
        }
        fn sign(&self, digest: &Digest) -> Result<Signature, TokenFailure> {
            let left = self.1.get().checked_sub(1).ok_or_else(|| TokenFailure("taken out".into()))?;
            self.1.set(left);
            Ok(self.0.sign_rfc6979(digest))
        }
    }

    #[test]
    fn what_a_failed_token_was_to_sign_is_dropped() {
        let key = entropy::with(SigningKey::generate).unwrap();
        let public = key.public();
        let token = Worn(key, Cell::new(3));
        let twice =
            || Source::Token(&token).sign(|hand, rng| [hand.sign(&[1; 32], rng), hand.sign(&[2; 32], rng)]);
        let [one, two] = twice().unwrap();
        public.verify(&[1; 32], &one).unwrap();
        public.verify(&[2; 32], &two).unwrap();
        // The first signature is made, the second is not: neither comes out.
        assert!(matches!(twice(), Err(SignError::Token(_))));
        assert!(matches!(twice(), Err(SignError::Token(_))));
    }
}
