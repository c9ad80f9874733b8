//! Numbers and strings as packets hold them: little-endian, and length-encoded (MySQL, "Protocol Basics").

/// The first byte of an integer of two, three and eight bytes.
const TWO: u8 = 0xFC;
const THREE: u8 = 0xFD;
const EIGHT: u8 = 0xFE;
/// The first byte of NULL, where a row in text has a value.
const NULL: u8 = 0xFB;

/// A reader of a packet from its start to its end; each method returns `None` where the packet is too short or malformed.
#[derive(Debug, Clone)]
pub(crate) struct PacketReader<'a> {
    rest: &'a [u8],
}

impl<'a> PacketReader<'a> {
    pub(crate) fn new(packet: &'a [u8]) -> Self {
        Self { rest: packet }
    }

    /// The bytes that were not read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a length-encoded integer.
    pub(crate) fn integer(&mut self) -> Option<u64> {
        match self.u8()? {
            TWO => self.u16().map(u64::from),
            THREE => {
                let [low, middle, high] = self.array()?;
                Some(u32::from_le_bytes([low, middle, high, 0]).into())
            }
            EIGHT => self.u64(),
            small if small < NULL => Some(small.into()),
            _ => None,
        }
    }

    /// Reads a length-encoded string.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.integer()?.try_into().ok()?;
        self.bytes(length)
    }

    /// Reads a value of a row in text: a length-encoded string, or `Some(None)` for NULL.
    pub(crate) fn nullable_string(&mut self) -> Option<Option<&'a [u8]>> {
        if self.rest.first() == Some(&NULL) {
            self.bytes(1)?;
            return Some(None);
        }
        self.string().map(Some)
    }
}

/// Writes a length-encoded integer.
pub(crate) fn write_integer(value: u64, out: &mut Vec<u8>) {
    let bytes = value.to_le_bytes();
    if value < NULL.into() {
        out.push(bytes[0]);
    } else if value < 1 << 16 {
        out.push(TWO);
        out.extend_from_slice(&bytes[..2]);
    } else if value < 1 << 24 {
        out.push(THREE);
        out.extend_from_slice(&bytes[..3]);
    } else {
        out.push(EIGHT);
        out.extend_from_slice(&bytes);
    }
}

/// Writes a length-encoded string.
pub(crate) fn write_string(value: &[u8], out: &mut Vec<u8>) {
    write_integer(u64::try_from(value.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_have_the_shortest_form() {
        let cases: [(u64, &[u8]); 8] = [
            (0, &[0]),
            (250, &[250]),
            (251, &[0xFC, 251, 0]),
            (65_535, &[0xFC, 0xFF, 0xFF]),
            (65_536, &[0xFD, 0, 0, 1]),
            (16_777_215, &[0xFD, 0xFF, 0xFF, 0xFF]),
            (16_777_216, &[0xFE, 0, 0, 0, 1, 0, 0, 0, 0]),
            (u64::MAX, &[0xFE, 255, 255, 255, 255, 255, 255, 255, 255]),
        ];
        for (value, bytes) in cases {
            let mut out = Vec::new();
            write_integer(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(PacketReader::new(bytes).integer(), Some(value));
        }
    }

    #[test]
    fn what_is_short_or_malformed_is_not_read() {
        for packet in [&[][..], &[0xFC, 1], &[0xFD, 1, 2], &[0xFE, 0], &[0xFF], &[0xFB]] {
            assert_eq!(PacketReader::new(packet).integer(), None, "{packet:?}");
            assert_eq!(PacketReader::new(packet).string(), None, "{packet:?}");
        }
        let huge = [0xFE, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(PacketReader::new(&huge).string(), None);
        assert_eq!(PacketReader::new(&[2, b'a']).string(), None);
        assert_eq!(PacketReader::new(&[0xFB]).nullable_string(), Some(None));
        assert_eq!(PacketReader::new(&[0]).nullable_string(), Some(Some(&b""[..])));
        assert_eq!(PacketReader::new(&[]).nullable_string(), None);
    }

    proptest! {
        #[test]
        fn a_string_is_read_as_it_was_written(
            value in prop::collection::vec(any::<u8>(), 0..400),
            behind in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut out = Vec::new();
            write_string(&value, &mut out);
            out.extend_from_slice(&behind);
            let mut reader = PacketReader::new(&out);
            prop_assert_eq!(reader.string(), Some(&*value));
            prop_assert_eq!(reader.rest(), &*behind);
        }
    }
}
