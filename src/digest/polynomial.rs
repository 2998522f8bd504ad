//! What a CRC calculates with: polynomials over GF(2), modulo the one of CRC-64/NVME.
//!
//! The checksum library joins checksums as well, but takes hundreds of times as long for each part
//! of an object, at the very end, when all else is done.
//!
//! Bits are reflected: the highest one is the coefficient of `x^0`.

/// As the CRC catalogue gives it for CRC-64/NVME, reflected and without `x^64`.
const MODULUS: u64 = 0x9A6C_9329_AC4B_C9B5;
const ONE: u64 = 1 << 63;
/// `x^8`: one byte further.
const BYTE: u64 = ONE >> 8;

/// What a checksum is multiplied by when so many bytes follow.
pub(super) const fn shift(mut bytes: u64) -> u64 {
    let (mut shift, mut power) = (ONE, BYTE);
    while bytes > 0 {
        if bytes & 1 == 1 {
            shift = product(shift, power);
        }
        power = product(power, power);
        bytes >>= 1;
    }
    shift
}

pub(super) const fn product(mut a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    while b != 0 {
        // All ones if the bit is set: random bits would be mispredicted.
        product ^= a & 0_u64.wrapping_sub(b >> 63);
        a = (a >> 1) ^ (MODULUS & 0_u64.wrapping_sub(a & 1));
        b <<= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn checksums_are_joined_as_the_library_joins_them(
            first: u64, next: u64, next_bytes: u64
        ) {
            let joined = product(first, shift(next_bytes)) ^ next;
            let algorithm = crc_fast::CrcAlgorithm::Crc64Nvme;
            prop_assert_eq!(
                joined,
                crc_fast::checksum_combine(algorithm, first, next, next_bytes)
            );
        }
    }

    #[test]
    fn nothing_that_follows_changes_nothing() {
        assert_eq!(product(0x1234, shift(0)), 0x1234);
        assert_eq!(shift(1), BYTE);
    }
}
