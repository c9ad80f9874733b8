//! The ratios that must hold, and those that are wanted.

use crate::plan::{
    ALCHEMY, FULL, LANES, NO_IDENTITY, ON_MARIADB, ON_POSTGRES, PGBENCH, POOLED, POOLER, TOKEN,
    WEB_TOKEN,
};
use crate::rounds::Results;

const MIB: f64 = 1_048_576.0;

pub struct Target {
    pub title: &'static str,
    pub unit: &'static str,
    pub must: f64,
    pub goal: f64,
    /// Says whether less is better.
    pub at_most: bool,
    /// None where a figure that it needs was not measured.
    pub value: Option<f64>,
}

impl Target {
    pub fn verdict(&self) -> &'static str {
        let Some(value) = self.value else { return "not measured" };
        let holds = |bound: f64| if self.at_most { value <= bound } else { value >= bound };
        match (holds(self.goal), holds(self.must)) {
            (true, _) => "goal met",
            (false, true) => "must met",
            (false, false) => "MISSED",
        }
    }
}

/// A figure of a row: the row, the variant, the figure.
type Figure = (&'static str, &'static str, &'static str);

struct Builder<'a> {
    results: &'a Results,
    targets: Vec<Target>,
}

impl Builder<'_> {
    fn get(&self, (row, label, figure): Figure) -> Option<f64> {
        self.results.median(row, label, figure)
    }

    fn ratio(&self, above: Figure, below: Figure) -> Option<f64> {
        Some(self.get(above)? / self.get(below)?)
    }

    fn at_least(
        &mut self,
        title: &'static str,
        unit: &'static str,
        bounds: [f64; 2],
        value: Option<f64>,
    ) {
        let [must, goal] = bounds;
        self.targets.push(Target { title, unit, must, goal, at_most: false, value });
    }

    fn at_most(
        &mut self,
        title: &'static str,
        unit: &'static str,
        bounds: [f64; 2],
        value: Option<f64>,
    ) {
        let [must, goal] = bounds;
        self.targets.push(Target { title, unit, must, goal, at_most: true, value });
    }

    fn selects(&mut self) {
        let rate = |row, label| (row, label, "per_second");
        let few = "select-32";
        let many = "select-128";
        let by = |a, b| self.ratio(a, b);
        let lanes_pooler = by(rate(few, LANES), rate(few, POOLER));
        let lanes_direct = by(rate(few, LANES), rate(few, PGBENCH));
        let many_pooler = by(rate(many, LANES), rate(many, POOLER));
        let many_direct = by(rate(many, LANES), rate(many, PGBENCH));
        let cost = |row| (row, LANES, "gateway_us");
        let few_cost = self.get(cost(few));
        let many_cost = self.get(cost(many));
        self.at_least(
            "32 in flight, lanes: queries/s against PgBouncer",
            "×",
            [1.8, 2.5],
            lanes_pooler,
        );
        self.at_least(
            "32 in flight, lanes: queries/s against direct pgbench, prepared",
            "×",
            [0.75, 1.0],
            lanes_direct,
        );
        self.at_most(
            "32 in flight, lanes: processor time of the gateway",
            "µs",
            [13.0, 9.0],
            few_cost,
        );
        self.at_least(
            "128 in flight, lanes: queries/s against PgBouncer",
            "×",
            [2.2, 2.8],
            many_pooler,
        );
        self.at_least(
            "128 in flight, lanes: queries/s against direct pgbench, prepared",
            "×",
            [1.15, 1.4],
            many_direct,
        );
        self.at_most(
            "128 in flight, lanes: processor time of the gateway",
            "µs",
            [11.0, 8.0],
            many_cost,
        );
    }

    /// The same processor times on any machine: the microseconds are those of one on which PgBouncer takes 20.
    fn shares(&mut self) {
        let share = |row| self.ratio((row, LANES, "gateway_us"), (row, POOLER, "pooler_us"));
        let [few, many] = ["select-32", "select-128"].map(share);
        self.at_most(
            "32 in flight, lanes: processor time of the gateway against PgBouncer's",
            "×",
            [0.65, 0.45],
            few,
        );
        self.at_most(
            "128 in flight, lanes: processor time of the gateway against PgBouncer's",
            "×",
            [0.55, 0.4],
            many,
        );
    }

    fn pooled(&mut self) {
        let rate = |label| ("select-32", label, "per_second");
        let against = self.ratio(rate(POOLED), rate(POOLER));
        let cost = self.get(("select-32", POOLED, "gateway_us"));
        self.at_least(
            "32 in flight, pooled: queries/s against PgBouncer",
            "×",
            [1.15, 1.5],
            against,
        );
        self.at_most(
            "32 in flight, pooled: processor time of the gateway",
            "µs",
            [24.0, 18.0],
            cost,
        );
    }

    fn rows_and_transactions(&mut self) {
        let rate = |row, label| (row, label, "per_second");
        let batch = self.ratio(rate("tpcb", "Rowgate batch"), rate("tpcb", PGBENCH));
        let stream = self.ratio(rate("tpcb", "Rowgate stream"), rate("tpcb", PGBENCH));
        let rows = self.get(rate("rows", "Rowgate ROWS")).map(|rate| rate / 1e6);
        let arrow = self.get(rate("rows", "Rowgate ARROW")).map(|rate| rate / 1e6);
        let python =
            self.ratio(rate("python", "grpcio ARROW"), rate("python", "asyncpg fetch, direct"));
        self.at_least(
            "TPC-B as one batch: transactions/s against direct pgbench, prepared",
            "×",
            [1.2, 1.6],
            batch,
        );
        self.at_least(
            "TPC-B as a stream: transactions/s against direct pgbench, prepared",
            "×",
            [0.45, 0.7],
            stream,
        );
        self.at_least("1 M rows as ROWS", "M rows/s", [2.5, 3.5], rows);
        self.at_least("1 M rows as ARROW", "M rows/s", [4.5, 6.0], arrow);
        self.at_least(
            "1 M rows into a pyarrow Table: times as fast as asyncpg's fetch",
            "×",
            [4.0, 6.0],
            python,
        );
    }

    fn quality(&mut self) {
        let built = self.get(("slow", "Rowgate lanes alone", "per_second")).is_some();
        let [alone, beside] = if built {
            ["Rowgate lanes alone", "Rowgate lanes beside 8 slow"]
        } else {
            ["Rowgate pooled alone", "Rowgate pooled beside 8 slow"]
        };
        let kept = self.ratio(("slow", beside, "per_second"), ("slow", alone, "per_second"));
        let tail = self.ratio(("slow", beside, "p99_us"), ("slow", alone, "p99_us"));
        let best = if self.get(("select-1", LANES, "p50_us")).is_some() { LANES } else { POOLED };
        let added =
            self.get(("select-1", best, "p50_us")).zip(self.get(("select-1", POOLER, "p50_us")));
        let memory =
            self.get(("memory", "1 M rows, slow reader too", "bytes")).map(|bytes| bytes / MIB);
        let idle =
            self.get(("memory", "idle gRPC connection", "bytes")).map(|bytes| bytes / 1024.0);
        self.at_least(
            "eight slow statements among the point selects: throughput kept",
            "×",
            [0.8, 0.95],
            kept,
        );
        self.at_most(
            "eight slow statements among the point selects: p99 against undisturbed",
            "×",
            [1.5, 1.2],
            tail,
        );
        let added = added.map(|(ours, pooler)| ours - pooler);
        self.at_most(
            "latency added at 1 in flight, over PgBouncer's (medians)",
            "µs",
            [40.0, 20.0],
            added,
        );
        self.at_most(
            "gateway memory during 1 M rows, slow reader included",
            "MiB",
            [16.0, 8.0],
            memory,
        );
        self.at_most("memory of an idle gRPC connection", "KiB", [20.0, 16.0], idle);
    }
}

impl Builder<'_> {
    /// The cost of identities, by the processor time of the gateway, and of connections with TLS.
    fn access(&mut self) {
        let cost = |label| ("identity", label, "gateway_us");
        for (title, label) in [
            ("point selects with a token: processor time of the gateway against none", TOKEN),
            (
                "point selects with a JSON Web Token: processor time of the gateway against none",
                WEB_TOKEN,
            ),
        ] {
            let ratio = self.ratio(cost(label), cost(NO_IDENTITY));
            self.at_most(title, "×", [1.05, 1.02], ratio);
        }
        let each = self.get(("handshakes", FULL, "gateway_us"));
        self.at_least(
            "handshakes of TLS a second and core of the gateway",
            "/s",
            [500.0, 2000.0],
            each.map(|micros| 1e6 / micros),
        );
    }
}

impl Builder<'_> {
    /// Against the stack of Python that Rowgate replaces on MariaDB, and against itself on PostgreSQL.
    fn mariadb(&mut self) {
        let rate = |row, label| (row, label, "per_second");
        let cost = |label| ("mariadb", label, "gateway_us");
        let selects = self.ratio(rate("mariadb", ON_MARIADB), rate("mariadb", ALCHEMY));
        let rows = self.ratio(rate("mariadb-rows", "Rowgate ROWS"), rate("mariadb-rows", ALCHEMY));
        let against = self.ratio(cost(ON_MARIADB), cost(ON_POSTGRES));
        self.at_least(
            "MariaDB: point selects a second against PyMySQL + SQLAlchemy with pre-ping",
            "×",
            [15.0, 25.0],
            selects,
        );
        self.at_least("MariaDB: 1 M rows against PyMySQL + SQLAlchemy", "×", [15.0, 25.0], rows);
        self.at_most(
            "MariaDB: processor time of the gateway against PostgreSQL's, pooled",
            "×",
            [1.2, 1.0],
            against,
        );
    }
}

pub fn targets(results: &Results) -> Vec<Target> {
    let mut builder = Builder { results, targets: Vec::new() };
    builder.selects();
    builder.shares();
    builder.pooled();
    builder.rows_and_transactions();
    builder.quality();
    builder.access();
    builder.mariadb();
    builder.targets
}
