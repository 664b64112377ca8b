//! Handshake messages of every kind, RESUME, the proof of a printed code, the channel before a binding, and the curve
//! under them.

use crate::fixture::{SIDE_A, SIDE_B, cid_a, cid_b, rng};
use crate::input::Input;

pub mod bootstrap;
pub mod points;

/// Damages a message where the input says so; returns whether it did.
fn damage(input: &mut Input<'_>, message: &mut Vec<u8>) -> bool {
    let before = message.clone();
    match input.byte() {
        0 => {}
        1 => message.truncate(usize::from(input.byte())),
        2 => message.extend_from_slice(input.slice()),
        3 => *message = input.slice().to_vec(),
        mask => {
            let at = usize::from(input.byte()) % message.len().max(1);
            if let Some(byte) = message.get_mut(at) {
                *byte ^= mask;
            }
        }
    }
    *message != before
}

pub mod handshake {
    use super::*;
    use lct::handshake::{
        COMMITTED, Context, Ephemeral, HALVES, Initiator, Kind, Psk, Request, Responder, Response, SIGNED,
        commit,
    };

    pub fn seeds() -> Vec<Vec<u8>> {
        (0..8)
            .map(|kind| vec![kind, 0, 0, 0, 0])
            .chain([vec![2, 4, 30, 0, 0], vec![0, 0, 4, 60, 0]])
            .collect()
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let (kind, flags) = match input.byte() & 7 {
            0 => (Kind::Dev, 0),
            1 => (Kind::Dev, COMMITTED),
            2 => (Kind::Bind, SIGNED),
            3 => (Kind::Bind, SIGNED | HALVES),
            4 => (Kind::Pair, SIGNED),
            5 => (Kind::Pake, 0),
            6 => (Kind::Dev, SIGNED),
            _ => (Kind::Dev, COMMITTED | SIGNED),
        };
        let signed = flags & SIGNED != 0;
        let context = Context {
            kind,
            flags,
            cid_a: cid_a(),
            cid_b: cid_b(),
            spk_a: Some(SIDE_A.public()),
            spk_b: Some(SIDE_B.public()),
            cert_hash: (kind == Kind::Pair).then_some([1; 32]),
            policy_hash: [2; 32],
            salt: [3; 32],
        };
        // The message as it stands, before anything is computed from it.
        let _m1 = Request::parse(&context, input.0);
        let _m2 = Response::parse(&context, input.0);
        let mut rng = rng();
        let psk = Psk(&[&[4; 32]]);
        let half = (kind == Kind::Pair).then_some([5; lct::exchange::EXCHANGE_LEN]);
        let (one, two) = (Ephemeral::generate(&mut rng), Ephemeral::generate(&mut rng));
        let key = |side: &'static lct::spk::SpkSecret| signed.then(|| side.signing_key());
        let mut touched = false;
        let mut m0 =
            (flags & COMMITTED != 0).then(|| commit(&context, &two).expect("a commitment fits").to_vec());
        if let Some(m0) = &mut m0 {
            touched |= damage(&mut input, m0);
        }
        let started = Initiator::start(&context, one, 1, half.as_ref(), m0.as_deref());
        let Ok((initiator, m1)) = started else { return assert!(touched, "an honest M0") };
        let mut m1 = m1.to_vec();
        touched |= damage(&mut input, &mut m1);
        let answered = Responder::answer(
            &context,
            two,
            1,
            m0.as_deref(),
            &m1,
            half.as_ref(),
            &psk,
            key(&SIDE_B),
            &mut rng,
        );
        let Ok((responder, m2)) = answered else { return assert!(touched, "an honest M1") };
        let mut m2 = m2.to_vec();
        touched |= damage(&mut input, &mut m2);
        let finished = initiator.finish(&context, &m2, &psk, key(&SIDE_A), &mut rng);
        let Ok((m3, near)) = finished else { return assert!(touched, "an honest M2") };
        assert!(!touched, "A takes nothing that was damaged");
        let mut m3 = m3.to_vec();
        touched |= damage(&mut input, &mut m3);
        match responder.finish(&context, &m3) {
            Ok(far) => assert!(!touched && far.th4 == near.th4 && far.master == near.master),
            Err(_) => assert!(touched, "an honest M3"),
        }
    }
}

pub mod resume {
    use super::*;
    use lct::resume::{Session, parse_request, parse_response};
    use lct::schedule::MasterSecret;
    use lct::secret::Secret;

    pub fn seeds() -> Vec<Vec<u8>> {
        vec![vec![0, 0, 0], vec![4, 5, 0, 0], vec![0, 4, 20, 0], vec![0, 0, 4, 6]]
    }

    pub fn run(data: &[u8]) {
        let mut input = Input(data);
        let _m1 = parse_request(data);
        let _m2 = parse_response(data);
        let master = MasterSecret(Secret::new([6; 32]));
        let session = Session { master: &master, epoch: input.byte().into(), channel: [1; 8] };
        let mut touched = false;
        // Lengths are types here: a message of another length is refused where it arrives.
        fn sent<const N: usize>(
            message: [u8; N],
            input: &mut Input<'_>,
            touched: &mut bool,
        ) -> Option<[u8; N]> {
            let mut bytes = message.to_vec();
            *touched |= damage(input, &mut bytes);
            bytes.try_into().ok()
        }
        let honest = session.request(1, &[2; 16]);
        let Some(m1) = sent(honest, &mut input, &mut touched) else { return };
        let Ok(m2) = session.respond(&m1, 1, &[3; 16]) else { return assert!(touched) };
        let Some(m2) = sent(m2, &mut input, &mut touched) else { return };
        let Ok((m3, near)) = session.confirm(&honest, &m2) else { return assert!(touched) };
        assert!(!touched, "A takes nothing that was damaged");
        let Some(m3) = sent(m3, &mut input, &mut touched) else { return };
        match session.finish(&m1, &m2, &m3) {
            Ok(far) => assert!(!touched && far == near),
            Err(_) => assert!(touched),
        }
    }
}

pub mod pake {
    use super::*;
    use lct::pake::{Code, Prover, ProverSecret, Record, STRETCHED_LEN, Verifier};
    use lct::secret::Secret;

    pub fn seeds() -> Vec<Vec<u8>> {
        let code = Code::generate(&mut rng());
        vec![
            vec![0, 0, 0, 0],
            vec![4, 9, 0, 0],
            vec![0, 4, 70, 0],
            [vec![9], code.printed().as_bytes().to_vec()].concat(),
        ]
    }

    pub fn run(data: &[u8]) {
        if let Ok(code) = core::str::from_utf8(data.get(1..).unwrap_or(&[])).map(Code::parse)
            && let Ok(code) = code
        {
            assert_eq!(Code::parse(&code.printed()), Ok(code), "a code that reads prints as itself");
        }
        let _record = Record::from_slice(data);
        let mut input = Input(data);
        let mut rng = rng();
        let secret = ProverSecret::from_stretched(&Secret::new([7; STRETCHED_LEN])).expect("a fixed code");
        let prover = Prover::start(&secret, &cid_a(), &cid_b(), &mut rng);
        let mut touched = false;
        let mut share = prover.share().to_vec();
        touched |= damage(&mut input, &mut share);
        let Ok(share) = share.as_slice().try_into() else { return };
        let Ok((verifier, answer)) = Verifier::answer(&secret.record(), &cid_a(), &cid_b(), &share, &mut rng)
        else {
            return assert!(touched, "an honest share");
        };
        let mut answer = answer.to_vec();
        touched |= damage(&mut input, &mut answer);
        let Ok(answer) = answer.as_slice().try_into() else { return };
        let Ok((confirm, near)) = prover.finish(&answer) else { return assert!(touched, "an honest answer") };
        assert!(!touched, "the prover takes nothing that was damaged");
        let mut confirm = confirm.to_vec();
        touched |= damage(&mut input, &mut confirm);
        let Ok(confirm) = confirm.as_slice().try_into() else { return };
        match verifier.finish(&confirm) {
            Ok(far) => assert!(!touched && far == near),
            Err(_) => assert!(touched, "an honest confirmation"),
        }
    }
}
