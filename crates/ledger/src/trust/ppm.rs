//! Shares of one in parts per million, and one way to multiply and divide (L190).

/// A share from 0 to 1, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ppm(u32);

impl Ppm {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One half: what is said where nothing is known.
    pub const HALF: Self = Self(500_000);
    /// All of it.
    pub const ONE: Self = Self(1_000_000);

    /// `parts` per million; `None` above one.
    #[must_use]
    pub const fn new(parts: u32) -> Option<Self> {
        if parts <= Self::ONE.0 { Some(Self(parts)) } else { None }
    }

    /// `parts` per million, moved to the nearer end when outside 0 to 1.
    #[must_use]
    pub fn clamped(parts: i128) -> Self {
        Self(parts.clamp(0, i128::from(Self::ONE.0)) as u32)
    }

    /// `part / whole`, truncated and at most one; `None` when there is no whole.
    #[must_use]
    pub fn ratio(part: u128, whole: u128) -> Option<Self> {
        if whole == 0 {
            return None;
        }
        if part >= whole {
            return Some(Self::ONE);
        }
        // Sums of the ledger stay below 2^108; what a caller brings beyond that loses digits that a share lacks anyway.
        let surplus = 20_u32.saturating_sub(whole.leading_zeros());
        let (part, whole) = (part >> surplus, (whole >> surplus).max(1));
        Some(Self::clamped((part * u128::from(Self::ONE.0) / whole) as i128))
    }

    /// Parts per million.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The share `part` of this share, truncated.
    #[must_use]
    pub fn of(self, part: Self) -> Self {
        Self((u64::from(self.0) * u64::from(part.0) / u64::from(Self::ONE.0)) as u32)
    }

    /// The signed number of parts, for formulas.
    pub(super) fn signed(self) -> i128 {
        self.0.into()
    }
}

/// Sum of `weight x value` over `whole`, truncated once after all products.
pub(super) fn weighted(weights: &[u32], values: &[Ppm], whole: u32) -> Ppm {
    let products = weights.iter().zip(values).map(|(w, v)| i128::from(*w) * v.signed());
    Ppm::clamped(products.sum::<i128>() / i128::from(whole.max(1)))
}
