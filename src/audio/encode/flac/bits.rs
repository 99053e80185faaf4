//! Bits, most significant first, and the two checksums of a frame (RFC 9639, 9.1.8 and 9.3).

/// Bytes that are written bit by bit.
#[derive(Default)]
pub struct Bits {
    bytes: Vec<u8>,
    /// The last `held_bits` of it are not in `bytes` yet: always fewer than 32.
    held: u64,
    held_bits: u32,
}

impl Bits {
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.held, self.held_bits) = (0, 0);
    }

    /// The lowest `bits` of `value`, of which there are 32 at most; the others must be zero.
    #[inline]
    pub fn write(&mut self, value: u32, bits: u32) {
        debug_assert!(bits <= 32 && u64::from(value) >> bits == 0);
        self.held = self.held << bits | u64::from(value);
        self.held_bits += bits;
        if self.held_bits >= 32 {
            self.held_bits -= 32;
            self.bytes.extend_from_slice(&((self.held >> self.held_bits) as u32).to_be_bytes());
        }
    }

    /// Two's complement.
    #[inline]
    pub fn write_signed(&mut self, value: i32, bits: u32) {
        self.write(value as u32 & (u32::MAX >> (32 - bits)), bits);
    }

    /// As many zeros, and a one.
    pub fn write_unary(&mut self, mut zeros: u32) {
        while zeros >= 32 {
            self.write(0, 32);
            zeros -= 32;
        }
        self.write(1, zeros + 1);
    }

    /// Rice codes with `parameter` low bits (9.2.7).
    pub fn write_rice(&mut self, residuals: &[i32], parameter: u32) {
        let (one, low) = (1 << parameter, (1 << parameter) - 1);
        for residual in residuals {
            let folded = folded(*residual);
            let (quotient, rest) = (folded >> parameter, one | folded & low);
            if quotient + parameter < 32 {
                self.write(rest, quotient + parameter + 1);
            } else {
                self.write_unary(quotient);
                self.write(rest & low, parameter);
            }
        }
    }

    /// Zeros up to the next byte, so that all of it is in bytes.
    pub fn align(&mut self) -> &mut Vec<u8> {
        self.write(0, self.held_bits.wrapping_neg() % 8);
        let whole = self.held_bits / 8;
        self.bytes.extend_from_slice(&(self.held as u32).to_be_bytes()[4 - whole as usize..]);
        self.held_bits = 0;
        &mut self.bytes
    }
}

/// Small numbers of either sign become small numbers: 0, -1, 1, -2, 2 and so on.
#[inline]
pub const fn folded(residual: i32) -> u32 {
    (residual << 1 ^ residual >> 31) as u32
}

/// Of a frame's header: x⁸ + x² + x + 1.
pub fn crc8(bytes: &[u8]) -> u8 {
    const TABLE: [u8; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u8;
            let mut bit = 0;
            while bit < 8 {
                value = value << 1 ^ if value & 0x80 == 0 { 0 } else { 0x07 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| TABLE[usize::from(crc ^ byte)])
}

/// `TABLES[n][byte]`: what a byte does to the checksum when n more bytes follow it.
const TABLES: [[u16; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut at = 0;
    while at < 256 {
        let mut value = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            value = value << 1 ^ if value & 0x8000 == 0 { 0 } else { 0x8005 };
            bit += 1;
        }
        tables[0][at] = value;
        at += 1;
    }
    let mut following = 1;
    while following < 8 {
        let mut at = 0;
        while at < 256 {
            let before = tables[following - 1][at];
            tables[following][at] = before << 8 ^ tables[0][(before >> 8) as usize];
            at += 1;
        }
        following += 1;
    }
    tables
};

/// Of a frame: x¹⁶ + x¹⁵ + x² + 1, eight bytes at once.
pub fn crc16(bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(0u16, |crc, [a, b, c, d, e, f, g, h]| {
        let [high, low] = crc.to_be_bytes();
        let at = |following: usize, byte: u8| TABLES[following][usize::from(byte)];
        at(7, a ^ high) ^ at(6, b ^ low) ^ at(5, *c) ^ at(4, *d) ^ at(3, *e) ^ at(2, *f) ^ at(1, *g) ^ at(0, *h)
    });
    rest.iter().fold(crc, |crc, byte| crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Bits)) -> String {
        let mut bits = Bits::default();
        write(&mut bits);
        bits.align().iter().map(|byte| format!("{byte:08b}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn bits_follow_each_other_and_are_filled_up_to_a_byte() {
        assert_eq!(written(|_| ()), "");
        assert_eq!(written(|bits| bits.write(0b101, 3)), "10100000");
        assert_eq!(written(|bits| bits.write_signed(-2, 5)), "11110000");
        let long = written(|bits| {
            bits.write(1, 1);
            bits.write(u32::MAX, 32);
            bits.write(0, 7);
            bits.write(0x00AB_CDEF, 24);
        });
        assert_eq!(long, "11111111 11111111 11111111 11111111 10000000 10101011 11001101 11101111");
        for zeros in [0, 7, 31, 32, 70] {
            let unary = written(|bits| bits.write_unary(zeros)).replace(' ', "");
            assert_eq!(unary.find('1'), Some(zeros as usize));
        }
    }

    #[test]
    fn rice_codes_have_a_unary_part_and_low_bits() {
        assert_eq!(written(|bits| bits.write_rice(&[0, -1, 1, -2], 0)), "10100100 01000000");
        assert_eq!(written(|bits| bits.write_rice(&[0, 2, -3], 2)), "10001000 10100000");
        // As long as a residual can be: more bits than are written at once.
        let long = written(|bits| bits.write_rice(&[-(1 << 19)], 14)).replace(' ', "");
        assert_eq!((long.find('1'), &long[64..78]), (Some(63), "11111111111111"));
    }

    #[test]
    fn checksums_are_those_of_their_catalogue() {
        // CRC-8/SMBUS and CRC-16/UMTS: the check values of "123456789".
        assert_eq!(crc8(b"123456789"), 0xF4);
        assert_eq!(crc16(b"123456789"), 0xFEE8);
        let bytes: Vec<u8> = (0..100).map(|at| (at * 37) as u8).collect();
        for size in 0..bytes.len() {
            let bitwise = bytes[..size].iter().fold(0u16, |crc, byte| {
                (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| crc << 1 ^ if crc >> 15 == 1 { 0x8005 } else { 0 })
            });
            assert_eq!(crc16(&bytes[..size]), bitwise, "{size}");
        }
    }
}
