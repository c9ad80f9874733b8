//! The statements of units where the databases' own words differ.

use rowgate::value::proto::Value;

use super::unit::{ACCOUNTS, BALANCE};
use crate::harness::behind::KEYS;
use crate::harness::mariadb::is_mysql;

/// The kinds of databases under faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    /// MariaDB, or MySQL.
    Mariadb,
}

/// Of PostgreSQL: a unit in one statement.
const UNIT: &str = "with token as (insert into units (token, shard) values ($1, $2)), \
    counter as (update counters set n = n + 1 where shard = $2), \
    transfer as (update accounts set balance = balance \
      + case id when $3 then -$5::bigint else $5::bigint end where id in ($3, $4)) \
    select $1::bigint as token";

impl Dialect {
    /// Counters: as many units can run at once. MariaDB's hold theirs for one round trip more.
    pub(super) fn shards(self) -> i64 {
        match self {
            Self::Postgres => 4,
            Self::Mariadb => 16,
        }
    }

    /// Makes the tables. Tokens have no unique index: a double must be seen, not refused.
    pub(super) fn setup(self) -> String {
        let (keys, children) = match self {
            Self::Postgres => (KEYS, "references parents deferrable initially deferred"),
            // The foreign key of a column alone is not enforced by MySQL.
            Self::Mariadb => ("", ", foreign key (parent) references parents (id)"),
        };
        let rows = |rows: Vec<String>| rows.join(", ");
        let counters = rows((0..self.shards()).map(|shard| format!("({shard}, 0)")).collect());
        let accounts = rows((1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect());
        format!(
            "create table units (token bigint not null, shard int not null);
             create table counters (shard int primary key, n bigint not null);
             insert into counters values {counters};
             create table accounts (id int primary key, balance bigint not null);
             insert into accounts values {accounts};
             create table parents (id bigint primary key);
             create table children (parent bigint {children});
             {keys}"
        )
    }

    /// A unit in one statement: that of MariaDB leaves its token only, for which there is no counter.
    pub(super) fn unit(self, token: i64, shard: i64, transfer: [i64; 3]) -> (String, Vec<Value>) {
        match self {
            Self::Postgres => {
                let [from, to, amount] = transfer;
                (UNIT.to_owned(), [token, shard, from, to, amount].map(Value::int64).to_vec())
            }
            Self::Mariadb => (self.insert(), [token, -1].map(Value::int64).to_vec()),
        }
    }

    /// Leaves a token, and returns it.
    pub(super) fn insert(self) -> String {
        let returning = if self.returns() { " returning token" } else { "" };
        format!("insert into units (token, shard) values ($1, $2){returning}")
    }

    /// Tells whether an insert can return its rows.
    pub(super) fn returns(self) -> bool {
        self == Self::Postgres || !is_mysql()
    }

    /// A statement that fails as it runs.
    pub(super) fn failing(self) -> &'static str {
        match self {
            Self::Postgres => "select 1 / 0",
            Self::Mariadb => "select exp(1000)",
        }
    }

    /// The sum over all accounts.
    pub(super) fn sum(self) -> &'static str {
        match self {
            Self::Postgres => "select sum(balance)::bigint from accounts",
            Self::Mariadb => "select cast(sum(balance) as signed) from accounts",
        }
    }
}
