//! The tests of the whole: the real binary on free ports, over the embedded SQLite and over private
//! PostgreSQL servers, asked by ordinary gRPC clients.
//!
//! | module | holds |
//! |---|---|
//! | `harness` | databases, servers and clients for tests |
//! | `contract` | what every backend must answer, run for each of them |
//! | `types` | every PostgreSQL type, compared with what `psql` prints |
//! | `audit` | what a connection is at each checkout, and what it is asked for on the way |
//! | `session` | statements that dirty their session, and the callers after them |
//! | `plans` | prepared statements that are kept, while tables change below them |
//! | `outage` | a database that goes away and comes back |
//! | `breaker` | how calls fail while a database is away, who tries it, and how soon all is back |
//! | `failover` | several servers, one of which takes writes, and secrets that change |
//! | `batch` | commits whose answer is lost, keys, callers who want the same row |
//! | `cancel` | statements that are stopped: by a deadline, by a caller who goes, past a frozen database |
//! | `transact` | how interactive transactions end by themselves, and how much they hold |
//! | `self_ended` | transactions that SQLite ends by itself, and what comes after |
//! | `chaos` | a database under faults, and whether callers are told the truth |
//! | `conformance` | statements that each way of the API answers alike |
//! | `connect` | ways to the database: sockets, TLS, passwords, variables |
//! | `front_door` | deadlines, limits on connections, descriptors that run out |
//! | `shutdown` | the end of a server, with calls that must not fail and clients who do not go |
//! | `pool` | what operators do to a pool, seen in PostgreSQL |
//! | `pool_life` | connections that are replaced, leaks that are told, callers that share |
//! | `doubt` | what is said of a commit whose answer is lost, late, or of nobody who knows; what keys hold |
//! | `logs` | the log, and what must not be in it |
//! | `statements` | prepared statements: more than a connection keeps, and such as somebody closed |
//! | `status_page` | what operators are shown at `/`, and what of it could run or lead elsewhere |
//! | `stream` | a million rows, and how much memory they take |
//! | `unread` | streams that nobody reads: what they cost, and that they end |
//! | `config_cli` | the command line, and configurations with mistakes |
//! | `idempotency_cli` | the command that makes the table of idempotency keys |
//! | `readme` | the commands that README.md shows |
//! | `telemetry` | traces, metrics and logs, as those see them who watch a server |
//! | `tidy` | the rules of the architecture that a program can check |

#[cfg(test)]
mod audit;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod breaker;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod config_cli;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod doubt;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod front_door;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod idempotency_cli;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod pool_life;
#[cfg(test)]
mod procedures;
mod readme;
#[cfg(test)]
mod self_ended;
mod session;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod statements;
#[cfg(test)]
mod status_page;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod tidy;
mod trace;
#[cfg(test)]
mod transact;
#[cfg(test)]
mod types;
#[cfg(test)]
mod unread;
