//! Everything but plain WAV: symphonia's demuxers and decoders, and libopus. On the caller's thread.

use std::{
    io::{self, Cursor, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
};

use symphonia::core::{
    codecs::{
        CodecParameters,
        audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known as codec},
    },
    errors::Error as SymphoniaError,
    formats::{FormatOptions, FormatReader, Track, TrackType, probe::Hint},
    io::{MediaSource, MediaSourceStream},
    meta::MetadataOptions,
    packet::Packet,
};

use super::{
    Clip, Deadline, DecodeError, Limits,
    opus::{self, Opus},
    sniff,
};
use crate::audio::resample::peak;

/// One packet in so many may be undecodable: a file cut from a longer one starts with such packets.
const PACKETS_FOR_A_BAD_ONE: usize = 10;

/// Bad packets that are always borne: a short clip's first ones.
const BEARABLE: usize = 3;

pub(super) fn decode(bytes: &[u8], limits: &Limits, deadline: Deadline) -> Result<Clip, DecodeError> {
    let container = sniff::container(bytes);
    // Decoders of such formats are large; a bug in one must cost one clip, not the program.
    let decoded = catch_unwind(AssertUnwindSafe(|| Decoding::new(bytes, limits, deadline, container)?.run()));
    match decoded {
        Ok(Err(_)) | Err(_) if deadline.passed() => Err(deadline.error()),
        Ok(result) => result,
        Err(_) => Err(DecodeError::Broken { container, reason: "its decoder gave up".into() }),
    }
}

/// The bytes, until the deadline: a demuxer that goes round in circles reads something each time.
struct Source<'a> {
    bytes: Cursor<&'a [u8]>,
    seekable: bool,
    deadline: Deadline,
}

impl Source<'_> {
    fn in_time(&self) -> io::Result<()> {
        if self.deadline.passed() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time()?;
        self.bytes.read(buffer)
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.in_time()?;
        self.bytes.seek(to)
    }
}

impl MediaSource for Source<'_> {
    fn is_seekable(&self) -> bool {
        self.seekable
    }

    fn byte_len(&self) -> Option<u64> {
        // An element that is larger than all there is would be refused.
        self.seekable.then_some(self.bytes.get_ref().len() as u64)
    }
}

enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<Opus>),
}

struct Decoding<'a> {
    container: &'static str,
    limits: &'a Limits,
    deadline: Deadline,
    format: Box<dyn FormatReader + 'a>,
    track: u32,
    decoder: Decoder,
    interleaved: Vec<f32>,
    samples: Vec<f32>,
    sample_rate_hz: Option<u32>,
    channels: usize,
    packets: usize,
    bad: usize,
    /// Why the last bad packet was bad.
    reason: String,
}

impl<'a> Decoding<'a> {
    fn new(
        bytes: &'a [u8],
        limits: &'a Limits,
        deadline: Deadline,
        container: &'static str,
    ) -> Result<Self, DecodeError> {
        let mut format = probe(bytes, true, deadline);
        if format.is_err() && container == "WebM" {
            // One that was cut names places beyond its end. From front to back it can be read as a live one is.
            format = probe(bytes, false, deadline);
        }
        let format = format.map_err(|error| match error {
            SymphoniaError::DecodeError(reason) => broken(container, reason),
            _ if sniff::is_known(container) => broken(container, "its beginning cannot be understood"),
            _ => DecodeError::Unknown { found: sniff::name(bytes) },
        })?;
        let (track, decoder) = open(&*format, container)?;
        Ok(Self {
            container,
            limits,
            deadline,
            format,
            track,
            decoder,
            interleaved: Vec::new(),
            samples: Vec::new(),
            sample_rate_hz: None,
            channels: 1,
            packets: 0,
            bad: 0,
            reason: String::new(),
        })
    }

    fn run(mut self) -> Result<Clip, DecodeError> {
        loop {
            if self.deadline.passed() {
                return Err(self.deadline.error());
            }
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => self.packet(&packet)?,
                Ok(Some(_)) => {}
                Ok(None) => break,
                // A file that was cut: what there is of it is its sound, as for every player.
                Err(SymphoniaError::IoError(error)) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                // Another stream follows in the same file.
                Err(SymphoniaError::ResetRequired) => {
                    (self.track, self.decoder) = open(&*self.format, self.container)?;
                }
                Err(error) => self.bad_packet(error.to_string())?,
            }
        }
        let Some(sample_rate_hz) = self.sample_rate_hz else {
            let reason = if self.reason.is_empty() { "it holds no sound".into() } else { self.reason };
            return Err(broken(self.container, reason));
        };
        if !peak(&self.samples).is_finite() {
            return Err(super::not_finite(self.container, &self.samples));
        }
        let channels = u16::try_from(self.channels).unwrap_or(u16::MAX);
        Ok(Clip { samples: self.samples, sample_rate_hz, channels, container: self.container })
    }

    fn packet(&mut self, packet: &Packet) -> Result<(), DecodeError> {
        self.packets += 1;
        let decoded = match &mut self.decoder {
            Decoder::Opus(opus) => {
                let trim_end = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
                self.channels = opus.channels();
                opus.decode(&packet.data, trim_end, &mut self.samples).map(|()| opus::SAMPLE_RATE_HZ)
            }
            Decoder::Symphonia(decoder) => match decoder.decode(packet) {
                Ok(sound) => {
                    let channels = sound.num_planes().max(1);
                    self.channels = channels;
                    if channels == 1 {
                        let start = self.samples.len();
                        self.samples.resize(start + sound.samples_interleaved(), 0.0);
                        sound.copy_to_slice_interleaved(&mut self.samples[start..]);
                    } else {
                        sound.copy_to_vec_interleaved(&mut self.interleaved);
                        super::downmix(&self.interleaved, channels, &mut self.samples);
                    }
                    Ok(sound.spec().rate())
                }
                Err(error) => Err(error.to_string()),
            },
        };
        match decoded {
            Ok(rate_hz) => self.at_rate(rate_hz),
            Err(reason) => self.bad_packet(reason),
        }
    }

    fn at_rate(&mut self, rate_hz: u32) -> Result<(), DecodeError> {
        let expected_hz = *self.sample_rate_hz.get_or_insert(rate_hz);
        if rate_hz == 0 || rate_hz != expected_hz {
            let reason = format!("its sample rate changes from {expected_hz} to {rate_hz} Hz");
            return Err(broken(self.container, reason));
        }
        if self.samples.len() > self.limits.max_samples(rate_hz) {
            return Err(self.limits.exceeded(rate_hz));
        }
        Ok(())
    }

    fn bad_packet(&mut self, reason: String) -> Result<(), DecodeError> {
        self.bad += 1;
        if self.bad > BEARABLE + self.packets / PACKETS_FOR_A_BAD_ONE {
            return Err(broken(self.container, reason));
        }
        self.reason = reason;
        Ok(())
    }
}

fn probe(bytes: &[u8], seekable: bool, deadline: Deadline) -> Result<Box<dyn FormatReader + '_>, SymphoniaError> {
    let source = Source { bytes: Cursor::new(bytes), seekable, deadline };
    let stream = MediaSourceStream::new(Box::new(source), Default::default());
    symphonia::default::get_probe().probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
}

/// The track to listen to, and what decodes it.
fn open(format: &dyn FormatReader, container: &'static str) -> Result<(u32, Decoder), DecodeError> {
    let unsupported = |found: &str| DecodeError::Unsupported { container, found: found.into() };
    let track = format.default_track(TrackType::Audio).ok_or_else(|| unsupported("no sound"))?;
    let parameters = parameters(track).ok_or_else(|| unsupported("no sound"))?;
    if parameters.codec == codec::CODEC_ID_OPUS {
        let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
        let opus = Opus::new(parameters.extra_data.as_deref(), channels).map_err(|found| unsupported(&found))?;
        return Ok((track.id, Decoder::Opus(Box::new(opus))));
    }
    let options = AudioDecoderOptions::default();
    match symphonia::default::get_codecs().make_audio_decoder(parameters, &options) {
        Ok(decoder) => Ok((track.id, Decoder::Symphonia(decoder))),
        Err(SymphoniaError::Unsupported(_)) => Err(unsupported(codec_name(parameters.codec))),
        Err(error) => Err(broken(container, error.to_string())),
    }
}

fn parameters(track: &Track) -> Option<&AudioCodecParameters> {
    track.codec_params.as_ref().and_then(CodecParameters::audio)
}

fn codec_name(id: AudioCodecId) -> &'static str {
    match id {
        codec::CODEC_ID_AAC => "a kind of AAC beyond LC",
        codec::CODEC_ID_AC3 => "AC-3",
        codec::CODEC_ID_EAC3 => "E-AC-3",
        codec::CODEC_ID_DCA => "DTS",
        codec::CODEC_ID_SPEEX => "Speex",
        codec::CODEC_ID_MP1 => "MPEG layer 1",
        codec::CODEC_ID_MP2 => "MPEG layer 2",
        codec::CODEC_ID_WMA => "Windows Media Audio",
        _ => "sound of a kind that is not known",
    }
}

fn broken(container: &'static str, reason: impl Into<String>) -> DecodeError {
    DecodeError::Broken { container, reason: reason.into() }
}
