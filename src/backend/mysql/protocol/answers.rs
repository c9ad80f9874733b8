//! The answers to commands, read packet by packet: what is half read can be read on at any time.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::column_definition::ColumnDefinition;
use super::length_encoded::PacketReader;
use super::ok_packet::{MORE_RESULTS, OkPacket};
use super::packet_stream::StreamFailure;
use super::server_error::ServerError;

/// The length from which a packet that begins with 0xFE is a row: a text of 16 MiB or more.
const LONG_ROW: usize = 0xFF_FFFF;

/// The answer that a command gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    /// Results with rows, or without any.
    Results,
    Prepared,
}

/// A command that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Awaited {
    pub(crate) kind: AnswerKind,
    /// It is the server's own: it changes the session as it is to be.
    pub(crate) is_own: bool,
}

/// A part of an answer.
#[derive(Debug)]
pub(crate) enum Event {
    /// A result with rows begins.
    Columns(RawColumns),
    Row(BytesMut),
    /// A result has ended, and another of the same command follows.
    ResultEnd(OkPacket),
    /// A statement is prepared; this is the whole answer.
    Prepared(PreparedAnswer),
    /// The command has ended.
    Done(OkPacket),
    /// The command has failed; this is the end of its answer.
    Failed(ServerError),
}

/// The answer to the preparation of a statement.
#[derive(Debug)]
pub(crate) struct PreparedAnswer {
    pub(crate) id: u32,
    pub(crate) parameters: Vec<ColumnDefinition>,
    pub(crate) columns: Vec<ColumnDefinition>,
}

/// The definitions of columns as they were received: most statements have the same ones each time that they run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RawColumns {
    packets: BytesMut,
    /// The end of each packet.
    ends: Vec<usize>,
}

impl RawColumns {
    fn push(&mut self, packet: &[u8]) {
        self.packets.extend_from_slice(packet);
        self.ends.push(self.packets.len());
    }

    /// Reads the definitions; `None` if one is malformed.
    pub(crate) fn parse(&self, has_extended_types: bool) -> Option<Vec<ColumnDefinition>> {
        let mut start = 0;
        let packets =
            self.ends.iter().map(|end| &self.packets[std::mem::replace(&mut start, *end)..*end]);
        packets.map(|packet| ColumnDefinition::parse(packet, has_extended_types)).collect()
    }
}

#[derive(Debug)]
enum Reading {
    Start,
    Columns { left: u64, columns: RawColumns },
    Rows,
    Prepared { parameters_left: u16, columns_left: u16, answer: PreparedAnswer },
}

/// The answers that are still to come.
#[derive(Debug)]
pub(crate) struct Answers {
    awaited: VecDeque<Awaited>,
    reading: Reading,
    pub(crate) has_extended_types: bool,
}

impl Answers {
    pub(crate) fn new(has_extended_types: bool) -> Self {
        Self { awaited: VecDeque::new(), reading: Reading::Start, has_extended_types }
    }

    /// Notes that a command was sent.
    pub(crate) fn expect(&mut self, awaited: Awaited) {
        self.awaited.push_back(awaited);
    }

    /// The command whose answer comes next; `None` when all are answered.
    pub(crate) fn next(&self) -> Option<Awaited> {
        self.awaited.front().copied()
    }

    /// The number of commands that are not answered.
    pub(crate) fn len(&self) -> usize {
        self.awaited.len()
    }

    /// Returns true if nothing of the next answer was read.
    pub(crate) fn is_at_start(&self) -> bool {
        matches!(self.reading, Reading::Start)
    }

    /// Takes the next packet; returns what it makes known, if anything.
    pub(crate) fn take(&mut self, packet: BytesMut) -> Result<Option<Event>, StreamFailure> {
        let Some(awaited) = self.next() else {
            return Err(StreamFailure::Malformed("an answer to no command"));
        };
        let event = self.read(awaited.kind, packet)?;
        if matches!(event, Some(Event::Prepared(_) | Event::Done(_) | Event::Failed(_))) {
            self.awaited.pop_front();
        }
        Ok(event)
    }

    fn read(&mut self, kind: AnswerKind, packet: BytesMut) -> Result<Option<Event>, StreamFailure> {
        let Some(first) = packet.first().copied() else {
            return Err(StreamFailure::Malformed("an empty packet"));
        };
        if first == 0xFF {
            self.reading = Reading::Start;
            let error = ServerError::parse(&packet);
            return Ok(Some(Event::Failed(error.ok_or(malformed())?)));
        }
        match (std::mem::replace(&mut self.reading, Reading::Start), kind) {
            (Reading::Start, AnswerKind::Prepared) => self.begin_prepared(&packet),
            (Reading::Start, AnswerKind::Results) => match first {
                0x00 => Ok(Some(end(&packet)?)),
                // LOCAL INFILE, which was never allowed.
                0xFB => Err(StreamFailure::Malformed("a request for a file")),
                _ => {
                    let left = PacketReader::new(&packet).integer().ok_or(malformed())?;
                    self.reading = Reading::Columns { left, columns: RawColumns::default() };
                    Ok(None)
                }
            },
            (Reading::Columns { left, mut columns }, _) => {
                columns.push(&packet);
                if left > 1 {
                    self.reading = Reading::Columns { left: left - 1, columns };
                    return Ok(None);
                }
                self.reading = Reading::Rows;
                Ok(Some(Event::Columns(columns)))
            }
            (Reading::Rows, _) if first == 0xFE && packet.len() < LONG_ROW => {
                Ok(Some(end(&packet)?))
            }
            (Reading::Rows, _) => {
                self.reading = Reading::Rows;
                Ok(Some(Event::Row(packet)))
            }
            (Reading::Prepared { parameters_left, columns_left, mut answer }, _) => {
                let column = self.column(&packet)?;
                let (parameters_left, columns_left) = if parameters_left > 0 {
                    answer.parameters.push(column);
                    (parameters_left - 1, columns_left)
                } else {
                    answer.columns.push(column);
                    (0, columns_left.saturating_sub(1))
                };
                Ok(self.go_on(parameters_left, columns_left, answer))
            }
        }
    }

    fn column(&self, packet: &[u8]) -> Result<ColumnDefinition, StreamFailure> {
        ColumnDefinition::parse(packet, self.has_extended_types).ok_or(malformed())
    }

    /// Reads the head of the answer to a preparation ("COM_STMT_PREPARE_OK").
    fn begin_prepared(&mut self, packet: &[u8]) -> Result<Option<Event>, StreamFailure> {
        let head = packet.first_chunk::<9>().filter(|head| head[0] == 0).ok_or(malformed())?;
        let [_, id @ .., columns_low, columns_high, parameters_low, parameters_high] = *head;
        let answer = PreparedAnswer {
            id: u32::from_le_bytes(id),
            parameters: Vec::new(),
            columns: Vec::new(),
        };
        let columns = u16::from_le_bytes([columns_low, columns_high]);
        let parameters = u16::from_le_bytes([parameters_low, parameters_high]);
        Ok(self.go_on(parameters, columns, answer))
    }

    /// Reads on, unless the answer is whole.
    fn go_on(
        &mut self,
        parameters_left: u16,
        columns_left: u16,
        answer: PreparedAnswer,
    ) -> Option<Event> {
        if parameters_left == 0 && columns_left == 0 {
            return Some(Event::Prepared(answer));
        }
        self.reading = Reading::Prepared { parameters_left, columns_left, answer };
        None
    }
}

fn end(packet: &[u8]) -> Result<Event, StreamFailure> {
    let ok = OkPacket::parse(packet).ok_or(malformed())?;
    let is_last = ok.status & MORE_RESULTS == 0;
    Ok(if is_last { Event::Done(ok) } else { Event::ResultEnd(ok) })
}

fn malformed() -> StreamFailure {
    StreamFailure::Malformed("an answer")
}
