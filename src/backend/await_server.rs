//! The wait of a call for a server that cannot be reached.

use super::connect_breaker::BreakerState;
use super::{ConnectBreaker, ServerWait};
use crate::deadline::Deadline;
use crate::error::Result;
use crate::pool::{CallContext, Manager, Pool};

/// Waits until the server can be reached again, among the callers that wait for a connection.
pub(crate) async fn await_server<M: Manager>(
    breaker: &ConnectBreaker,
    pool: &Pool<M>,
    deadline: Deadline,
    context: &CallContext,
) -> Result<ServerWait> {
    let mut state = breaker.state();
    let BreakerState { open, reached } = *state.borrow();
    if !open {
        return Ok(ServerWait::NotNeeded);
    }
    if !reached {
        // The address may be wrong: nothing says that waiting helps.
        breaker.may_connect()?;
    }
    let reached = async {
        tokio::select! {
            _ = state.wait_for(|state| !state.open) => {}
            // Nobody probes: this call tries.
            () = breaker.probe_overdue() => {}
        }
    };
    pool.wait_for_server(reached, deadline, context.caller()).await?;
    Ok(ServerWait::Over)
}
