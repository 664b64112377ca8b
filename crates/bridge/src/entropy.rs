//! Randomness of the operating system, whose failure is an error and not a panic.

use getrandom::SysRng;
use rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoEntropy;

/// A generator for one operation; remembers whether the system failed it.
pub(crate) struct Entropy<R = SysRng> {
    source: R,
    failed: bool,
}

/// Runs `f` with randomness; what it made is dropped when the system failed meanwhile.
pub(crate) fn with<T>(f: impl FnOnce(&mut Entropy) -> T) -> Result<T, NoEntropy> {
    with_source(SysRng, f)
}

fn with_source<R, T>(source: R, f: impl FnOnce(&mut Entropy<R>) -> T) -> Result<T, NoEntropy> {
    let mut entropy = Entropy { source, failed: false };
    let made = f(&mut entropy);
    if entropy.failed { Err(NoEntropy) } else { Ok(made) }
}

impl<R: TryRng> TryRng for Entropy<R> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        if self.source.try_fill_bytes(out).is_err() {
            self.failed = true;
            // Nothing made of this leaves `with`; as a scalar it is valid, so that no one draws again for ever.
            out.fill(0x5A);
        }
        Ok(())
    }
}

impl<R: TryCryptoRng> TryCryptoRng for Entropy<R> {}

#[cfg(test)]
mod tests {
    use super::*;
    use lct::{secret::Secret, sign::SigningKey};

    struct Broken;

    impl TryRng for Broken {
        type Error = NoEntropy;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Err(NoEntropy)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Err(NoEntropy)
        }
        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
            Err(NoEntropy)
        }
    }
    impl TryCryptoRng for Broken {}

    #[test]
    fn a_failing_source_yields_nothing_and_ends() {
        assert_eq!(with_source(Broken, SigningKey::generate).map(|_| ()), Err(NoEntropy));
        assert_eq!(with_source(Broken, Secret::<32>::random).map(|_| ()), Err(NoEntropy));
    }

    #[test]
    fn the_system_gives_different_bytes() {
        let draw = || with(Secret::<32>::random).unwrap();
        assert_ne!(draw(), draw());
    }
}
