//! The faults of a run and their times: the same for the same seed.

use std::time::Duration;

use crate::harness::proxy::{Cut, Direction, Fault, Place, Then};

/// The sorts of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    /// A backend gets SIGTERM, as by `pg_terminate_backend`.
    Terminated,
    /// A backend gets SIGKILL: the server crashes and restarts itself.
    Killed,
    /// The whole server crashes and is started again.
    Restarted,
    /// A connection is cut at some byte.
    Cut,
    /// The database's answer is lost from some byte on, then the connection.
    AnswerLost,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    /// The backend of the `pick`th of the connections at work is terminated.
    Terminate { pick: usize },
    /// The same, with SIGKILL.
    Kill { pick: usize },
    /// The server crashes: all of it in a moment, or the postmaster first.
    Restart { postmaster_first: bool },
    /// A fault of the proxy.
    Connection(Fault),
}

impl Mishap {
    fn new(sort: Sort, number: usize, random: &mut fastrand::Rng) -> Self {
        match sort {
            Sort::Terminated => Self::Terminate { pick: random.usize(..1000) },
            Sort::Killed => Self::Kill { pick: random.usize(..1000) },
            Sort::Restarted => Self::Restart { postmaster_first: number % 2 == 1 },
            Sort::Cut => Self::Connection(cut(random)),
            Sort::AnswerLost => Self::Connection(answer_lost(random)),
        }
    }

    /// Its sort.
    pub(super) fn sort(&self) -> Sort {
        match self {
            Self::Terminate { .. } => Sort::Terminated,
            Self::Kill { .. } => Sort::Killed,
            Self::Restart { .. } => Sort::Restarted,
            Self::Connection(Fault { then: Then::Cut(_), .. }) => Sort::Cut,
            Self::Connection(Fault { then: Then::Lose(_), .. }) => Sort::AnswerLost,
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The seed, from which the clients' choices follow, too.
    pub(super) seed: u64,
    /// The number of clients that write at once.
    pub(super) clients: u64,
    /// The faults, one after the other.
    pub(super) mishaps: Vec<Mishap>,
}

impl Plan {
    /// A plan of so many faults: of every sort some, most of them at the wire.
    pub(super) fn new(faults: usize, seed: u64) -> Self {
        let share = |number: usize, of: usize| (faults * number / of).max(1);
        let others = [
            (Sort::Restarted, share(1, 125)),
            (Sort::Killed, share(1, 25)),
            (Sort::Terminated, share(3, 20)),
            (Sort::Cut, share(2, 5)),
        ];
        let count: usize = others.iter().map(|(_, count)| count).sum();
        let lost = (Sort::AnswerLost, faults.saturating_sub(count).max(1));
        Self::of(&[&others[..], &[lost]].concat(), seed)
    }

    /// A plan of so many faults of some sorts, in any order.
    pub(super) fn of(counts: &[(Sort, usize)], seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut mishaps = Vec::new();
        for (sort, count) in counts {
            mishaps.extend((0..*count).map(|number| Mishap::new(*sort, number, &mut random)));
        }
        random.shuffle(&mut mishaps);
        Self { seed, clients: 32, mishaps }
    }

    /// Counts the faults of a sort.
    pub(super) fn count(&self, sort: Sort) -> usize {
        self.mishaps.iter().filter(|mishap| mishap.sort() == sort).count()
    }
}

/// A unit takes about 500 bytes up and 300 down: at random some of these hit the middle of a message,
/// others the next unit or the one after it. Every other one hits a commit: when it has just been sent,
/// or its answer, or that of what is asked for just before it, which is also how single statements end.
fn cut(random: &mut fastrand::Rng) -> Fault {
    let cut = if random.bool() { Cut::Reset } else { Cut::Close };
    let (direction, place) = match random.bool() {
        true => (Direction::Down, place(random, 900)),
        false if random.bool() => (Direction::Up, Place::Text("COMMIT\0")),
        false => (Direction::Up, Place::Byte(random.u64(..1500))),
    };
    Fault { direction, place, then: Then::Cut(cut) }
}

fn answer_lost(random: &mut fastrand::Rng) -> Fault {
    let linger = Duration::from_millis(random.u64(1..30));
    Fault { direction: Direction::Down, place: place(random, 900), then: Then::Lose(linger) }
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
    let plan = |seed| Plan::new(1000, seed).mishaps;
    assert_eq!(plan(7), plan(7));
    assert_ne!(plan(7), plan(8));
}

#[test]
fn a_thousand_faults_are_enough_of_every_sort() {
    let plan = Plan::new(1000, 1);
    assert_eq!(plan.mishaps.len(), 1000);
    assert!(plan.count(Sort::Restarted) >= 5);
    for sort in [Sort::Terminated, Sort::Killed, Sort::Cut, Sort::AnswerLost] {
        assert!(plan.count(sort) >= 20, "{sort:?}");
    }
}
