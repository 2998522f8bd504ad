//! CRC-64/NVME, the slow and simple way: for small bodies, and to join what is known of parts.

/// The polynomial, bits reflected.
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;
/// The polynomial 1, reflected.
const ONE: u64 = 1 << 63;

pub(crate) fn of(bytes: &[u8]) -> u64 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| times_x(crc ^ u64::from(*byte), 8))
}

/// The checksum of two bodies one after the other, by their checksums and the second's length.
pub(crate) fn joined(first: u64, second: u64, second_bytes: u64) -> u64 {
    // As many zero bytes after the first multiply it by x^(8 * bytes): square and multiply.
    let mut shift = ONE;
    let mut power = times_x(ONE, 8);
    let mut bytes = second_bytes;
    while bytes > 0 {
        if bytes % 2 == 1 {
            shift = product(shift, power);
        }
        power = product(power, power);
        bytes /= 2;
    }
    product(first, shift) ^ second
}

fn times_x(mut value: u64, times: u32) -> u64 {
    for _ in 0..times {
        value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    value
}

fn product(a: u64, mut b: u64) -> u64 {
    let mut sum = 0;
    for bit in (0..64).rev() {
        if a >> bit & 1 == 1 {
            sum ^= b;
        }
        b = times_x(b, 1);
    }
    sum
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// As S3 writes it: big-endian, in Base64. 64 bits are ten digits of six bits and one of four.
pub(crate) fn to_base64(crc: u64) -> String {
    let bits = u128::from(crc) << 2;
    let digits = (0..11).map(|digit| (bits >> (60 - 6 * digit)) & 63);
    let text: String = digits
        .map(|digit| char::from(DIGITS[usize::try_from(digit).unwrap_or(0)]))
        .collect();
    text + "="
}

/// `None` if it is not the Base64 of 64 bits.
pub(crate) fn from_base64(text: &str) -> Option<u64> {
    let text = text.strip_suffix('=').filter(|text| text.len() == 11)?;
    let mut bits: u128 = 0;
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        bits = (bits << 6) | digit as u128;
    }
    u64::try_from(bits >> 2).ok()
}
