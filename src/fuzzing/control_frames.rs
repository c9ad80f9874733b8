//! The bytes of an HTTP/2 client, cut anywhere.

use tokio::io::AsyncReadExt as _;

use crate::backend::postgres::fuzz::cut_stream::{CutStream, Cuts, run};
use crate::grpc::FrameGuard;

/// Reads a connection: a byte of the number of cuts, the cuts, the bytes that the client sends.
///
/// The connection fails at the same frame whatever the cuts are; else its bytes pass as they are. Returns the number of bytes that
/// passed, `None` for a connection that failed.
#[must_use]
pub fn guard_frames(data: &[u8]) -> Option<usize> {
    let (cuts, rest) = data.split_first()?;
    let (cuts, bytes) = rest.split_at(rest.len().min(usize::from(*cuts)));
    let whole = pass(bytes, &[]);
    assert_eq!(whole, pass(bytes, cuts));
    if whole.is_some() {
        assert_eq!(whole.as_deref(), Some(bytes));
    }
    whole.map(|bytes| bytes.len())
}

fn pass(bytes: &[u8], cuts: &[u8]) -> Option<Vec<u8>> {
    let given = bytes.iter().copied().collect();
    let stream = CutStream { given, cuts: Cuts::of(cuts), ..CutStream::default() };
    // Time gives no credit.
    let mut guard = FrameGuard::new(stream, 0);
    let mut received = Vec::new();
    run(guard.read_to_end(&mut received)).ok().map(|_size| received)
}
