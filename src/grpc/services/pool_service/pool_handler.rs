//! The service itself.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::pool_commands::PoolCommand;
use super::watch_stream::WatchedPools;
use super::{pool, pools, stats_message, watch_stream};
use crate::engine::{Caller, Database, Engine};
use crate::error::Result;
use crate::grpc::request_context::{caller, peer_name, rpc_call, time_left};
use crate::grpc::respond::{Answer, answer, respond};
use crate::grpc::services::duration;
use crate::value::proto::pool_service_server::PoolService;
use crate::value::proto::{
    Checkout, ListCheckoutsRequest, ListCheckoutsResponse, ListPoolStatsRequest,
    ListPoolStatsResponse, PausePoolRequest, PausePoolResponse, ReconnectPoolRequest,
    ReconnectPoolResponse, ResizePoolRequest, ResizePoolResponse, ResumePoolRequest,
    ResumePoolResponse, TerminateCheckoutRequest, TerminateCheckoutResponse, WatchPoolStatsRequest,
    WatchPoolStatsResponse,
};

pub(crate) struct PoolHandler {
    pub(crate) engine: Arc<Engine>,
    pub(crate) instance: String,
}

impl PoolHandler {
    /// Makes a command of an operator on the pool of a name.
    fn command<T>(&self, request: &Request<T>, name: &str) -> Result<PoolCommand<'_>> {
        let Caller { name: operator, identity, call, .. } = caller(request);
        identity.policy.check_pool_admin().inspect_err(|_denied| {
            // The line of the failed call names the operator.
            call.set_labels(&Arc::default(), &operator, &Arc::default());
        })?;
        self.own_command(request, name)
    }

    /// As [`Self::command`], for what any caller may do to its own calls.
    fn own_command<T>(&self, request: &Request<T>, name: &str) -> Result<PoolCommand<'_>> {
        let caller = caller(request);
        let database = pool(&self.engine, &caller.identity.policy, name)?;
        let address = peer_name(request);
        let instance = self.instance.clone();
        Ok(PoolCommand { database, instance, operator: caller.name, address })
    }
}

#[tonic::async_trait]
impl PoolService for PoolHandler {
    type WatchPoolStatsStream = BoxStream<'static, Result<WatchPoolStatsResponse, Status>>;

    async fn list_pool_stats(
        &self,
        request: Request<ListPoolStatsRequest>,
    ) -> Answer<ListPoolStatsResponse> {
        let policy = &caller(&request).identity.policy;
        let response = pools(&self.engine, policy, &request.get_ref().pool).map(|pools| {
            let pools = pools.into_iter().map(stats_message::encode).collect();
            ListPoolStatsResponse { instance: self.instance.clone(), pools }
        });
        respond(&rpc_call(&request), response)
    }

    async fn watch_pool_stats(
        &self,
        request: Request<WatchPoolStatsRequest>,
    ) -> Answer<Self::WatchPoolStatsStream> {
        let call = rpc_call(&request);
        let timeout = time_left(&request);
        let engine = Arc::clone(&self.engine);
        let instance = self.instance.clone();
        let policy = Arc::clone(&caller(&request).identity.policy);
        let pools = WatchedPools { engine, policy, instance };
        let watch = watch_stream::watch(pools, request.into_inner(), timeout);
        let messages = watch.map_err(|error| answer(&call, &error))?;
        let messages = messages.map(move |next| next.map_err(|error| answer(&call, &error)));
        Ok(Response::new(messages.boxed()))
    }

    async fn list_checkouts(
        &self,
        request: Request<ListCheckoutsRequest>,
    ) -> Answer<ListCheckoutsResponse> {
        let caller = caller(&request);
        let policy = &caller.identity.policy;
        let response = pools(&self.engine, policy, &request.get_ref().pool).map(|pools| {
            let checkouts = pools.into_iter().flat_map(checkouts);
            let is_shown =
                |checkout: &Checkout| policy.administers_pools() || checkout.caller == *caller.name;
            let checkouts = checkouts.filter(is_shown).collect();
            ListCheckoutsResponse { instance: self.instance.clone(), checkouts }
        });
        respond(&rpc_call(&request), response)
    }

    async fn pause_pool(&self, request: Request<PausePoolRequest>) -> Answer<PausePoolResponse> {
        let call = rpc_call(&request);
        let timeout = request.get_ref().timeout;
        let paused = match self.command(&request, &request.get_ref().pool) {
            Ok(command) => command.pause(timeout, time_left(&request)).await,
            Err(error) => Err(error),
        };
        respond(&call, paused)
    }

    async fn resume_pool(&self, request: Request<ResumePoolRequest>) -> Answer<ResumePoolResponse> {
        let command = self.command(&request, &request.get_ref().pool);
        respond(&rpc_call(&request), command.map(PoolCommand::resume))
    }

    async fn reconnect_pool(
        &self,
        request: Request<ReconnectPoolRequest>,
    ) -> Answer<ReconnectPoolResponse> {
        let command = self.command(&request, &request.get_ref().pool);
        respond(&rpc_call(&request), command.map(PoolCommand::reconnect))
    }

    async fn resize_pool(&self, request: Request<ResizePoolRequest>) -> Answer<ResizePoolResponse> {
        let command = self.command(&request, &request.get_ref().pool);
        let resized = command.and_then(|command| command.resize(request.get_ref()));
        respond(&rpc_call(&request), resized)
    }

    async fn terminate_checkout(
        &self,
        request: Request<TerminateCheckoutRequest>,
    ) -> Answer<TerminateCheckoutResponse> {
        let command = self.own_command(&request, &request.get_ref().pool);
        let sees_all = caller(&request).identity.policy.administers_pools();
        let checkout = request.get_ref().checkout;
        let terminated = command.and_then(|command| command.terminate(checkout, sees_all));
        respond(&rpc_call(&request), terminated)
    }
}

fn checkouts(database: &Database) -> impl Iterator<Item = Checkout> {
    let checkouts = database.backend().control().checkouts().into_iter();
    checkouts.map(|checkout| Checkout {
        pool: database.name().to_owned(),
        id: checkout.id,
        caller: checkout.holder.caller.to_string(),
        rpc: checkout.holder.rpc.to_owned(),
        tag: checkout.holder.tag.to_string(),
        statement: checkout.holder.summary,
        since: Some(checkout.since.into()),
        age: duration(checkout.age),
        state: checkout.state,
        leak: checkout.is_leak,
    })
}
