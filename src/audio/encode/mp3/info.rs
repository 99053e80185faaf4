//! The frame before a file's first: how many frames follow and what of them is not sound, by which players show the right
//! duration and cut it off. Pure. ISO 11172-3, 2.4.1; the fields are those of Xing's header and LAME's behind it.

use super::{MPEG_1_HZ, MPEG_2_HZ};

/// Xing's header with its table for seeking, and LAME's.
const FIELDS_BYTES: usize = 120 + 36;

const MPEG_1_KBPS: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG_2_KBPS: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// What is the same in all frames of a file: one channel, a constant bitrate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames {
    pub sample_rate_hz: u32,
    pub kbps: u32,
}

impl Frames {
    pub const fn samples(self) -> u32 {
        if self.sample_rate_hz >= MPEG_1_HZ { 1_152 } else { 576 }
    }

    /// Without the byte that some have more.
    const fn bytes(self) -> usize {
        (self.samples() / 8 * 1_000 * self.kbps / self.sample_rate_hz) as usize
    }

    /// Of the frame whose header begins `bytes`.
    pub fn size(self, bytes: &[u8]) -> usize {
        self.bytes() + usize::from(bytes.get(2).is_some_and(|header| header & 2 != 0))
    }

    const fn side_bytes(self) -> usize {
        if self.sample_rate_hz >= MPEG_1_HZ { 17 } else { 9 }
    }

    const fn bitrates(self) -> &'static [u32; 14] {
        if self.sample_rate_hz >= MPEG_1_HZ { &MPEG_1_KBPS } else { &MPEG_2_KBPS }
    }

    /// None: MPEG has no such bitrate at this rate.
    fn header(self) -> Option<[u8; 4]> {
        let bitrate = self.bitrates().iter().position(|kbps| *kbps == self.kbps)? as u8 + 1;
        let (version, double) = match self.sample_rate_hz {
            MPEG_1_HZ.. => (0xFB, 1),
            MPEG_2_HZ.. => (0xF3, 2),
            _ => (0xE3, 4),
        };
        let rate: u8 = match self.sample_rate_hz * double {
            44_100 => 0,
            48_000 => 1,
            _ => 2,
        };
        // One channel, an original.
        Some([0xFF, version, bitrate << 4 | rate << 2, 0xC4])
    }

    /// Takes the last of whole frames away.
    pub fn drop_last(self, bytes: &mut Vec<u8>) {
        let Some(header) = self.header() else { return };
        for (size, padded) in [(self.bytes(), 0), (self.bytes() + 1, 2)] {
            let expected = [header[0], header[1], header[2] | padded];
            if bytes.len().checked_sub(size).is_some_and(|start| bytes[start..].starts_with(&expected)) {
                bytes.truncate(bytes.len() - size);
                return;
            }
        }
    }
}

/// As large as the others, or as is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info {
    frame: Frames,
    header: [u8; 4],
    kbps: u32,
}

impl Info {
    pub fn new(frames: Frames) -> Option<Self> {
        let roomy = |kbps: &u32| {
            let frame = Frames { kbps: *kbps, ..frames };
            frame.bytes() >= 4 + frame.side_bytes() + FIELDS_BYTES
        };
        let enough = frames.bitrates().iter().copied().filter(|kbps| *kbps >= frames.kbps).find(roomy)?;
        let frame = Frames { kbps: enough, ..frames };
        Some(Self { frame, header: frame.header()?, kbps: frames.kbps })
    }

    pub const fn size(&self) -> usize {
        self.frame.bytes()
    }

    /// Over the place that `file` keeps for it at its beginning. `frames` follow.
    pub fn write(&self, file: &mut [u8], frames: u64, delay: u64, padding: u64) {
        let whole = u32::try_from(file.len()).unwrap_or(u32::MAX);
        let Some((place, music)) = file.split_at_mut_checked(self.size()) else { return };
        let mut fields = self.header.to_vec();
        fields.resize(4 + self.frame.side_bytes(), 0);
        fields.extend(b"Info");
        // Frames, bytes, the table and a quality are told.
        fields.extend(0xFu32.to_be_bytes());
        fields.extend(u32::try_from(frames).unwrap_or(u32::MAX).to_be_bytes());
        fields.extend(whole.to_be_bytes());
        // Where each hundredth of the time begins, in 256ths of the bytes.
        fields.extend((0..100u32).map(|percent| (percent * 256 / 100) as u8));
        fields.extend(0u32.to_be_bytes());
        fields.extend(b"LAME3.100");
        // A constant bitrate; lowpass, peak, gains and flags are not told.
        fields.push(1);
        fields.extend([0; 10]);
        fields.push(u8::try_from(self.kbps).unwrap_or(u8::MAX));
        // 12 bits each.
        let ends = (delay as u32 & 0xFFF) << 12 | (padding as u32 & 0xFFF);
        fields.extend(&ends.to_be_bytes()[1..]);
        // Nor are noise shaping, gain and preset.
        fields.extend([0; 4]);
        fields.extend(whole.to_be_bytes());
        fields.extend(crc(music).to_be_bytes());
        fields.extend(crc(&fields).to_be_bytes());
        place[..fields.len()].copy_from_slice(&fields);
    }
}

/// CRC-16/ARC.
fn crc(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut value = byte as u16;
            let mut bit = 0;
            while bit < 8 {
                value = value >> 1 ^ if value & 1 == 1 { 0xA001 } else { 0 };
                bit += 1;
            }
            table[byte] = value;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc(b"123456789"), 0xBB3D);
    }

    #[test]
    fn every_rate_and_bitrate_has_room_for_it() {
        for sample_rate_hz in super::super::RATES_HZ {
            for (kbps, _) in super::super::ALL_BITRATES {
                let (kbps, _) = super::super::bitrate(sample_rate_hz, kbps * 1_000);
                assert!(Info::new(Frames { sample_rate_hz, kbps }).is_some(), "{sample_rate_hz} Hz, {kbps}");
            }
        }
    }
}
