//! The faults of a run and their times: the same for the same seed.

use std::time::Duration;

use super::dialect::Dialect;
use crate::harness::proxy::{Cut, Direction, Fault, Place, Then};

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    /// A connection is ended by the database: a backend gets SIGTERM, as by `pg_terminate_backend`; KILL CONNECTION.
    Terminated,
    /// A backend gets SIGKILL: the server crashes and restarts itself.
    Killed,
    /// The whole server crashes and is started again.
    Restarted,
    /// A connection is cut at some byte.
    Cut,
    /// The database's answer is lost from some byte on, then the connection; of MariaDB also the commit itself.
    AnswerLost,
    /// KILL QUERY by another connection ends the statement of one.
    QueryKilled,
    /// The server is stopped in order, and started again.
    Stopped,
    /// The server refuses to write for a while.
    ReadOnly,
    /// The server has no room for some connections for a while.
    NoRoom,
}

/// A fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InjectedFault {
    /// The backend of the `pick`th of the connections at work is terminated.
    Terminate { pick: usize },
    /// The same, with SIGKILL.
    Kill { pick: usize },
    /// The server crashes: all of it in a moment, or the postmaster first.
    Restart { postmaster_first: bool },
    /// A fault of the proxy.
    Connection(Fault),
    /// The statement of the `pick`th of the connections at work is killed.
    KillQuery { pick: usize },
    /// The server is stopped in order, and started again.
    Stop,
    /// The server refuses to write.
    RefuseWrites { lasts: Duration },
    /// The server has less room than the pool needs.
    TakeRoom { lasts: Duration },
}

impl InjectedFault {
    fn new(kind: FaultKind, number: usize, dialect: Dialect, random: &mut fastrand::Rng) -> Self {
        let mut lasts = |most| Duration::from_millis(random.u64(10..most));
        match kind {
            FaultKind::ReadOnly => Self::RefuseWrites { lasts: lasts(400) },
            FaultKind::NoRoom => Self::TakeRoom { lasts: lasts(200) },
            FaultKind::Stopped => Self::Stop,
            FaultKind::QueryKilled => Self::KillQuery { pick: random.usize(..1000) },
            FaultKind::Terminated => Self::Terminate { pick: random.usize(..1000) },
            FaultKind::Killed => Self::Kill { pick: random.usize(..1000) },
            FaultKind::Restarted => Self::Restart { postmaster_first: number % 2 == 1 },
            FaultKind::Cut => Self::Connection(cut(dialect, random)),
            FaultKind::AnswerLost => Self::Connection(answer_lost(dialect, random)),
        }
    }

    /// Its kind.
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Self::Terminate { .. } => FaultKind::Terminated,
            Self::Kill { .. } => FaultKind::Killed,
            Self::Restart { .. } => FaultKind::Restarted,
            Self::Connection(Fault { then: Then::Cut(Cut::Reset | Cut::Close), .. }) => {
                FaultKind::Cut
            }
            Self::Connection(Fault { then: Then::Cut(Cut::Abandon) | Then::Lose(_), .. }) => {
                FaultKind::AnswerLost
            }
            Self::KillQuery { .. } => FaultKind::QueryKilled,
            Self::Stop => FaultKind::Stopped,
            Self::RefuseWrites { .. } => FaultKind::ReadOnly,
            Self::TakeRoom { .. } => FaultKind::NoRoom,
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The database that it is for.
    pub(super) dialect: Dialect,
    /// The seed, from which the clients' choices follow, too.
    pub(super) seed: u64,
    /// The number of clients that write at once.
    pub(super) clients: u64,
    /// The faults, one after the other.
    pub(super) faults: Vec<InjectedFault>,
}

impl Plan {
    /// A plan of so many faults: of every kind some, most of them at the wire.
    pub(super) fn new(faults: usize, seed: u64) -> Self {
        let share = |number: usize, of: usize| (faults * number / of).max(1);
        let others = [
            (FaultKind::Restarted, share(1, 125)),
            (FaultKind::Killed, share(1, 25)),
            (FaultKind::Terminated, share(3, 20)),
            (FaultKind::Cut, share(2, 5)),
        ];
        let count: usize = others.iter().map(|(_, count)| count).sum();
        let lost = (FaultKind::AnswerLost, faults.saturating_sub(count).max(1));
        Self::of(&[&others[..], &[lost]].concat(), seed)
    }

    /// The same for MariaDB, with the faults that it has.
    pub(super) fn of_mariadb(faults: usize, seed: u64) -> Self {
        let share = |number: usize, of: usize| (faults * number / of).max(1);
        let others = [
            (FaultKind::Restarted, share(1, 40)),
            (FaultKind::Stopped, share(1, 40)),
            (FaultKind::ReadOnly, share(1, 25)),
            (FaultKind::NoRoom, share(1, 25)),
            (FaultKind::Terminated, share(3, 20)),
            (FaultKind::QueryKilled, share(1, 5)),
            (FaultKind::Cut, share(1, 4)),
        ];
        let count: usize = others.iter().map(|(_, count)| count).sum();
        let lost = (FaultKind::AnswerLost, faults.saturating_sub(count).max(1));
        Self::on(Dialect::Mariadb, &[&others[..], &[lost]].concat(), seed)
    }

    /// A plan of so many faults of some kinds, in any order.
    pub(super) fn of(counts: &[(FaultKind, usize)], seed: u64) -> Self {
        Self::on(Dialect::Postgres, counts, seed)
    }

    /// The same for either database.
    pub(super) fn on(dialect: Dialect, counts: &[(FaultKind, usize)], seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut faults = Vec::new();
        for (kind, count) in counts {
            let new = |number| InjectedFault::new(*kind, number, dialect, &mut random);
            faults.extend((0..*count).map(new));
        }
        random.shuffle(&mut faults);
        Self { dialect, seed, clients: 32, faults }
    }

    /// Counts the faults of a kind.
    pub(super) fn count(&self, kind: FaultKind) -> usize {
        self.faults.iter().filter(|fault| fault.kind() == kind).count()
    }
}

/// A unit takes about 500 bytes up and 300 down: at random some of these hit the middle of a message,
/// others the next unit or the one after it. Every other one hits a commit: when it has just been sent,
/// or its answer, or that of what is asked for just before it, which is also how single statements end.
fn cut(dialect: Dialect, random: &mut fastrand::Rng) -> Fault {
    let cut = if random.bool() { Cut::Reset } else { Cut::Close };
    let commit = match dialect {
        Dialect::Postgres => "COMMIT\0",
        Dialect::Mariadb => "COMMIT",
    };
    let (direction, place) = match random.bool() {
        true if dialect == Dialect::Mariadb => (Direction::Down, Place::Byte(random.u64(..900))),
        true => (Direction::Down, place(random, 900)),
        false if random.bool() => (Direction::Up, Place::Text(commit)),
        false => (Direction::Up, Place::Byte(random.u64(..1500))),
    };
    Fault { direction, place, then: Then::Cut(cut) }
}

/// MariaDB's answers have no words: a commit is the last that the server hears, and acts upon, or is lost itself.
fn answer_lost(dialect: Dialect, random: &mut fastrand::Rng) -> Fault {
    let then = Then::Lose(Duration::from_millis(random.u64(1..30)));
    let commit = Place::Text("COMMIT");
    let (direction, place, then) = match dialect {
        Dialect::Postgres => (Direction::Down, place(random, 900), then),
        Dialect::Mariadb => match random.u8(..4) {
            0 => (Direction::Up, commit, then),
            1 => (Direction::Up, commit, Then::Cut(Cut::Abandon)),
            _ => (Direction::Down, Place::Byte(random.u64(..900)), then),
        },
    };
    Fault { direction, place, then }
}

fn place(random: &mut fastrand::Rng, bytes: u64) -> Place {
    let byte = random.u64(..bytes);
    match random.u8(..4) {
        0 => Place::Text("COMMIT\0"),
        1 => Place::Text("SELECT 1\0"),
        _ => Place::Byte(byte),
    }
}

#[test]
fn a_seed_always_gives_the_same_plan() {
    let plan = |seed| Plan::new(1000, seed).faults;
    assert_eq!(plan(7), plan(7));
    assert_ne!(plan(7), plan(8));
}

#[test]
fn a_thousand_faults_of_mariadb_are_enough_of_every_kind() {
    let plan = Plan::of_mariadb(1000, 1);
    assert_eq!(plan.faults.len(), 1000);
    for kind in plan.faults.iter().map(InjectedFault::kind) {
        assert!(plan.count(kind) >= 20, "{kind:?}");
    }
    assert!(plan.count(FaultKind::ReadOnly) >= 20 && plan.count(FaultKind::NoRoom) >= 20);
}

#[test]
fn a_thousand_faults_are_enough_of_every_kind() {
    let plan = Plan::new(1000, 1);
    assert_eq!(plan.faults.len(), 1000);
    assert!(plan.count(FaultKind::Restarted) >= 5);
    for kind in [FaultKind::Terminated, FaultKind::Killed, FaultKind::Cut, FaultKind::AnswerLost] {
        assert!(plan.count(kind) >= 20, "{kind:?}");
    }
}
