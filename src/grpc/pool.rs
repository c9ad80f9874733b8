//! rowgate.v1.PoolService.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::duration;
use super::failure::answer;
use crate::engine::{Database, Engine};
use crate::error::{Error, ErrorKind};
use crate::pool::CloseReason;
use crate::value::proto;
use crate::value::proto::pool_service_server::PoolService;
use crate::value::proto::{ListPoolStatsRequest, ListPoolStatsResponse};

pub(super) struct Service {
    engine: Arc<Engine>,
    instance: String,
}

impl Service {
    pub(super) fn new(engine: Arc<Engine>, instance: &str) -> Self {
        Self { engine, instance: instance.to_owned() }
    }
}

#[tonic::async_trait]
impl PoolService for Service {
    async fn list_pool_stats(
        &self,
        request: Request<ListPoolStatsRequest>,
    ) -> Result<Response<ListPoolStatsResponse>, Status> {
        let wanted = request.into_inner().pool;
        let named = |database: &&Database| wanted.is_empty() || database.name() == wanted;
        let pools: Vec<_> = self.engine.databases().filter(named).map(stats).collect();
        if pools.is_empty() {
            let message = format!("there is no pool \"{wanted}\"");
            return Err(answer("ListPoolStats", &Error::new(ErrorKind::PoolNotFound, message)));
        }
        Ok(Response::new(ListPoolStatsResponse { instance: self.instance.clone(), pools }))
    }
}

fn stats(database: &Database) -> proto::PoolStats {
    let pool = database.backend().pool();
    let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let closed = CloseReason::ALL.iter().zip(pool.closed).filter(|(_, count)| *count > 0);
    proto::PoolStats {
        pool: database.name().to_owned(),
        backend: database.backend().name().to_owned(),
        max: small(pool.max),
        min: small(pool.min),
        open: small(pool.open),
        idle: small(pool.idle),
        in_use: small(pool.in_use),
        connecting: small(pool.connecting),
        waiting: small(pool.waiting),
        oldest_wait: pool.oldest_wait.and_then(duration),
        acquired: pool.acquired,
        waited: pool.waited,
        wait_time: duration(pool.wait_time),
        timeouts: pool.timeouts,
        cancelled_waits: pool.cancelled_waits,
        rejected: pool.rejected,
        opened: pool.opened,
        connect_failures: pool.connect_failures,
        closed: closed
            .map(|(reason, count)| proto::ClosedConnections {
                reason: reason_of(*reason).into(),
                count,
            })
            .collect(),
        statements: pool.statements,
        resets: pool.resets,
    }
}

fn reason_of(reason: CloseReason) -> proto::CloseReason {
    match reason {
        CloseReason::Lifetime
        | CloseReason::Idle
        | CloseReason::Overflow
        | CloseReason::Failover
        | CloseReason::Admin => proto::CloseReason::Unspecified,
        CloseReason::Broken => proto::CloseReason::Broken,
        CloseReason::Dirty => proto::CloseReason::Dirty,
        CloseReason::Shutdown => proto::CloseReason::Shutdown,
    }
}
