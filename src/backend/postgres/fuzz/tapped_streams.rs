//! The streams of a connection, in both directions, cut anywhere.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::types::Format;

use super::cut_stream::{CutStream, Cuts, run};
use crate::backend::postgres::protocol::backend::MessageLimits;
use crate::backend::postgres::protocol::protocol_state::ProtocolState;
use crate::backend::postgres::protocol::renaming::Renaming;
use crate::backend::postgres::protocol::statement_names::Route;
use crate::backend::postgres::protocol::tap::Tap;

const LIMITS: MessageLimits = MessageLimits { row: 64, report: 128, other: 512 };

/// The bit of the first byte for a connection through a pooler.
const POOLER: u8 = 1;
/// The bit for one on which a statement is prepared whose results come as text in part.
const MARKED: u8 = 2;

/// The startup packet, and a Parse of the marked statement with its Sync.
const STARTUP: &[u8] = b"\0\0\0\x10\0\x03\0\0user\0u\0\0";
const MARKED_TEXT: &str = "select a";
const MARKED_PARSE: &[u8] = b"P\0\0\0\x12s1\0select a\0\0\0S\0\0\0\x04";
/// The Close of the marked statement, whose name the driver never uses again.
const MARKED_CLOSE: &[u8] = b"Ss1\0";

/// The bytes that the driver reads at once.
const BUFFER: usize = 8 << 10;

/// The parts of an input.
struct Streams<'a> {
    switches: u8,
    outgoing: &'a [u8],
    incoming: &'a [u8],
}

/// Sends and receives bytes through the streams that are under the driver: a byte of switches, one of the number of cuts, two of the
/// number of bytes to send, the cuts, the bytes to send, the bytes to receive.
///
/// The bytes that pass and the facts that are known of the connection behind them do not depend on the cuts.
pub fn tap_streams(data: &[u8]) {
    let Some(([switches, cuts, sent @ ..], rest)) = data.split_first_chunk::<4>() else { return };
    let (cuts, rest) = rest.split_at(rest.len().min(usize::from(*cuts)));
    let sent = usize::from(u16::from_le_bytes(*sent));
    let (outgoing, incoming) = rest.split_at(rest.len().min(sent));
    let streams = Streams { switches: *switches, outgoing, incoming };
    let is_marked = switches & MARKED != 0;
    if is_marked && outgoing.windows(MARKED_CLOSE.len()).any(|part| part == MARKED_CLOSE) {
        return;
    }
    let whole = streams.pass(&[]);
    let cut = streams.pass(cuts);
    assert_eq!(whole.is_ok(), cut.is_ok(), "{whole:?}\n{cut:?}");
    if let (Ok(whole), Ok(cut)) = (whole, cut) {
        assert_eq!(whole, cut);
    }
}

/// The bytes that came out at both ends, and what is known of the connection, to compare.
type Passed = (Vec<u8>, Vec<u8>, Vec<u8>);

impl Streams<'_> {
    fn pass(&self, cuts: &[u8]) -> io::Result<Passed> {
        let route = if self.switches & POOLER == 0 { Route::Direct } else { Route::Pooler };
        let state = Arc::new(ProtocolState::new(route));
        let renaming = Renaming::new(CutStream::default(), Arc::clone(&state.statement_names));
        let mut tap = Tap::new(renaming, Arc::clone(&state), LIMITS);
        run(async {
            tap.write_all(STARTUP).await?;
            if self.switches & MARKED != 0 {
                state.text_results.expect_statement(MARKED_TEXT);
                tap.write_all(MARKED_PARSE).await?;
                state.text_results.prepared(&[Format::Binary, Format::Text]);
            }
            tap.stream.stream.cuts = Cuts::of(cuts);
            let mut offers = Cuts::of(cuts);
            let mut rest = self.outgoing;
            while !rest.is_empty() {
                let offer = offers.piece(rest.len()).unwrap_or(1);
                tap.write_all(&rest[..offer]).await?;
                rest = &rest[offer..];
            }
            tap.flush().await?;
            tap.stream.stream.given = self.incoming.iter().copied().collect();
            let mut received = Vec::new();
            let mut buffer = [0; BUFFER];
            loop {
                let size = offers.piece(BUFFER).unwrap_or(1);
                match tap.read(&mut buffer[..size]).await? {
                    0 => break,
                    read => received.extend_from_slice(&buffer[..read]),
                }
            }
            // The order of a table is chance.
            let mut known = format!("{state:?}").into_bytes();
            known.sort_unstable();
            Ok((std::mem::take(&mut tap.stream.stream.taken), received, known))
        })
    }
}
