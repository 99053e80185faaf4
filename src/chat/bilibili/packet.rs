//! Bilibili's packets: a header of 16 bytes, big endian, and a body that may be compressed packets. Pure; what comes out
//! is bounded however much a compressed body says that it holds.

use std::io::Read;

const HEADER: usize = 16;
/// Of one frame's packets after decompression. Busy rooms send some 100 KiB at once.
const MAX_BYTES: usize = 8 << 20;
const MAX_PACKETS: usize = 20_000;

pub(super) const HEARTBEAT: u32 = 2;
const POPULARITY: u32 = 3;
const MESSAGE: u32 = 5;
pub(super) const AUTH: u32 = 7;
const AUTH_REPLY: u32 = 8;

const ZLIB: u16 = 2;
const BROTLI: u16 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    HeartbeatReply,
    AuthReply(Vec<u8>),
    Message(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("a packet's length is wrong")]
    Length,
    #[error("a packet holds far more than it should")]
    TooLarge,
    #[error("a packet cannot be decompressed")]
    Compression,
}

pub(super) fn encode(operation: u32, body: &[u8]) -> Vec<u8> {
    let total = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut packet = Vec::with_capacity(HEADER + body.len());
    packet.extend(total.to_be_bytes());
    packet.extend((HEADER as u16).to_be_bytes());
    packet.extend(1_u16.to_be_bytes());
    packet.extend(operation.to_be_bytes());
    packet.extend(1_u32.to_be_bytes());
    packet.extend(body);
    packet
}

/// All packets of a frame, in their order; packets of other kinds are passed over.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Packet>, Broken> {
    let mut packets = Vec::new();
    let mut left = MAX_BYTES;
    read(frame, &mut packets, &mut left, true)?;
    Ok(packets)
}

fn read(mut bytes: &[u8], packets: &mut Vec<Packet>, left: &mut usize, may_unpack: bool) -> Result<(), Broken> {
    while !bytes.is_empty() {
        let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else { return Err(Broken::Length) };
        let long = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (total, header_bytes) = (long(0) as usize, usize::from(short(4)));
        if header_bytes < HEADER || total < header_bytes || total > bytes.len() {
            return Err(Broken::Length);
        }
        let (packet, rest) = bytes.split_at(total);
        bytes = rest;
        let body = &packet[header_bytes..];
        match (long(8), short(6)) {
            // Packets inside of packets inside of packets do not occur, and would be a way to make this slow.
            (MESSAGE, ZLIB | BROTLI) if !may_unpack => return Err(Broken::Compression),
            (MESSAGE, ZLIB) => read(&unpack(flate2::read::ZlibDecoder::new(body), left)?, packets, left, false)?,
            (MESSAGE, BROTLI) => {
                let decoder = brotli_decompressor::Decompressor::new(body, 4096);
                read(&unpack(decoder, left)?, packets, left, false)?;
            }
            (MESSAGE, _) => packets.push(Packet::Message(body.to_vec())),
            (AUTH_REPLY, _) => packets.push(Packet::AuthReply(body.to_vec())),
            // Its body is the popularity, and an echo of what was sent: of other lengths than the header says.
            (POPULARITY, _) => {
                packets.push(Packet::HeartbeatReply);
                return Ok(());
            }
            _ => {}
        }
        if packets.len() > MAX_PACKETS {
            return Err(Broken::TooLarge);
        }
    }
    Ok(())
}

fn unpack(decoder: impl Read, left: &mut usize) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    decoder.take(*left as u64 + 1).read_to_end(&mut bytes).map_err(|_error| Broken::Compression)?;
    *left = left.checked_sub(bytes.len()).ok_or(Broken::TooLarge)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn packed(version: u16, body: &[u8]) -> Vec<u8> {
        let mut packet = encode(MESSAGE, body);
        packet[6..8].copy_from_slice(&version.to_be_bytes());
        packet
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("compressed");
        encoder.finish().expect("compressed")
    }

    #[test]
    fn plain_and_compressed_packets_in_their_order() {
        let inner = [encode(MESSAGE, b"one"), encode(MESSAGE, b"two")].concat();
        let frame = [encode(AUTH_REPLY, b"{}"), packed(ZLIB, &zlib(&inner)), encode(MESSAGE, b"three")].concat();
        let message = |text: &str| Packet::Message(text.into());
        let expected = [Packet::AuthReply(b"{}".to_vec()), message("one"), message("two"), message("three")];
        assert_eq!(decode(&frame).expect("whole"), expected);
    }

    /// Made with another program: `brotli` of two packets, "one" and "two".
    #[test]
    fn brotli() {
        let frame = packed(BROTLI, include_bytes!("fixtures/two.br"));
        assert_eq!(
            decode(&frame).expect("whole"),
            [Packet::Message(b"one".to_vec()), Packet::Message(b"two".to_vec())]
        );
    }

    #[test]
    fn heartbeat_replies_end_with_whatever() {
        let mut frame = encode(POPULARITY, &[0, 0, 0, 1]);
        frame.extend(b"[object Object]");
        assert_eq!(decode(&frame), Ok(vec![Packet::HeartbeatReply]));
    }

    #[test]
    fn bombs_are_refused() {
        let zeros = vec![0; MAX_BYTES + 1];
        assert_eq!(decode(&packed(ZLIB, &zlib(&zeros))), Err(Broken::TooLarge));
        assert_eq!(decode(&packed(BROTLI, include_bytes!("fixtures/bomb.br"))), Err(Broken::TooLarge));
        let nested = packed(ZLIB, &zlib(&packed(ZLIB, &zlib(b""))));
        assert_eq!(decode(&nested), Err(Broken::Compression));
        let many = encode(MESSAGE, b"").repeat(MAX_PACKETS + 1);
        assert_eq!(decode(&packed(ZLIB, &zlib(&many))), Err(Broken::TooLarge));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut short = encode(MESSAGE, b"x");
        short[3] = 15;
        assert_eq!(decode(&short), Err(Broken::Length));
        let mut long = encode(MESSAGE, b"x");
        long[3] = 18;
        assert_eq!(decode(&long), Err(Broken::Length));
        assert_eq!(decode(&[0; 7]), Err(Broken::Length));
        assert_eq!(decode(&[0; 64]), Err(Broken::Length));
        assert_eq!(decode(&[]), Ok(Vec::new()));
        assert_eq!(decode(&packed(ZLIB, b"nonsense")), Err(Broken::Compression));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_bodies_are_read_without_a_panic(
            version in 0_u16..5, operation in 0_u32..10, body in prop::collection::vec(any::<u8>(), 0..100), length in 0_u32..140,
        ) {
            let mut packet = encode(operation, &body);
            packet[6..8].copy_from_slice(&version.to_be_bytes());
            let _ = decode(&packet);
            packet[..4].copy_from_slice(&length.to_be_bytes());
            let _ = decode(&packet);
        }

        #[test]
        fn what_is_encoded_is_decoded(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let inner: Vec<u8> = bodies.iter().flat_map(|body| encode(MESSAGE, body)).collect();
            let expected: Vec<Packet> = bodies.into_iter().map(Packet::Message).collect();
            prop_assert_eq!(decode(&packed(ZLIB, &zlib(&inner))), Ok(expected));
        }
    }
}
