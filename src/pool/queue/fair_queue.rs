//! A queue that is first in, first out within one caller, and round-robin between callers.
//!
//! A caller that sends ten times as much waits ten times as long, and the others do not. Nothing is reserved:
//! while one caller waits alone, it gets everything. Pure: knows no clock and no pool.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    waiters: HashMap<Arc<str>, VecDeque<(u64, T)>>,
    /// Every caller that has waiters, once; the first is next.
    ring: VecDeque<Arc<str>>,
    next_ticket: u64,
    len: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { waiters: HashMap::new(), ring: VecDeque::new(), next_ticket: 0, len: 0 }
    }
}

impl<T> FairQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first waiter of each caller.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &T> {
        self.waiters.values().filter_map(|line| line.front()).map(|(_, waiter)| waiter)
    }

    /// The number of waiters of a caller.
    pub(crate) fn of(&self, caller: &str) -> usize {
        self.waiters.get(caller).map_or(0, VecDeque::len)
    }

    /// The least number of waiters before the next one of a caller: its own, and one of each other caller.
    pub(crate) fn before(&self, caller: &str) -> usize {
        let own = self.of(caller);
        own + self.ring.len() - usize::from(own > 0)
    }

    /// Adds a waiter of a caller and returns the ticket for [`FairQueue::leave`].
    pub(crate) fn join(&mut self, caller: &str, waiter: T) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.len += 1;
        if let Some(line) = self.waiters.get_mut(caller) {
            line.push_back((ticket, waiter));
            return ticket;
        }
        let caller: Arc<str> = caller.into();
        self.waiters.insert(Arc::clone(&caller), VecDeque::from([(ticket, waiter)]));
        self.ring.push_back(caller);
        ticket
    }

    pub(crate) fn next(&mut self) -> Option<T> {
        let caller = self.ring.pop_front()?;
        let line = self.waiters.get_mut(&caller)?;
        let (_, waiter) = line.pop_front()?;
        self.len -= 1;
        if line.is_empty() {
            self.waiters.remove(&caller);
        } else {
            self.ring.push_back(caller);
        }
        Some(waiter)
    }

    /// Removes a waiter if it still waits.
    pub(crate) fn leave(&mut self, caller: &str, ticket: u64) -> Option<T> {
        let line = self.waiters.get(caller)?;
        let place = line.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.remove(caller, place)
    }

    /// Removes the last waiter of the caller that has most, if that has more than `count`.
    pub(crate) fn displace(&mut self, count: usize) -> Option<T> {
        let longest = self.ring.iter().max_by_key(|caller| self.of(caller))?;
        let caller = Arc::clone(longest);
        let last = self.of(&caller).checked_sub(1).filter(|place| *place >= count)?;
        self.remove(&caller, last)
    }

    fn remove(&mut self, caller: &str, place: usize) -> Option<T> {
        let line = self.waiters.get_mut(caller)?;
        let (_, waiter) = line.remove(place)?;
        self.len -= 1;
        if line.is_empty() {
            self.waiters.remove(caller);
            self.ring.retain(|other| **other != *caller);
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn one_caller_is_served_in_the_order_of_coming() {
        let mut queue = FairQueue::default();
        for waiter in ["1", "2", "3"] {
            queue.join("a", waiter);
        }
        assert_eq!(drain(&mut queue), ["1", "2", "3"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn callers_take_turns_however_many_of_one_wait() {
        let mut queue = FairQueue::default();
        for waiter in ["a1", "a2", "a3", "a4"] {
            queue.join("a", waiter);
        }
        assert_eq!(queue.before("b"), 1);
        assert_eq!(queue.before("a"), 4);
        for waiter in ["b1", "b2"] {
            queue.join("b", waiter);
        }
        queue.join("c", "c1");
        assert_eq!((queue.before("b"), queue.before("c"), queue.before("d")), (4, 3, 3));
        assert_eq!(drain(&mut queue), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn a_waiter_that_leaves_is_removed() {
        let mut queue = FairQueue::default();
        let first = queue.join("a", "a1");
        let second = queue.join("a", "a2");
        let other = queue.join("b", "b1");
        assert_eq!(queue.leave("a", second), Some("a2"));
        assert_eq!(queue.leave("a", second), None);
        assert_eq!(queue.leave("b", other), Some("b1"));
        assert_eq!(queue.leave("b", first), None);
        assert_eq!(queue.len(), 1);
        assert_eq!(drain(&mut queue), ["a1"]);
    }

    #[test]
    fn only_a_caller_with_more_waiters_loses_its_last() {
        let mut queue = FairQueue::default();
        for waiter in ["a1", "a2", "a3"] {
            queue.join("a", waiter);
        }
        queue.join("b", "b1");
        assert_eq!(queue.displace(3), None);
        assert_eq!(queue.displace(2), Some("a3"));
        assert_eq!((queue.of("a"), queue.len()), (2, 3));
    }
}
