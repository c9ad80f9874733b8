//! A group of writes at work on the connection's thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::ffi;

use super::member::{Member, Turn};
use super::schema::may_share_commit;
use super::write_queue::WriteQueue;
use crate::backend::sqlite::connection::{CheckoutSlot, Work, release};
use crate::backend::sqlite::error::Step;
use crate::backend::sqlite::session::{COMMIT, Session};
use crate::error::{Error, Outcome, Result};

/// A write shares a commit only if its deadline is so many times [`GroupLimits::time`] away: the group must not be
/// what makes it late.
const TIMES_LEFT: u32 = 10;

/// The bounds of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupLimits {
    /// The writes that share a commit.
    pub(crate) max: usize,
    /// The time from the begin of the transaction in which writes join it and run.
    pub(crate) time: Duration,
}

/// The job of a write that has got the connection. Those that wait then join it.
pub(crate) fn group_job(
    first: Box<dyn Member>,
    queue: Arc<WriteQueue>,
    limits: GroupLimits,
) -> Work {
    let mut group = Group { members: vec![first], unfit: Vec::new(), queue, limits };
    Box::new(move |session, checkout| {
        if !group.has_company() {
            return group.run_alone(session, &checkout);
        }
        match group.share(session) {
            Ok(Shared::Gone) => group.run_alone(session, &checkout),
            Ok(Shared::Ended(failure)) => group.answer(session, &checkout, failure.as_ref()),
            Err(error) => {
                let usable = release(&checkout, session.reset(Some(&error)));
                group.fail(error);
                usable
            }
        }
    })
}

/// The end of a common transaction.
enum Shared {
    /// Nothing of it is applied.
    Gone,
    /// It was committed, or failed with an outcome that is not known.
    Ended(Option<rusqlite::Error>),
}

struct Group {
    /// The writes in the order of their turns.
    members: Vec<Box<dyn Member>>,
    /// Those that run by themselves afterwards.
    unfit: Vec<Box<dyn Member>>,
    queue: Arc<WriteQueue>,
    limits: GroupLimits,
}

impl Group {
    /// Tells whether another write waits that the first may join.
    fn has_company(&self) -> bool {
        let deadline = self.members.first().map(|first| first.deadline());
        self.limits.max > 1
            && !self.queue.is_empty()
            && deadline.is_some_and(|deadline| deadline > self.least_deadline())
    }

    fn least_deadline(&self) -> Instant {
        Instant::now() + self.limits.time * TIMES_LEFT
    }

    /// Runs the first write and those that wait in one transaction. Fails if that cannot begin; only the first is
    /// there then.
    fn share(&mut self, session: &mut Session) -> Result<Shared> {
        self.members.first().map_or(Ok(()), |first| first.arm(session))?;
        session.begin()?;
        if !may_share_commit(session) {
            return Ok(Shared::Gone);
        }
        let end = Instant::now() + self.limits.time;
        // The first keeps nobody waiting who would not wait without it.
        let mut until = self.members.first().map_or(end, |first| first.deadline());
        let mut next = self.members.pop();
        while let Some(mut member) = next.take() {
            let turn = member.run(session, until);
            match turn {
                Turn::Over | Turn::Gone => self.members.push(member),
                Turn::Unfit => self.unfit.push(member),
            }
            if turn == Turn::Gone {
                return Ok(Shared::Gone);
            }
            until = end;
            if Instant::now() < end && self.members.len() < self.limits.max {
                next = self.queue.take_next(self.least_deadline());
            }
        }
        Ok(match session.execute_internal(COMMIT) {
            Ok(()) => Shared::Ended(None),
            Err(error) if commit_error(session, &error).outcome() == Outcome::NotApplied => {
                Shared::Gone
            }
            Err(error) => Shared::Ended(Some(error)),
        })
    }

    /// Answers the first write.
    fn fail(&mut self, error: Error) {
        if let Some(mut first) = self.members.pop() {
            first.fail(error);
            first.answer(None);
        }
    }

    /// Answers what has shared a transaction, and runs the rest.
    fn answer(
        &mut self,
        session: &mut Session,
        checkout: &CheckoutSlot,
        failure: Option<&rusqlite::Error>,
    ) -> bool {
        let error = |session: &Session| failure.map(|failure| commit_error(session, failure));
        let reason = session.reset(error(session).as_ref());
        let is_last = self.unfit.is_empty() || reason.is_some();
        let usable = !is_last || release(checkout, reason);
        for mut member in self.members.drain(..) {
            member.answer(error(session));
        }
        if is_last { usable } else { self.run_alone(session, checkout) }
    }

    /// Runs each write by itself.
    fn run_alone(&mut self, session: &mut Session, checkout: &CheckoutSlot) -> bool {
        let mut reason = session.reset(None);
        let mut left = self.members.drain(..).chain(self.unfit.drain(..)).peekable();
        while reason.is_none()
            && let Some(mut member) = left.next()
        {
            reason = member.run_alone(session);
            if reason.is_none() && left.peek().is_some() {
                member.answer(None);
                continue;
            }
            // The connection returns to the pool before its last call learns of its end.
            let usable = release(checkout, reason);
            member.answer(None);
            return usable;
        }
        // Those that are dropped unanswered have lost their connection before they ran.
        release(checkout, reason)
    }
}

/// The error of a commit, for one of the calls that shared it.
fn commit_error(session: &Session, error: &rusqlite::Error) -> Error {
    let code = error.sqlite_error().map_or(ffi::SQLITE_INTERNAL, |error| error.extended_code);
    let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
    session.translate(error, COMMIT, Step::Commit)
}
