//! Whose turn it is: in the order of coming within one caller, by turns between callers.
//!
//! So one that sends ten times as much waits ten times as long, and the others do not. Nothing is held
//! back for anybody: while one caller waits alone, everything is its own. Pure: knows no clock and no
//! pool.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Those who wait.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    lines: HashMap<Arc<str>, VecDeque<(u64, T)>>,
    /// Every caller that waits, once; the first is next.
    ring: VecDeque<Arc<str>>,
    next_ticket: u64,
    len: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), ring: VecDeque::new(), next_ticket: 0, len: 0 }
    }
}

impl<T> FairQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Those at the head of each caller's line.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &T> {
        self.lines.values().filter_map(|line| line.front()).map(|(_, waiter)| waiter)
    }

    /// How many of a caller wait.
    pub(crate) fn of(&self, caller: &str) -> usize {
        self.lines.get(caller).map_or(0, VecDeque::len)
    }

    /// How many are let in before the next of a caller, at the least: its own, and one of each other's.
    pub(crate) fn before(&self, caller: &str) -> usize {
        let own = self.of(caller);
        own + self.ring.len() - usize::from(own > 0)
    }

    /// Joins the line of a caller; the ticket is for [`FairQueue::leave`].
    pub(crate) fn join(&mut self, caller: &str, waiter: T) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.len += 1;
        if let Some(line) = self.lines.get_mut(caller) {
            line.push_back((ticket, waiter));
            return ticket;
        }
        let caller: Arc<str> = caller.into();
        self.lines.insert(Arc::clone(&caller), VecDeque::from([(ticket, waiter)]));
        self.ring.push_back(caller);
        ticket
    }

    /// Lets the next one go first.
    pub(crate) fn next(&mut self) -> Option<T> {
        let caller = self.ring.pop_front()?;
        let line = self.lines.get_mut(&caller)?;
        let (_, waiter) = line.pop_front()?;
        self.len -= 1;
        if line.is_empty() {
            self.lines.remove(&caller);
        } else {
            self.ring.push_back(caller);
        }
        Some(waiter)
    }

    /// Takes one out, if it still waits.
    pub(crate) fn leave(&mut self, caller: &str, ticket: u64) -> Option<T> {
        let line = self.lines.get_mut(caller)?;
        let place = line.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        let (_, waiter) = line.remove(place)?;
        self.len -= 1;
        self.forget_if_empty(caller);
        Some(waiter)
    }

    /// Takes out the last of the longest line, if that is longer than `than`.
    pub(crate) fn crowd_out(&mut self, than: usize) -> Option<T> {
        let longest = self.ring.iter().max_by_key(|caller| self.of(caller))?;
        let caller = Arc::clone(longest);
        let line = self.lines.get_mut(&caller).filter(|line| line.len() > than)?;
        let (_, waiter) = line.pop_back()?;
        self.len -= 1;
        self.forget_if_empty(&caller);
        Some(waiter)
    }

    fn forget_if_empty(&mut self, caller: &str) {
        if self.lines.get(caller).is_some_and(VecDeque::is_empty) {
            self.lines.remove(caller);
            self.ring.retain(|other| **other != *caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(turns: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn one_caller_is_served_in_the_order_of_coming() {
        let mut turns = FairQueue::default();
        for waiter in ["1", "2", "3"] {
            turns.join("a", waiter);
        }
        assert_eq!(drain(&mut turns), ["1", "2", "3"]);
        assert_eq!(turns.len(), 0);
    }

    #[test]
    fn callers_take_turns_however_many_of_one_wait() {
        let mut turns = FairQueue::default();
        for waiter in ["a1", "a2", "a3", "a4"] {
            turns.join("a", waiter);
        }
        assert_eq!(turns.before("b"), 1);
        assert_eq!(turns.before("a"), 4);
        for waiter in ["b1", "b2"] {
            turns.join("b", waiter);
        }
        turns.join("c", "c1");
        assert_eq!((turns.before("b"), turns.before("c"), turns.before("d")), (4, 3, 3));
        assert_eq!(drain(&mut turns), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
    }

    #[test]
    fn whoever_leaves_is_forgotten() {
        let mut turns = FairQueue::default();
        let (first, second) = (turns.join("a", "a1"), turns.join("a", "a2"));
        let other = turns.join("b", "b1");
        assert_eq!(turns.leave("a", second), Some("a2"));
        assert_eq!(turns.leave("a", second), None);
        assert_eq!(turns.leave("b", other), Some("b1"));
        assert_eq!(turns.leave("b", first), None);
        assert_eq!(turns.len(), 1);
        assert_eq!(drain(&mut turns), ["a1"]);
    }

    #[test]
    fn only_a_longer_line_gives_up_its_last() {
        let mut turns = FairQueue::default();
        for waiter in ["a1", "a2", "a3"] {
            turns.join("a", waiter);
        }
        turns.join("b", "b1");
        assert_eq!(turns.crowd_out(3), None);
        assert_eq!(turns.crowd_out(2), Some("a3"));
        assert_eq!((turns.of("a"), turns.len()), (2, 3));
    }
}
