//! Commits whose outcome is in doubt, on real servers: what is said of them must be true.

mod effects;
mod keys;
mod standby;
mod timely;

use std::time::Duration;

use rowgate::value::proto::{ExecuteBatchRequest, QueryOptions};

/// A commit that takes as long as the row says, in seconds.
const SLOW_COMMIT: &str = "create table t (id bigint primary key, seconds float not null); \
    create function wait() returns trigger language plpgsql as \
    $$ begin perform pg_sleep(new.seconds); return null; end $$; \
    create constraint trigger waiting after insert on t deferrable initially deferred \
    for each row execute function wait()";

/// Counts the commits that wait.
const WAITING: &str =
    "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%COMMIT'";

fn under(key: &str, request: ExecuteBatchRequest) -> ExecuteBatchRequest {
    let options = request.options.unwrap_or_default();
    let options = QueryOptions { idempotency_key: key.to_owned(), ..options };
    ExecuteBatchRequest { options: Some(options), ..request }
}

fn within(limit: Duration, request: ExecuteBatchRequest) -> ExecuteBatchRequest {
    let options = request.options.unwrap_or_default();
    let timeout = Some(limit.try_into().expect("it is short"));
    ExecuteBatchRequest { options: Some(QueryOptions { timeout, ..options }), ..request }
}
