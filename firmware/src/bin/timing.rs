//! Counts instructions of operations on secrets for several secrets, and prints for each operation how far they differ.
//!
//! The counts are those of `bench`; SysTick resolves 6 instructions, so a difference of one tick is none.
#![no_std]
#![no_main]

use core::hint::black_box;
use cortex_m::peripheral::{Peripherals, SYST, syst::SystClkSource};
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use firmware::done;
use lct::{
    aead::Aead,
    curve::device::AgreementKey,
    schedule::derive,
    secret::{Secret, equal},
    sign::SigningKey,
};

/// Bytes that secrets are made of: few and many bits, at either end.
const FILLS: [u8; 6] = [0x01, 0x0F, 0x55, 0x80, 0xA7, 0xFE];

#[inline(never)]
fn ticks(operation: &mut dyn FnMut()) -> u32 {
    let start = SYST::get_current();
    operation();
    // SysTick counts down, in 24 bits.
    start.wrapping_sub(SYST::get_current()) & 0x00FF_FFFF
}

/// Prints the least and the most ticks of an operation over secrets.
fn told(name: &str, counts: impl Iterator<Item = u32>) {
    let (least, most) = counts.fold((u32::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
    hprintln!("{{\"operation\":\"{}\",\"ticks_least\":{},\"ticks_most\":{}}}", name, least, most);
}

/// Both comparisons of 16 bytes: other at the first byte, in the middle, at the last, and equal.
fn comparisons(name: &str, compare: impl Fn(&[u8], &[u8]) -> bool) {
    let one = [0xC3; 16];
    told(
        name,
        [Some(0), Some(7), Some(15), None].into_iter().map(|at| {
            let mut other = one;
            if let Some(byte) = at.and_then(|at: usize| other.get_mut(at)) {
                *byte ^= 1;
            }
            ticks(&mut || {
                black_box(compare(black_box(&one), black_box(&other)));
            })
        }),
    );
}

#[entry]
fn main() -> ! {
    let mut systick = Peripherals::take().expect("nobody took them before").SYST;
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(0x00FF_FFFF);
    systick.clear_current();
    systick.enable_counter();

    // The control: a comparison that ends with the first difference must be found.
    comparisons("control", |a, b| a.iter().zip(b).all(|(a, b)| black_box(a) == b));
    comparisons("equal", equal);
    told(
        "tag that is wrong",
        [0, 7, 15].into_iter().map(|at| {
            let aead = Aead::new(&Secret::new([7; 32]));
            let mut text = [0xA5; 36];
            let mut tag = [0; 16];
            aead.seal(&[9; 12], &[1; 12], &mut text, &mut tag).expect("36 bytes are not too many");
            tag[at] ^= 0x10;
            ticks(&mut || assert!(aead.attempt(&[9; 12], &[1; 12], black_box(&mut text), &tag).is_err()))
        }),
    );
    told(
        "seal",
        FILLS.into_iter().map(|fill| {
            let aead = Aead::new(&Secret::new([fill; 32]));
            let (mut text, mut tag) = ([fill; 36], [0; 16]);
            ticks(&mut || {
                let sealed = aead.seal(&[9; 12], &[1; 12], black_box(&mut text), black_box(&mut tag));
                sealed.expect("36 bytes are not too many");
            })
        }),
    );
    told(
        "expand",
        FILLS.into_iter().map(|fill| {
            let key = Secret::new([fill; 32]);
            ticks(&mut || {
                black_box(Aead::new(black_box(&key)));
            })
        }),
    );
    told(
        "derive",
        FILLS.into_iter().map(|fill| {
            let key = Secret::<32>::new([fill; 32]);
            ticks(&mut || assert!(derive::<32>(black_box(&key), "key", &[]).is_ok()))
        }),
    );
    told(
        "agree",
        FILLS.into_iter().map(|fill| {
            let key = AgreementKey::from_bytes(&[fill; 32]).expect("these scalars are good");
            let peer = AgreementKey::from_bytes(&[0x22; 32]).expect("a constant scalar is good").public();
            ticks(&mut || assert!(key.agree(black_box(&peer)).is_some()))
        }),
    );
    told(
        "sign",
        FILLS.into_iter().map(|fill| {
            let key = SigningKey::from_bytes(&[fill; 32]).expect("these scalars are good");
            ticks(&mut || {
                black_box(key.sign_rfc6979(black_box(&[5; 32])));
            })
        }),
    );
    done()
}
