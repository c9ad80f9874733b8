//! The writes that wait for the connection that writes, beside the pool's queue: whoever gets the connection
//! first takes the others along.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::member::Member;

/// The queue. Each of its writes waits in the pool's queue, too, which bounds them.
#[derive(Default)]
pub(crate) struct WriteQueue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    writes: VecDeque<WaitingWrite>,
    next: u64,
}

struct WaitingWrite {
    id: u64,
    member: Box<dyn Member>,
    /// Dropped when the write is taken.
    _taken: oneshot::Sender<()>,
}

/// A place in the queue, which is left when this is dropped.
pub(crate) struct Place {
    queue: Arc<WriteQueue>,
    id: u64,
}

impl WriteQueue {
    /// Enters a write. The receiver is ready once it is taken by another.
    pub(crate) fn enter(
        self: &Arc<Self>,
        member: Box<dyn Member>,
    ) -> (Place, oneshot::Receiver<()>) {
        let (sender, taken) = oneshot::channel();
        let mut waiting = self.0.lock();
        let id = waiting.next;
        waiting.next += 1;
        waiting.writes.push_back(WaitingWrite { id, member, _taken: sender });
        (Place { queue: Arc::clone(self), id }, taken)
    }

    /// Tells whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().writes.is_empty()
    }

    /// Takes the write that came first of those whose deadlines are after `until`.
    pub(super) fn take_next(&self, until: Instant) -> Option<Box<dyn Member>> {
        let writes = &mut self.0.lock().writes;
        let index = writes.iter().position(|waiting| waiting.member.deadline() > until)?;
        writes.remove(index).map(|waiting| waiting.member)
    }

    fn take(&self, id: u64) -> Option<Box<dyn Member>> {
        let writes = &mut self.0.lock().writes;
        let index = writes.iter().position(|waiting| waiting.id == id)?;
        writes.remove(index).map(|waiting| waiting.member)
    }
}

impl Place {
    /// Takes its write, unless another has taken it.
    pub(crate) fn take(&self) -> Option<Box<dyn Member>> {
        self.queue.take(self.id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.take());
    }
}
