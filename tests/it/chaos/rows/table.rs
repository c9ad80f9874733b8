//! The table: which faults there are, how many of each, and what the ordinary tests have of them.

use futures_util::FutureExt as _;

use super::{Row, Run, Short, callers, database, gateway, mariadb, silence, written};
use crate::chaos::plan::FaultKind;

/// The ordinary test of all faults under which clients write, one after the other.
const WRITTEN: Short = Short::Tests(&["chaos::what_callers_are_told_is_true_whatever_happens"]);

/// The same for MariaDB.
const MARIADB: Short =
    Short::Tests(&["chaos::what_callers_are_told_is_true_whatever_happens_to_mariadb"]);

const fn row(name: &'static str, (share, least): (usize, usize), short: Short, run: Run) -> Row {
    Row { name, share, least, short, run }
}

/// In the order of `docs/FAULTS.md`.
pub(super) static TABLE: &[Row] = &[
    row(
        "idle backend terminated",
        (100, 20),
        Short::Tests(&[
            "pool_life::idle_sessions_that_are_terminated_are_replaced_within_a_second",
            "outage::idle_connections_that_were_terminated_are_replaced_unseen",
        ]),
        |faults| database::idle(faults).boxed_local(),
    ),
    row("backend terminated mid-write, at COMMIT", (300, 20), WRITTEN, |faults| {
        written::only(FaultKind::Terminated, faults).boxed_local()
    }),
    row("backend SIGKILLed mid-write, at COMMIT", (100, 20), WRITTEN, |faults| {
        written::only(FaultKind::Killed, faults).boxed_local()
    }),
    row("connection cut at a random byte", (600, 20), WRITTEN, |faults| {
        written::only(FaultKind::Cut, faults).boxed_local()
    }),
    row("acknowledgement lost", (600, 20), WRITTEN, |faults| {
        written::only(FaultKind::AnswerLost, faults).boxed_local()
    }),
    row("all of these and restarts, mixed", (300, 20), WRITTEN, |faults| {
        written::mixed(faults).boxed_local()
    }),
    row(
        "server crash-restart",
        (20, 20),
        Short::Tests(&["outage::calls_fail_in_milliseconds_and_the_service_recovers_by_itself"]),
        |faults| database::restarted(faults).boxed_local(),
    ),
    row(
        "primary demoted but up",
        (20, 20),
        Short::Tests(&["failover::connections_leave_a_primary_that_is_demoted_but_up"]),
        |faults| database::demoted(faults).boxed_local(),
    ),
    row(
        "primary gone, standby promoted",
        (20, 5),
        Short::Tests(&["failover::writes_follow_the_primary_to_the_standby_that_takes_its_place"]),
        |faults| database::promoted(faults).boxed_local(),
    ),
    row(
        "peer silently gone",
        (40, 20),
        Short::Tests(&[
            "cancel::frozen::behind_a_network_that_passes_nothing_calls_end_in_time_and_connections_are_given_up",
        ]),
        |faults| silence::peers(faults).boxed_local(),
    ),
    row(
        "backend SIGSTOPped",
        (20, 20),
        Short::Tests(&[
            "cancel::frozen::a_stopped_backend_costs_its_caller_no_time_and_the_pool_no_place",
        ]),
        |faults| silence::backends(faults).boxed_local(),
    ),
    row("postmaster SIGSTOPped", (10, 5), Short::Own(1), |faults| {
        silence::postmasters(faults).boxed_local()
    }),
    row(
        "max_connections full",
        (40, 20),
        Short::Tests(&[
            "outage::a_server_without_room_is_an_exhausted_pool_while_some_of_it_is_ours",
        ]),
        |faults| database::no_room(faults).boxed_local(),
    ),
    row(
        "pool full",
        (100, 20),
        Short::Tests(&[
            "outage::a_full_pool_refuses_at_its_limit",
            "pool_life::a_caller_that_floods_the_pool_does_not_slow_another",
        ]),
        |faults| database::pool(faults).boxed_local(),
    ),
    row(
        "client never reads its stream",
        (64, 20),
        Short::Tests(&["unread_streams::unread_streams_cost_little_and_end"]),
        |faults| callers::unread(faults).boxed_local(),
    ),
    row(
        "client vanishes mid-query",
        (40, 20),
        Short::Tests(&[
            "cancel::leave::the_query_of_a_client_that_crashes_is_gone_within_half_a_second",
        ]),
        |faults| callers::crashed_in_query(faults).boxed_local(),
    ),
    row(
        "client vanishes mid-transaction",
        (40, 20),
        Short::Tests(&[
            "cancel::leave::the_locks_of_a_client_that_crashes_are_free_within_a_second",
        ]),
        |faults| callers::crashed_in_transaction(faults).boxed_local(),
    ),
    row("client process SIGKILLed", (40, 20), Short::Own(2), |faults| {
        callers::killed(faults).boxed_local()
    }),
    row(
        "client falls silent mid-transaction",
        (20, 20),
        Short::Tests(&[
            "cancel::leave::the_locks_of_a_client_that_falls_silent_are_freed_by_keepalive",
        ]),
        |faults| callers::silent(faults).boxed_local(),
    ),
    row(
        "DDL under cached plans",
        (200, 20),
        Short::Tests(&["plans::writes_under_a_table_that_changes_run_once_and_nobody_notices"]),
        |faults| callers::changed(faults).boxed_local(),
    ),
    row(
        "gateway SIGTERM",
        (20, 20),
        Short::Tests(&[
            "shutdown::no_call_fails_while_servers_are_restarted_under_load",
            "shutdown::clients_who_do_not_go_do_not_keep_it_from_ending_within_the_grace",
        ]),
        |faults| gateway::terminated(faults).boxed_local(),
    ),
    row("gateway SIGKILL", (40, 20), Short::Own(2), |faults| gateway::killed(faults).boxed_local()),
    row(
        "gateway SIGSTOP + CONT",
        (20, 20),
        Short::Tests(&[
            "connection_limits::expired_calls_are_not_run_when_a_stopped_server_goes_on",
        ]),
        |faults| gateway::stopped(faults).boxed_local(),
    ),
    row(
        "file descriptors exhausted",
        (20, 20),
        Short::Tests(&["connection_limits::without_descriptors_it_waits_and_then_goes_on"]),
        |faults| gateway::exhausted(faults).boxed_local(),
    ),
    row(
        "SQL that dirties the session",
        (500, 20),
        Short::Tests(&[
            "session::each_statement_works_and_the_next_caller_sees_nothing_of_it",
            "audit::every_checkout_after_hostile_sql_is_clean",
        ]),
        |faults| callers::dirty(faults).boxed_local(),
    ),
    row("MariaDB: KILL CONNECTION mid-write", (150, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::Terminated, faults).boxed_local()
    }),
    row("MariaDB: KILL QUERY mid-write", (150, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::QueryKilled, faults).boxed_local()
    }),
    row("MariaDB: SIGKILL and restart", (25, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::Restarted, faults).boxed_local()
    }),
    row("MariaDB: SIGTERM and restart", (25, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::Stopped, faults).boxed_local()
    }),
    row("MariaDB: read_only for a while", (40, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::ReadOnly, faults).boxed_local()
    }),
    row("MariaDB: max_connections exhausted", (40, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::NoRoom, faults).boxed_local()
    }),
    row("MariaDB: connection cut at a random byte", (200, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::Cut, faults).boxed_local()
    }),
    row("MariaDB: acknowledgement lost", (200, 20), MARIADB, |faults| {
        written::only_mariadb(FaultKind::AnswerLost, faults).boxed_local()
    }),
    row("MariaDB: all of these, mixed", (250, 40), MARIADB, |faults| {
        written::mixed_mariadb(faults).boxed_local()
    }),
    row("MariaDB: wait_timeout of idle connections", (40, 20), Short::Own(4), |faults| {
        mariadb::timed_out(faults).boxed_local()
    }),
];
