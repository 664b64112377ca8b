//! Arithmetic of energy accounts (L210): amounts in mWh, ratios in parts per million, every division truncates, nothing
//! wraps. What an account cannot do is an answer, never a smaller amount.

use core::fmt;

/// One, in parts per million.
pub const PPM: u32 = 1_000_000;
/// Quality up to which a sliding payment is nothing, ppm.
pub const PAYMENT_FROM: u32 = 300_000;
/// Quality from which a sliding payment is whole, ppm.
pub const PAYMENT_WHOLE: u32 = 700_000;

/// Why an operation is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The account holds less than the operation takes.
    Balance {
        /// What is there, mWh.
        has: u64,
        /// What it takes, fee included, mWh.
        needs: u128,
    },
    /// The result is above 2^64 - 1 mWh.
    TooLarge,
}

impl Refused {
    /// A word for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Balance { .. } => "insufficient_balance",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance { has, needs } => {
                write!(f, "the account holds {has} mWh and the operation takes {needs} mWh")
            }
            Self::TooLarge => f.write_str("the result is larger than 2^64 - 1 mWh"),
        }
    }
}

impl core::error::Error for Refused {}

fn narrow(value: u128) -> Result<u64, Refused> {
    u64::try_from(value).map_err(|_| Refused::TooLarge)
}

/// `value * ppm / 1 000 000`, truncated.
fn part(value: u64, ppm: u32) -> u128 {
    u128::from(value) * u128::from(ppm) / u128::from(PPM)
}

/// `value * ppm / 1 000 000`, truncated, of at most the whole: a `ppm` above one million counts as one million.
#[must_use]
pub fn share(value: u64, ppm: u32) -> u64 {
    u64::try_from(part(value, ppm.min(PPM))).unwrap_or(value)
}

/// A transfer of `amount` between two accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Balance of who gives.
    pub sender: u64,
    /// Balance of who takes.
    pub receiver: u64,
    /// What is sent; the fee comes on top.
    pub amount: u64,
    /// Fee as a share of `amount`; owed also for what comes back.
    pub fee_ppm: u32,
    /// Most that the receiver may hold. What does not fit returns to the sender.
    pub cap: Option<u64>,
}

/// What a transfer did: `sender + receiver + fee` is what both held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// Balance of who gave.
    pub sender: u64,
    /// Balance of who took.
    pub receiver: u64,
    /// What left both.
    pub fee: u64,
    /// What reached the receiver.
    pub credited: u64,
    /// What found no room and stayed with the sender.
    pub returned: u64,
}

impl Transfer {
    /// Moves the energy.
    ///
    /// # Errors
    /// [`Refused::Balance`] when the sender does not hold amount and fee, [`Refused::TooLarge`].
    pub fn run(&self) -> Result<Transferred, Refused> {
        let fee = part(self.amount, self.fee_ppm);
        let needs = u128::from(self.amount) + fee;
        let Ok(rest) = narrow(needs).map(|n| self.sender.checked_sub(n)) else {
            return Err(Refused::Balance { has: self.sender, needs });
        };
        let rest = rest.ok_or(Refused::Balance { has: self.sender, needs })?;
        let room = self.cap.map_or(u64::MAX, |cap| cap.saturating_sub(self.receiver));
        let credited = self.amount.min(room);
        let returned = self.amount - credited;
        Ok(Transferred {
            sender: rest + returned,
            receiver: self.receiver.checked_add(credited).ok_or(Refused::TooLarge)?,
            fee: narrow(fee)?,
            credited,
            returned,
        })
    }
}

/// An account of which a part may be locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Free to use.
    pub available: u64,
    /// Set aside until it is committed or rolled back.
    pub locked: u64,
}

impl Account {
    /// Sets `amount` aside.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn lock(self, amount: u64) -> Result<Self, Refused> {
        let (available, locked) = moved(self.available, self.locked, amount)?;
        Ok(Self { available, locked })
    }

    /// `amount` of what is locked leaves the account.
    ///
    /// # Errors
    /// [`Refused::Balance`].
    pub fn commit(self, amount: u64) -> Result<Self, Refused> {
        let (locked, _) = moved(self.locked, 0, amount)?;
        Ok(Self { locked, ..self })
    }

    /// `amount` of what is locked is free again.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn roll_back(self, amount: u64) -> Result<Self, Refused> {
        let (locked, available) = moved(self.locked, self.available, amount)?;
        Ok(Self { available, locked })
    }
}

/// `amount` from one balance to another.
fn moved(from: u64, to: u64, amount: u64) -> Result<(u64, u64), Refused> {
    let rest = from.checked_sub(amount).ok_or(Refused::Balance { has: from, needs: amount.into() })?;
    Ok((rest, to.checked_add(amount).ok_or(Refused::TooLarge)?))
}

/// What a balance is after one recharge of `initial * rate`, which lifts it to `initial * multiplier` at most and never
/// lowers it. Rate and multiplier in ppm.
///
/// # Errors
/// [`Refused::TooLarge`].
pub fn recharge(balance: u64, initial: u64, rate_ppm: u32, multiplier_ppm: u32) -> Result<u64, Refused> {
    let lifted = (u128::from(balance) + part(initial, rate_ppm)).min(part(initial, multiplier_ppm));
    narrow(lifted.max(balance.into()))
}

/// Share of charged energy, `atp / (atp + adp)` in ppm; one half of nothing.
#[must_use]
pub fn ratio(atp: u64, adp: u64) -> u32 {
    let (whole, part) = (u128::from(atp) + u128::from(adp), u128::from(atp) * u128::from(PPM));
    part.checked_div(whole).map_or(PPM / 2, |ppm| u32::try_from(ppm).unwrap_or(PPM))
}

/// Energy that makes two accounts equally full when the first gives it to the second, truncated; nothing when the first is
/// not the fuller one. Each is (charged, capacity).
#[must_use]
pub fn leveling((atp, capacity): (u64, u64), (other_atp, other_capacity): (u64, u64)) -> u64 {
    let ahead = u128::from(atp) * u128::from(other_capacity);
    let behind = u128::from(other_atp) * u128::from(capacity);
    let both = u128::from(capacity) + u128::from(other_capacity);
    // At most `atp`, because the other capacity is at most both.
    let given = ahead.saturating_sub(behind).checked_div(both).unwrap_or(0);
    u64::try_from(given).unwrap_or(atp)
}

/// `discharged / charged` in ppm; 0 when nothing was charged.
#[must_use]
pub fn efficiency(charged: u64, discharged: u64) -> u64 {
    let ppm = (u128::from(discharged) * u128::from(PPM)).checked_div(charged.into()).unwrap_or(0);
    u64::try_from(ppm).unwrap_or(u64::MAX)
}

/// What `mwh` cost at `price` millionths per kWh, in millionths; `None` above 2^64 - 1.
#[must_use]
pub fn worth(mwh: u64, price: u64) -> Option<u64> {
    u64::try_from(u128::from(mwh) * u128::from(price) / 1_000_000).ok()
}

/// Share of a payment that is due for a quality: nothing up to [`PAYMENT_FROM`], all from [`PAYMENT_WHOLE`], a straight
/// line between; ppm.
#[must_use]
pub fn payment_share(quality_ppm: u32) -> u32 {
    let above = quality_ppm.clamp(PAYMENT_FROM, PAYMENT_WHOLE) - PAYMENT_FROM;
    let span = PAYMENT_WHOLE - PAYMENT_FROM;
    u32::try_from(u64::from(above) * u64::from(PPM) / u64::from(span)).unwrap_or(PPM)
}

#[cfg(test)]
mod tests {
    //! Rule L210.
    use super::*;

    const fn transfer(sender: u64, receiver: u64, amount: u64, fee_ppm: u32, cap: Option<u64>) -> Transfer {
        Transfer { sender, receiver, amount, fee_ppm, cap }
    }

    /// The cases of the web4 standard's table of transfers, with 1 ATP = 1000 mWh.
    #[test]
    fn transfers() {
        type Row = (Transfer, (u64, u64, u64, u64, u64));
        let rows: [Row; 8] = [
            // The fee is charged on top.
            (transfer(100_000, 50_000, 20_000, 50_000, None), (79_000, 70_000, 1_000, 20_000, 0)),
            (transfer(100_000, 50_000, 20_000, 0, None), (80_000, 70_000, 0, 20_000, 0)),
            // What exceeds the cap returns, its fee does not.
            (
                transfer(200_000, 490_000, 30_000, 50_000, Some(500_000)),
                (188_500, 500_000, 1_500, 10_000, 20_000),
            ),
            // A full receiver still costs the fee, and so does one above its cap.
            (transfer(100_000, 500_000, 20_000, 50_000, Some(500_000)), (99_000, 500_000, 1_000, 0, 20_000)),
            (transfer(100_000, 600_000, 20_000, 50_000, Some(500_000)), (99_000, 600_000, 1_000, 0, 20_000)),
            // The fee truncates: 5 % of 19 mWh is nothing, of 20 it is one.
            (transfer(19, 0, 19, 50_000, None), (0, 19, 0, 19, 0)),
            (transfer(21, 0, 20, 50_000, None), (0, 20, 1, 20, 0)),
            (
                transfer(u64::MAX, 0, u64::MAX / 2, PPM, None),
                (1, u64::MAX / 2, u64::MAX / 2, u64::MAX / 2, 0),
            ),
        ];
        for (given, (sender, receiver, fee, credited, returned)) in rows {
            let done = given.run().unwrap();
            assert_eq!(done, Transferred { sender, receiver, fee, credited, returned }, "{given:?}");
        }
    }

    #[test]
    fn a_round_of_transfers_conserves() {
        // 300 in three accounts, three transfers of 20 at 5 %: 297 and 3 of fees.
        let mut held = [100_000, 100_000, 100_000];
        let mut fees = 0;
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let done = transfer(held[from], held[to], 20_000, 50_000, None).run().unwrap();
            (held[from], held[to]) = (done.sender, done.receiver);
            fees += done.fee;
        }
        assert_eq!((held.iter().sum::<u64>(), fees), (297_000, 3_000));
    }

    #[test]
    fn a_transfer_without_cover_is_refused() {
        let short = transfer(20_000, 0, 20_000, 50_000, None);
        assert_eq!(short.run(), Err(Refused::Balance { has: 20_000, needs: 21_000 }));
        let enough = transfer(21_000, 0, 20_000, 50_000, None);
        assert_eq!(enough.run().map(|t| t.sender), Ok(0));
        let beyond = transfer(u64::MAX, 0, u64::MAX, 1, None);
        let needs = u128::from(u64::MAX) + u128::from(u64::MAX) / 1_000_000;
        assert_eq!(beyond.run(), Err(Refused::Balance { has: u64::MAX, needs }));
        assert_eq!(transfer(1, u64::MAX, 1, 0, None).run(), Err(Refused::TooLarge));
    }

    #[test]
    fn locks() {
        let account = Account { available: 100, locked: 0 };
        let locked = account.lock(30).unwrap();
        assert_eq!(locked, Account { available: 70, locked: 30 });
        assert_eq!(locked.commit(30), Ok(Account { available: 70, locked: 0 }));
        assert_eq!(locked.commit(10), Ok(Account { available: 70, locked: 20 }));
        assert_eq!(locked.roll_back(30), Ok(account));
        assert_eq!(locked.lock(71), Err(Refused::Balance { has: 70, needs: 71 }));
        assert_eq!(locked.commit(31), Err(Refused::Balance { has: 30, needs: 31 }));
        assert_eq!(locked.roll_back(31), Err(Refused::Balance { has: 30, needs: 31 }));
        let full = Account { available: u64::MAX, locked: 1 };
        assert_eq!(full.roll_back(1), Err(Refused::TooLarge));
        assert_eq!(Account { available: 1, locked: u64::MAX }.lock(1), Err(Refused::TooLarge));
        assert_eq!(Account { available: 1, locked: u64::MAX }.commit(1).map(|a| a.locked), Ok(u64::MAX - 1));
    }

    #[test]
    fn recharges() {
        let rows = [
            ((40_000, 100_000, 100_000, 3_000_000), 50_000),
            ((295_000, 100_000, 100_000, 3_000_000), 300_000),
            ((300_000, 100_000, 100_000, 3_000_000), 300_000),
            // What is above the cap already stays: a recharge takes nothing.
            ((310_000, 100_000, 100_000, 3_000_000), 310_000),
            ((0, 9, 100_000, 3_000_000), 0),
        ];
        for ((balance, initial, rate, multiplier), expected) in rows {
            assert_eq!(recharge(balance, initial, rate, multiplier), Ok(expected), "{balance}");
        }
        assert_eq!(recharge(u64::MAX, u64::MAX, PPM, u32::MAX), Err(Refused::TooLarge));
    }

    #[test]
    fn ratios_and_payments() {
        for ((atp, adp), ppm) in [
            ((80, 20), 800_000),
            ((0, 0), 500_000),
            ((0, 1), 0),
            ((1, 2), 333_333),
            ((u64::MAX, 0), PPM),
            ((u64::MAX, u64::MAX), 500_000),
        ] {
            assert_eq!(ratio(atp, adp), ppm, "{atp} {adp}");
        }
        for ((a, b), mwh) in [
            (((80, 100), (20, 100)), 30),
            (((20, 100), (80, 100)), 0),
            (((50, 100), (0, 300)), 37),
            (((0, 0), (0, 0)), 0),
            (((u64::MAX, u64::MAX), (0, u64::MAX)), u64::MAX / 2),
            (((u64::MAX, 1), (0, u64::MAX)), u64::MAX - 1),
        ] {
            assert_eq!(leveling(a, b), mwh, "{a:?} {b:?}");
        }
        let rows = [((100, 95), 950_000), ((0, 5), 0), ((1, u64::MAX), u64::MAX), ((3, 1), 333_333)];
        for ((charged, discharged), ppm) in rows {
            assert_eq!(efficiency(charged, discharged), ppm);
        }
        for ((mwh, price), amount) in [
            ((1_000_000, 300_000), Some(300_000)),
            ((3, 333_333), Some(0)),
            ((4, 333_333), Some(1)),
            ((u64::MAX, 1_000_000), Some(u64::MAX)),
            ((u64::MAX, 1_000_001), None),
        ] {
            assert_eq!(worth(mwh, price), amount, "{mwh} {price}");
        }
        for (quality, ppm) in [
            (0, 0),
            (300_000, 0),
            (300_001, 2),
            (500_000, 500_000),
            (699_999, 999_997),
            (700_000, PPM),
            (u32::MAX, PPM),
        ] {
            assert_eq!(payment_share(quality), ppm, "{quality}");
        }
        assert_eq!((share(7, 500_000), share(u64::MAX, u32::MAX)), (3, u64::MAX));
    }
}
