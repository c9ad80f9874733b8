//! Errors and notices of the server that are longer than anybody reads: their fields are cut before the driver
//! buffers them. A statement can raise 300 MB.

use bytes::BytesMut;
use tokio::io::ReadBuf;

use super::framing::leading_rows;

/// The part of the longest report that is kept of each field of a longer one.
const FIELD_PART: usize = 16;

/// The size of a header: the kind, and the length of the rest with itself.
const HEADER: usize = 5;

/// The reports among the bytes from the server, on their way to the driver.
#[derive(Debug)]
pub(super) struct LongReports {
    /// The longest body, in bytes, that is passed on as it is.
    longest: usize,
    /// The header of the current message; the driver gets it once it is complete.
    header: [u8; HEADER],
    header_length: usize,
    /// The bytes left of the body.
    left: usize,
    /// The report that is being cut.
    cut: Option<CutReport>,
    /// The bytes that the driver gets before any others.
    ready: BytesMut,
}

impl LongReports {
    pub(super) fn new(longest: usize) -> Self {
        Self {
            longest,
            header: [0; HEADER],
            header_length: 0,
            left: 0,
            cut: None,
            ready: BytesMut::new(),
        }
    }

    /// Gives the driver what is ready; returns false when there is nothing.
    pub(super) fn deliver(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let length = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready.split_to(length));
        length > 0
    }

    /// Makes the begin of a header ready, as the server ended the stream; returns false when there is none.
    pub(super) fn release(&mut self) -> bool {
        let length = std::mem::take(&mut self.header_length);
        self.ready.extend_from_slice(&self.header[..length]);
        length > 0
    }

    /// Takes the bytes that were read. Returns the number of those that the driver gets at once; of the others it
    /// gets what is made ready.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut direct = (self.header_length > 0 || self.cut.is_some()).then_some(0);
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let body = &bytes[at..at + self.left.min(bytes.len() - at)];
                at += body.len();
                self.body(body, direct.is_some());
                continue;
            }
            if direct.is_none() && self.header_length == 0 {
                at += leading_rows(&bytes[at..], usize::MAX);
            }
            let begin = at;
            let taken = (HEADER - self.header_length).min(bytes.len() - at);
            at += taken;
            self.header[self.header_length..][..taken].copy_from_slice(&bytes[begin..at]);
            self.header_length += taken;
            if self.header_length < HEADER {
                direct.get_or_insert(begin);
                break;
            }
            self.header_length = 0;
            let [kind, length @ ..] = self.header;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            self.left = length.saturating_sub(4);
            if matches!(kind, b'E' | b'N') && self.left > self.longest {
                direct.get_or_insert(begin);
                self.cut = Some(CutReport {
                    kind,
                    longest: self.longest,
                    fields: Vec::new(),
                    part: ReportPart::Kind,
                });
            } else if direct.is_some() {
                self.ready.extend_from_slice(&self.header);
            }
        }
        direct.unwrap_or(bytes.len())
    }

    fn body(&mut self, bytes: &[u8], is_diverted: bool) {
        self.left -= bytes.len();
        match &mut self.cut {
            Some(cut) => cut.feed(bytes),
            None if is_diverted => self.ready.extend_from_slice(bytes),
            None => {}
        }
        if self.left == 0
            && let Some(cut) = self.cut.take()
        {
            self.ready.extend_from_slice(&cut.message());
        }
    }
}

/// A report whose fields are cut: each has a byte for its kind, and a value that ends with a zero byte.
#[derive(Debug)]
struct CutReport {
    kind: u8,
    longest: usize,
    fields: Vec<u8>,
    part: ReportPart,
}

/// The part of a report that comes next.
#[derive(Debug, Clone, Copy)]
enum ReportPart {
    /// The kind of a field, or the zero byte behind the last field.
    Kind,
    /// The value of a field, which begins at this offset of the fields.
    Value(usize),
    /// Nothing: whatever comes behind the last field is left out.
    Ended,
}

impl CutReport {
    fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            let value = match self.part {
                ReportPart::Ended => return,
                ReportPart::Value(value) => value,
                // A server has some twenty kinds of fields.
                ReportPart::Kind if *first == 0 || self.fields.len() > self.longest => {
                    self.part = ReportPart::Ended;
                    return;
                }
                ReportPart::Kind => {
                    self.fields.push(*first);
                    self.part = ReportPart::Value(self.fields.len());
                    rest = others;
                    continue;
                }
            };
            let end = rest.iter().position(|byte| *byte == 0);
            let part = &rest[..end.unwrap_or(rest.len())];
            let room = (value + self.longest / FIELD_PART).saturating_sub(self.fields.len());
            self.fields.extend_from_slice(&part[..part.len().min(room)]);
            let Some(end) = end else { return };
            self.end_value(value);
            rest = &rest[end + 1..];
        }
    }

    fn end_value(&mut self, value: usize) {
        // The driver requires UTF-8: a character must not be cut.
        if let Err(error) = std::str::from_utf8(&self.fields[value..])
            && error.error_len().is_none()
        {
            self.fields.truncate(value + error.valid_up_to());
        }
        self.fields.push(0);
        self.part = ReportPart::Kind;
    }

    fn message(mut self) -> Vec<u8> {
        if let ReportPart::Value(value) = self.part {
            self.end_value(value);
        }
        self.fields.push(0);
        let length = u32::try_from(self.fields.len() + 4).unwrap_or(u32::MAX);
        let mut message = vec![self.kind];
        message.extend(length.to_be_bytes());
        message.extend(self.fields);
        message
    }
}
