//! Simulations of a pool under a paused clock: each seed gives a database with its failures, callers and
//! operators.
//!
//! A simulation that fails prints its seed. `ROWGATE_SEED=n` repeats that one; `ROWGATE_LIVES=n` runs more of
//! them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use fastrand::Rng;
use tokio::task::LocalSet;

use super::*;

/// Simulations in an ordinary run.
const LIVES: u64 = 2000;
const MS: Duration = Duration::from_millis(1);
/// Twice the resolution of a timer.
const GRAIN: Duration = Duration::from_millis(3);

/// The database of one simulation.
struct World {
    rng: parking_lot::Mutex<Rng>,
    /// No more failures are injected.
    healed: AtomicBool,
    /// There are no failures and no delays: the caller that is admitted first is served first.
    calm: bool,
    /// The database can be reached.
    up: AtomicBool,
    /// Validations and attempts to connect hang.
    hangs: AtomicBool,
    /// Connections that are open or being opened.
    live: AtomicUsize,
    most: AtomicUsize,
    /// The largest bound that the pool had.
    bound: AtomicUsize,
    /// The number of times that all connections were lost.
    generation: AtomicUsize,
}

struct Session {
    world: Arc<World>,
    generation: usize,
    lost: bool,
}

struct Live(Arc<World>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, SeqCst);
    }
}

struct Database(Arc<World>);

impl World {
    fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.rng.lock().u64(range))
    }

    fn happens(&self, percent: u8) -> bool {
        !self.calm && !self.healed.load(SeqCst) && self.rng.lock().u8(0..100) < percent
    }
}

impl Manager for Database {
    type Connection = (Session, Live);

    const BOUND_TO_WORKER: bool = true;

    async fn connect(&self) -> Result<(Session, Live)> {
        let world = &self.0;
        let open = world.live.fetch_add(1, SeqCst) + 1;
        let live = Live(Arc::clone(world));
        world.most.fetch_max(open, SeqCst);
        assert!(open <= world.bound.load(SeqCst), "{open} connections");
        if !world.calm {
            pass(world.millis(0..60)).await;
            if world.hangs.load(SeqCst) {
                std::future::pending::<()>().await;
            }
            if !world.up.load(SeqCst) || world.happens(5) {
                return Err(Error::new(ErrorKind::DatabaseUnavailable, "away"));
            }
        }
        let generation = world.generation.load(SeqCst);
        Ok((Session { world: Arc::clone(world), generation, lost: false }, live))
    }

    fn is_usable(&self, (session, _): &(Session, Live)) -> bool {
        !session.lost
    }

    async fn validate(&self, (session, _): &mut (Session, Live)) -> bool {
        if session.world.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        session.world.up.load(SeqCst) && session.generation == session.world.generation.load(SeqCst)
    }
}

/// The observations of one simulation.
#[derive(Default)]
struct Observed {
    served: u64,
    refused: BTreeMap<&'static str, u64>,
    given_up: u64,
    /// The numbers of the calls that were served, by caller, in that order.
    order: BTreeMap<usize, Vec<u64>>,
}

struct Simulation {
    world: Arc<World>,
    pool: Pool<Database>,
    settings: PoolSettings,
    observed: RefCell<Observed>,
}

fn draw_settings(rng: &mut Rng) -> PoolSettings {
    let max = rng.usize(1..6);
    let millis = |rng: &mut Rng, range| Duration::from_millis(rng.u64(range));
    PoolSettings {
        min: rng.usize(0..=max),
        overflow: rng.usize(0..3),
        acquire_timeout: millis(rng, 20..500),
        connect_timeout: millis(rng, 65..300),
        max_waiting: rng.usize(0..25),
        idle_timeout: millis(rng, 0..3000),
        max_lifetime: millis(rng, 500..4000),
        lifetime_jitter: rng.f64() / 2.0,
        validate_after_idle: millis(rng, 0..2000),
        leak_threshold: millis(rng, 1..400),
        ..settings(max, 0)
    }
}

impl Simulation {
    fn new(seed: u64) -> Rc<Self> {
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let mut settings = draw_settings(&mut rng);
        let calm = rng.u8(0..4) == 0;
        if calm {
            // Every caller that waits is served in the end.
            settings.acquire_timeout = Duration::from_secs(3600);
            settings.max_waiting = 1000;
        }
        let world = Arc::new(World {
            rng: parking_lot::Mutex::new(rng),
            healed: AtomicBool::default(),
            calm,
            up: AtomicBool::new(true),
            hangs: AtomicBool::default(),
            live: AtomicUsize::default(),
            most: AtomicUsize::default(),
            bound: AtomicUsize::new(settings.max.get() + settings.overflow),
            generation: AtomicUsize::default(),
        });
        let pool = Pool::new(&Telemetry::silent("db"), &settings, Database(Arc::clone(&world)));
        Rc::new(Self { world, pool, settings, observed: RefCell::default() })
    }

    /// A caller: several calls, one after the other.
    async fn call(self: Rc<Self>, caller: usize, first: u64) {
        let calls = self.world.rng.lock().u64(1..12);
        for number in first..first + calls {
            pass(self.world.millis(0..80)).await;
            self.one_call(caller, number).await;
            self.check_now();
        }
    }

    async fn one_call(&self, caller: usize, number: u64) {
        let world = &self.world;
        let context = CallContext::new(
            Arc::default(),
            format!("10.0.0.{caller}").into(),
            "Query",
            Arc::default(),
        );
        let start = now();
        let given = if world.calm { 7200 * 1000 * MS } else { world.millis(1..700) };
        let deadline = Deadline::at(start + given);
        let acquiring = self.pool.acquire(deadline, &context);
        let patience = if world.happens(10) { world.millis(0..100) } else { 2 * given };
        let Ok(acquired) = tokio::time::timeout(patience, acquiring).await else {
            self.observed.borrow_mut().given_up += 1;
            return;
        };
        let took = now() - start;
        assert!(took <= given + GRAIN, "it took {took:?} of {given:?}");
        let mut held = match acquired {
            Ok(held) => held,
            Err(error) => return self.failed(&error, took),
        };
        self.observed.borrow_mut().served += 1;
        self.observed.borrow_mut().order.entry(caller).or_default().push(number);
        if context.is_terminated() {
            return;
        }
        let slow = world.happens(5);
        let time = if slow { world.millis(100..1500) } else { world.millis(0..30) };
        drop(tokio::time::timeout(time, context.terminated()).await);
        if held.0.generation != world.generation.load(SeqCst) || world.happens(3) {
            held.0.lost = true;
            held.discard(CloseReason::Broken);
        } else if world.happens(3) {
            held.discard(CloseReason::Dirty);
        }
    }

    fn failed(&self, error: &Error, took: Duration) {
        let kind = error.kind();
        let waited = [ErrorKind::PoolExhausted, ErrorKind::PoolPaused].contains(&kind);
        assert!(!waited || took <= self.settings.acquire_timeout + GRAIN, "{error:?}: {took:?}");
        let unreachable = kind == ErrorKind::DatabaseUnavailable && !self.world.calm;
        assert!(waited || unreachable || kind == ErrorKind::DeadlineExceeded, "{error:?}");
        *self.observed.borrow_mut().refused.entry(kind.reason()).or_default() += 1;
    }

    /// Applies events to the database, and commands of operators to the pool.
    async fn run_events(self: Rc<Self>) {
        if self.world.calm {
            return;
        }
        let events = self.world.rng.lock().u8(0..15);
        for _ in 0..events {
            pass(self.world.millis(0..250)).await;
            let event = self.world.rng.lock().u8(0..11);
            self.apply_event(event).await;
            self.check_now();
        }
        self.heal();
    }

    async fn apply_event(&self, event: u8) {
        let world = &self.world;
        match event {
            0 => world.up.store(false, SeqCst),
            1 | 2 => world.up.store(true, SeqCst),
            3 => world.hangs.store(true, SeqCst),
            4 | 5 => world.hangs.store(false, SeqCst),
            // All connections are lost without notice.
            6 => drop(world.generation.fetch_add(1, SeqCst)),
            7 => {
                self.pool.pause();
                pass(world.millis(0..300)).await;
                self.pool.resume();
            }
            8 => self.pool.flush(CloseReason::Failover),
            9 => {
                let (min, max) = {
                    let mut rng = world.rng.lock();
                    let max = rng.usize(1..8);
                    (rng.usize(0..=max), max)
                };
                world.bound.fetch_max(max + self.settings.overflow, SeqCst);
                self.pool.resize(Some(min), Some(max)).expect("it fits");
            }
            _ => {
                let all = self.pool.checkouts();
                if let Some(one) = world.rng.lock().choice(&all) {
                    assert!(self.pool.terminate(one.id, crate::pool::Termination::Operator));
                }
            }
        }
    }

    fn heal(&self) {
        self.world.healed.store(true, SeqCst);
        self.world.up.store(true, SeqCst);
        self.world.hangs.store(false, SeqCst);
        self.pool.resume();
        self.pool.reached();
    }

    /// Checks the invariants of every moment.
    fn check_now(&self) {
        let now = self.pool.snapshot();
        let closed: u64 = now.closed.iter().sum();
        assert_eq!(now.opened - closed, u64::try_from(now.open).expect("few"), "{now:?}");
        assert_eq!(now.open + now.connecting, self.world.live.load(SeqCst), "{now:?}");
        assert!(now.waiting <= self.settings.max_waiting, "{now:?}");
        let out = self.pool.checkouts();
        assert!(out.len() <= self.pool.0.queue.admitted(), "{now:?}");
        assert!(out.windows(2).all(|pair| pair[0].id < pair[1].id));
    }

    /// Checks the state after all work has ended.
    async fn check_end(&self) {
        // The longest pause of the refill, a connect that hung, and the time to open all.
        pass(Duration::from_secs(8)).await;
        let mut polls = 0;
        // They expire meanwhile: at one of these moments all of them are open.
        while self.pool.snapshot().open < self.pool.snapshot().min && polls < 50 {
            pass(20 * MS).await;
            polls += 1;
        }
        self.check_now();
        let end = self.pool.snapshot();
        let observed = self.observed.borrow();
        assert_eq!((self.pool.0.queue.admitted(), end.waiting), (0, 0), "{end:?}");
        assert_eq!(self.pool.checkouts(), []);
        assert_eq!((end.connecting, end.in_use), (0, 0), "{end:?}");
        assert!(end.open >= end.min && end.open <= end.max, "{end:?}");
        let refused = |reason| observed.refused.get(reason).copied().unwrap_or_default();
        assert!(
            end.acquired >= observed.served && end.acquired <= observed.served + observed.given_up
        );
        let rejected = refused("POOL_EXHAUSTED") + refused("POOL_PAUSED");
        assert!(end.rejected <= rejected + observed.given_up, "{end:?}");
        assert!(
            end.timeouts <= observed.refused.values().sum::<u64>() + observed.given_up,
            "{end:?}"
        );
        if self.world.calm {
            assert_eq!((observed.refused.len(), observed.given_up), (0, 0));
        }
    }
}

/// Callers of one name that all wait are served in the order in which they came.
async fn check_order(simulation: &Rc<Simulation>) {
    let local = LocalSet::new();
    let held: Vec<_> = {
        let mut held = Vec::new();
        let limit = simulation.settings.max.get() + simulation.settings.overflow;
        for _ in 0..limit {
            let all = CallContext::own("all");
            let soon = Deadline::at(now() + Duration::from_secs(3600));
            held.push(simulation.pool.acquire(soon, &all).await.expect("it is idle or opened"));
            simulation.observed.borrow_mut().served += 1;
        }
        held
    };
    simulation.observed.borrow_mut().order.clear();
    for number in 0..40 {
        let simulation = Rc::clone(simulation);
        let caller = simulation.world.rng.lock().usize(0..4);
        local.spawn_local(async move { simulation.one_call(caller, number).await });
    }
    local.run_until(async { pass(MS).await }).await;
    assert_eq!(simulation.pool.snapshot().waiting, 40);
    drop(held);
    local.await;
    for (caller, order) in &simulation.observed.borrow().order {
        assert!(order.is_sorted(), "caller {caller} was served as {order:?}");
    }
}

fn simulate(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let simulation = Simulation::new(seed);
        simulation.pool.warm_up(0).await.expect("nothing is opened");
        let local = LocalSet::new();
        let tasks = simulation.world.rng.lock().usize(1..15);
        for task in 0..tasks {
            // The first caller has most of them.
            let caller = if task < tasks / 2 { 0 } else { task };
            let first = u64::try_from(task * 1000).expect("few");
            local.spawn_local(Rc::clone(&simulation).call(caller, first));
        }
        local.spawn_local(Rc::clone(&simulation).run_events());
        local.await;
        simulation.check_end().await;
        if simulation.world.calm {
            check_order(&simulation).await;
            simulation.check_end().await;
        }
        simulation.pool.close();
        assert_eq!(simulation.world.live.load(SeqCst), 0, "all are closed");
    });
}

#[expect(clippy::disallowed_methods, reason = "a failure is repeated, or looked for, by hand")]
fn wanted(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Prints the seed of a simulation that fails.
struct PrintSeed(u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat it with ROWGATE_SEED={}", self.0);
        }
    }
}

#[test]
fn a_pool_keeps_its_promises_in_every_life() {
    let one = wanted("ROWGATE_SEED").map(|seed| seed..seed + 1);
    let lives = one.unwrap_or(0..wanted("ROWGATE_LIVES").unwrap_or(LIVES));
    for seed in lives {
        let _seed = PrintSeed(seed);
        simulate(seed);
    }
}
