//! The two implementations of P-256 on the same bytes: what one refuses the other refuses (`spec/channel.md`, H140).

use crate::fixture::rng;
use crate::input::Input;
use lct::curve::{device, host};

pub fn seeds() -> Vec<Vec<u8>> {
    let key = device::SigningKey::generate(&mut rng());
    let honest = [&[0][..], &key.public(), &[5; 32], &key.sign_rfc6979(&[5; 32]), &[7; 32]].concat();
    let mut odd = honest.clone();
    odd[1] ^= 1;
    vec![honest, odd, [&[1, 2][..], &[0xFF; 160]].concat(), vec![0; 200]]
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let mut point: [u8; 33] = input.array();
    if choice & 1 != 0 {
        // Half of all x-coordinates are of the curve once the first byte says which root.
        point[0] = 2 | point[0] & 1;
    }
    let (digest, signature, scalar) = (input.array(), input.array(), input.array());
    assert_eq!(device::is_point(&point), host::is_point(&point));
    let taken = on_device(&point, &digest, &signature);
    assert_eq!(taken, on_host(&point, &digest, &signature));
    let signers = (device::SigningKey::from_bytes(&scalar), host::SigningKey::from_bytes(&scalar));
    let parties = (device::AgreementKey::from_bytes(&scalar), host::AgreementKey::from_bytes(&scalar));
    let ((Some(portable), Some(native)), (Some(a), Some(b))) = (&signers, &parties) else {
        return assert!(
            signers.0.is_none() && signers.1.is_none() && parties.0.is_none() && parties.1.is_none()
        );
    };
    assert_eq!((portable.public(), a.public()), (native.public(), b.public()));
    assert_eq!(a.agree(&point), b.agree(&point));
    let made = native.sign(&digest, &mut rng());
    assert!(on_device(&portable.public(), &digest, &made), "signed by the host");
    let signed = portable.sign_rfc6979(&digest);
    assert!(on_host(&native.public(), &digest, &signed), "signed as on a device");
}

fn on_device(point: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    device::VerifyingKey::parse(point).is_some_and(|key| key.verify(digest, signature))
}

fn on_host(point: &[u8; 33], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    host::VerifyingKey::parse(point).is_some_and(|key| key.verify(digest, signature))
}
