//! The tests of the whole: the real binary on free ports, over the embedded SQLite and over private
//! PostgreSQL and MariaDB servers, asked by ordinary gRPC clients.
//!
//! | module | holds |
//! |---|---|
//! | `harness` | databases, servers and clients for tests |
//! | `floods` | floods of control frames on one connection |
//! | `security_page` | the ten minutes of docs/SECURITY.md |
//! | `access` | callers, and attacks on what they may not do |
//! | `call_settings` | settings that calls ask for: what they reach, who may, and that they are gone behind the call |
//! | `claims` | claims of callers under row-level security, and attacks on them |
//! | `contract` | the contract of every backend, run for each of them |
//! | `types` | every type of PostgreSQL, and of MariaDB and MySQL, compared with what their own client prints |
//! | `access_jwt` | callers with JSON Web Tokens: who gets in, and when they are out again |
//! | `jwks_url` | the keys of such tokens from an https URL |
//! | `audit` | connections at each checkout, examined from inside |
//! | `session` | statements that dirty their session, and the callers after them |
//! | `renewed_sessions` | state that only the end of a connection removes |
//! | `plans` | prepared statements that are kept, while tables change below them |
//! | `outcomes` | what is refused, what only reads, and what commands count |
//! | `outage` | a database that becomes unreachable and returns |
//! | `closed_effects` | statements that look harmless and reach somebody's code |
//! | `closed_operators` | operators of somebody's, and the statements that can reach them |
//! | `copy` | rows in bulk: what only PostgreSQL has, `rowgate copy`, and a million rows |
//! | `column_origins` | the origins of columns, and which can hold NULL, compared with what statements return |
//! | `own_statements` | the statements of the gateway itself, with everything in the search path shadowed |
//! | `look_alikes` | servers that lack what the gateway itself asks for |
//! | `breaker` | calls while a database is unreachable, the probes, and the recovery |
//! | `failover` | several servers, one of which accepts writes, and secrets that change |
//! | `galera` | a cluster of three nodes that all take writes |
//! | `arrow` | results as Arrow IPC streams, compared with the same results as rows |
//! | `backup` | backups of databases in use, their interruption and restoration, and the secrets of the programs that make them |
//! | `batch` | commits whose answer is lost, keys, conflicts over one row |
//! | `cancel` | statements that are cancelled: by a deadline, by a disconnected caller, past a frozen database |
//! | `transact` | how interactive transactions end by themselves, and how much they hold |
//! | `transaction_batches` | batches in interactive transactions: one round trip, and what faults leave of them |
//! | `self_ended` | transactions that SQLite ends by itself, and what comes after |
//! | `chaos` | a database under faults, and whether callers are told the truth |
//! | `client_list` | the conformance list for clients, `clients/conformance` |
//! | `conformance` | statements that each way of the API answers alike |
//! | `connect` | ways to the database: sockets, TLS, passwords, variables |
//! | `poolers` | databases behind PgBouncer |
//! | `tls` | connections of callers over TLS, their certificates, and files that change |
//! | `unix_socket` | a server on a Unix socket: its file, and callers by their users |
//! | `probes` | the listener for probes |
//! | `operators` | the operators' port: silent clients, and its token |
//! | `connection_limits` | deadlines, limits on connections, exhausted descriptors |
//! | `call_ends` | the frames that end a call, watches of health, and calls refused by their headers |
//! | `shutdown` | the shutdown of a server, with calls that must not fail and clients that do not disconnect |
//! | `signals` | signals that end a server: what goes on, what is cancelled, and what callers are told |
//! | `pool` | operators' actions on a pool, seen in PostgreSQL |
//! | `pool_life` | connections that are replaced, leaks that are reported, callers that share |
//! | `commit_outcome` | commits whose answer is lost or late, their resolution, and the rows of keys |
//! | `oracle` | random schemas whose code marks its session, and what the next caller sees of it |
//! | `lanes` | short reads that share connections |
//! | `listen` | listeners of channels: what arrives, gaps, and how they end |
//! | `scale_to_zero` | databases that nobody probes, and that sleep while nobody calls |
//! | `languages` | servers whose messages are translated |
//! | `maintenance` | what a server does to keep the file of SQLite in order, and `rowgate maintain` |
//! | `mariadb_checks` | what `rowgate config check` and GetServerInfo say of MariaDB, and the files of `rowgate query` |
//! | `mariadb_connect` | ways to MariaDB: TLS in all its modes, passwords, credentials that change, and refused logins |
//! | `mariadb_failures` | the failures of MariaDB after which programs used to try again, by each way to write |
//! | `mariadb_server` | MariaDB or MySQL over its socket, with its connections killed, and crashed |
//! | `mariadb_kills` | kills that race with the ends of statements on MariaDB or MySQL |
//! | `mariadb_sessions` | statements that dirty a session of MariaDB or MySQL, the callers after them, and what a clean one costs |
//! | `memory` | memory that is bounded by size |
//! | `migrations` | the commands that change, copy and reset definitions, killed and interrupted |
//! | `logs` | the log, and secrets that must not be in it |
//! | `statements` | prepared statements: evicted, changed and deallocated |
//! | `status_page` | the page at `/`, and its protection against hostile names |
//! | `stream` | a million rows in constant memory |
//! | `unread_answers` | unary answers that nobody takes: their memory, their end and their outcome |
//! | `unread_streams` | streams that nobody reads: their cost and their end |
//! | `config_cli` | the command line, and configurations with mistakes |
//! | `descriptor_cli` | the descriptor set that the command line prints |
//! | `idempotency_cli` | the command that makes the table of idempotency keys |
//! | `sql_prompt` | `rowgate sql` on a terminal, and the scripts that it runs |
//! | `readme` | the commands that README.md shows |
//! | `telemetry` | traces, metrics and logs, as collectors receive them |
//! | `web` | Connect and gRPC-Web over HTTP/1.1 and HTTP/2, and what browsers may do |
//! | `tidy` | the rules of the architecture that a program can check |

#[cfg(test)]
mod access;
#[cfg(test)]
mod access_jwt;
#[cfg(test)]
mod arrow;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod breaker;
#[cfg(test)]
mod call_ends;
#[cfg(test)]
mod call_settings;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod client_list;
#[cfg(test)]
mod closed_effects;
#[cfg(test)]
mod closed_operators;
#[cfg(test)]
mod column_origins;
#[cfg(test)]
mod commit_outcome;
#[cfg(test)]
mod config_cli;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod connection_limits;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod descriptor_cli;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod galera;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hung_servers;
mod idempotency_cli;
#[cfg(test)]
mod jwks_url;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod languages;
#[cfg(test)]
mod listen;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod look_alikes;
#[cfg(test)]
mod maintenance;
#[cfg(test)]
mod mariadb_checks;
#[cfg(test)]
mod mariadb_connect;
#[cfg(test)]
mod mariadb_failures;
#[cfg(test)]
mod mariadb_kills;
#[cfg(test)]
mod mariadb_server;
#[cfg(test)]
mod mariadb_sessions;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod outcomes;
#[cfg(test)]
mod own_statements;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod pool_life;
#[cfg(test)]
mod poolers;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod procedures;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod renewed_sessions;
#[cfg(test)]
mod scale_to_zero;
#[cfg(test)]
mod security_page;
#[cfg(test)]
mod self_ended;
#[cfg(test)]
mod session;
#[cfg(test)]
mod session_effects;
#[cfg(test)]
mod session_statements;
#[cfg(test)]
mod shared_commits;
#[cfg(test)]
mod shutdown;
mod signals;
#[cfg(test)]
mod sql_prompt;
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
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transact;
mod transaction_batches;
#[cfg(test)]
mod types;
#[cfg(test)]
mod unix_socket;
#[cfg(test)]
mod unread_answers;
#[cfg(test)]
mod unread_streams;
#[cfg(test)]
mod web;
