//! A file into a table.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

use super::copy_args::{Args, is_standard};
use super::progress::Progress;
use crate::cli::command_error::{CommandError, Result};
use crate::cli::console::{Console, Exit, counted};
use crate::cli::server_flag::block_on;
use crate::error::Outcome;
use crate::value::proto::copy_in_request::Part;
use crate::value::proto::{CopyInEnd, CopyInRequest};
use crate::wire_size::widen;

/// The bytes of one message.
const CHUNK: usize = 64 << 10;

/// The messages that are read ahead.
const READ_AHEAD: usize = 8;

pub(super) fn run(args: &Args, name: &Path, console: &mut Console<'_>) -> Result<Exit> {
    let failed = |error: io::Error| {
        CommandError::Failed(format!("{} cannot be read: {error}", name.display()))
    };
    let (source, total) = open(name).map_err(failed)?;
    block_on(async {
        let client = args.connect().await?;
        let (sender, requests) = channel(READ_AHEAD);
        let start = CopyInRequest { part: Some(Part::Start(args.start())) };
        // There is room for the first.
        drop(sender.try_send(start));
        let sent = Arc::new(Sent::default());
        let reader = read(source, sender, Arc::clone(&sent));
        let mut progress = Progress::new(total);
        let copied = {
            let mut call = Box::pin(client.copy_in(ReceiverStream::new(requests)));
            loop {
                tokio::select! {
                    biased;
                    copied = &mut call => break copied,
                    () = progress.due() => progress.show(sent.bytes.load(Relaxed), console.err)?,
                }
            }
        };
        progress.clear(console.err)?;
        if copied.is_err()
            && reader.is_finished()
            && let Ok(Err(error)) = reader.join()
        {
            // Why the data had no end.
            return Err(failed(error));
        }
        let copied = copied.map_err(|mut error| {
            // Without the end of its data nothing of a copy is applied.
            if error.outcome == Outcome::Unknown && !sent.is_whole.load(Relaxed) {
                error.outcome = Outcome::NotApplied;
            }
            CommandError::Write(Box::new(error))
        })?;
        let rows = counted(copied.rows_affected, "row");
        let how = if copied.replayed {
            "were copied by an earlier call with this key".to_owned()
        } else {
            format!("copied {}", progress.summary(sent.bytes.load(Relaxed)))
        };
        writeln!(console.err, "{rows} {how}")?;
        Ok(Exit::Success)
    })
}

/// The data that was sent so far.
#[derive(Debug, Default)]
struct Sent {
    bytes: AtomicU64,
    /// Its end was sent, or is about to be.
    is_whole: AtomicBool,
}

/// Opens the file; returns its size, too, where it has one.
fn open(name: &Path) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if is_standard(name) {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(name)?;
    let about = file.metadata()?;
    let size = about.is_file().then_some(about.len());
    Ok((Box::new(file), size))
}

/// Reads the file on a thread of its own, into messages. Only a file that was read to its end has the end sent.
fn read(
    mut source: Box<dyn Read + Send>,
    requests: Sender<CopyInRequest>,
    sent: Arc<Sent>,
) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        loop {
            let mut chunk = vec![0; CHUNK];
            let mut length = 0;
            while length < CHUNK {
                match source.read(&mut chunk[length..]) {
                    Ok(0) => break,
                    Ok(more) => length += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            chunk.truncate(length);
            sent.is_whole.fetch_or(chunk.is_empty(), Relaxed);
            let part = if chunk.is_empty() { Part::End(CopyInEnd {}) } else { Part::Data(chunk) };
            // A call that has ended takes nothing more, and tells why.
            if requests.blocking_send(CopyInRequest { part: Some(part) }).is_err() || length == 0 {
                return Ok(());
            }
            sent.bytes.fetch_add(widen(length), Relaxed);
        }
    })
}
