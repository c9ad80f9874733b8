//! rowgate.v1.PoolService: what operators see of the pools, and do to them.
//!
//! Knows pools by [`PoolAdmin`] only, and nothing of what their connections are.

mod admin;
mod stats_message;
mod watch_stream;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::engine::{Database, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::grpc::error::respond::answer;
use crate::grpc::timeout_header::time_left;
use crate::grpc::{call_of, duration, small};
use crate::pool::CheckoutInfo;
use crate::value::proto::pool_service_server::PoolService;
use crate::value::proto::{
    Checkout, ListCheckoutsRequest, ListCheckoutsResponse, ListPoolStatsRequest,
    ListPoolStatsResponse, PausePoolRequest, PausePoolResponse, ReconnectPoolRequest,
    ReconnectPoolResponse, ResizePoolRequest, ResizePoolResponse, ResumePoolRequest,
    ResumePoolResponse, TerminateCheckoutRequest, TerminateCheckoutResponse, WatchPoolStatsRequest,
    WatchPoolStatsResponse,
};

pub(crate) struct Service {
    engine: Arc<Engine>,
    instance: String,
}

impl Service {
    pub(crate) fn new(engine: Arc<Engine>, instance: &str) -> Self {
        Self { engine, instance: instance.to_owned() }
    }

    fn instance(&self) -> String {
        self.instance.clone()
    }
}

#[tonic::async_trait]
impl PoolService for Service {
    type WatchPoolStatsStream =
        Pin<Box<dyn Stream<Item = Result<WatchPoolStatsResponse, Status>> + Send>>;

    async fn list_pool_stats(
        &self,
        request: Request<ListPoolStatsRequest>,
    ) -> Result<Response<ListPoolStatsResponse>, Status> {
        let call = call_of(&request);
        let found = pools(&self.engine, &request.into_inner().pool);
        let found = found.map_err(|error| answer(&call, &error))?;
        let pools = found.into_iter().map(stats_message::encode).collect();
        Ok(Response::new(ListPoolStatsResponse { instance: self.instance(), pools }))
    }

    async fn watch_pool_stats(
        &self,
        request: Request<WatchPoolStatsRequest>,
    ) -> Result<Response<Self::WatchPoolStatsStream>, Status> {
        let (call, timeout) = (call_of(&request), time_left(&request));
        let engine = Arc::clone(&self.engine);
        match watch_stream::watch(engine, self.instance(), request.into_inner(), timeout) {
            Ok(stream) => {
                let stream = stream.map(move |next| next.map_err(|error| answer(&call, &error)));
                Ok(Response::new(Box::pin(stream)))
            }
            Err(error) => Err(answer(&call, &error)),
        }
    }

    async fn list_checkouts(
        &self,
        request: Request<ListCheckoutsRequest>,
    ) -> Result<Response<ListCheckoutsResponse>, Status> {
        let call = call_of(&request);
        let found = pools(&self.engine, &request.into_inner().pool);
        let found = found.map_err(|error| answer(&call, &error))?;
        let checkouts = found.into_iter().flat_map(checkouts).collect();
        Ok(Response::new(ListCheckoutsResponse { instance: self.instance(), checkouts }))
    }

    async fn pause_pool(
        &self,
        request: Request<PausePoolRequest>,
    ) -> Result<Response<PausePoolResponse>, Status> {
        let (operator, timeout) = (request.remote_addr(), time_left(&request));
        let call = call_of(&request);
        let request = request.into_inner();
        let paused = async {
            let database = pool(&self.engine, &request.pool)?;
            admin::pause(database, request.timeout, timeout, operator).await
        };
        match paused.await {
            Ok(response) => {
                Ok(Response::new(PausePoolResponse { instance: self.instance(), ..response }))
            }
            Err(error) => Err(answer(&call, &error)),
        }
    }

    async fn resume_pool(
        &self,
        request: Request<ResumePoolRequest>,
    ) -> Result<Response<ResumePoolResponse>, Status> {
        let (operator, call) = (request.remote_addr(), call_of(&request));
        let found = pool(&self.engine, &request.get_ref().pool);
        let database = found.map_err(|error| answer(&call, &error))?;
        let response = admin::resume(database, operator);
        Ok(Response::new(ResumePoolResponse { instance: self.instance(), ..response }))
    }

    async fn reconnect_pool(
        &self,
        request: Request<ReconnectPoolRequest>,
    ) -> Result<Response<ReconnectPoolResponse>, Status> {
        let (operator, call) = (request.remote_addr(), call_of(&request));
        let found = pool(&self.engine, &request.get_ref().pool);
        let database = found.map_err(|error| answer(&call, &error))?;
        let response = admin::reconnect(database, operator);
        Ok(Response::new(ReconnectPoolResponse { instance: self.instance(), ..response }))
    }

    async fn resize_pool(
        &self,
        request: Request<ResizePoolRequest>,
    ) -> Result<Response<ResizePoolResponse>, Status> {
        let (operator, call) = (request.remote_addr(), call_of(&request));
        let request = request.into_inner();
        let resized = pool(&self.engine, &request.pool)
            .and_then(|database| admin::resize(database, &request, operator));
        match resized {
            Ok(response) => {
                Ok(Response::new(ResizePoolResponse { instance: self.instance(), ..response }))
            }
            Err(error) => Err(answer(&call, &error)),
        }
    }

    async fn terminate_checkout(
        &self,
        request: Request<TerminateCheckoutRequest>,
    ) -> Result<Response<TerminateCheckoutResponse>, Status> {
        let (operator, call) = (request.remote_addr(), call_of(&request));
        let request = request.into_inner();
        let terminated = pool(&self.engine, &request.pool)
            .and_then(|database| admin::terminate(database, request.checkout, operator));
        match terminated {
            Ok(()) => Ok(Response::new(TerminateCheckoutResponse { instance: self.instance() })),
            Err(error) => Err(answer(&call, &error)),
        }
    }
}

/// The pools that a request means: the one it names, or all.
fn pools<'a>(engine: &'a Engine, name: &str) -> Result<Vec<&'a Database>> {
    if name.is_empty() {
        return Ok(engine.databases().collect());
    }
    pool(engine, name).map(|database| vec![database])
}

/// The pool that a request names. The default one is not taken for an empty name: who changes a pool shall
/// say which.
fn pool<'a>(engine: &'a Engine, name: &str) -> Result<&'a Database> {
    let known = || {
        let names: Vec<_> = engine.databases().map(Database::name).collect();
        format!("Known here: {}.", names.join(", "))
    };
    if name.is_empty() {
        let error = Error::field(ErrorKind::InvalidOption, "pool", "the pool must be named");
        return Err(error.with_hint(known()));
    }
    engine.databases().find(|database| database.name() == name).ok_or_else(|| {
        Error::new(ErrorKind::PoolNotFound, format!("there is no pool \"{name}\""))
            .with_hint(known())
    })
}

fn checkouts(database: &Database) -> impl Iterator<Item = Checkout> + use<> {
    let pool = database.name().to_owned();
    database.backend().control().checkouts().into_iter().map(move |one| checkout(&pool, one))
}

fn checkout(pool: &str, one: CheckoutInfo) -> Checkout {
    Checkout {
        pool: pool.to_owned(),
        id: one.id,
        caller: one.holder.caller,
        rpc: one.holder.rpc.to_owned(),
        tag: one.holder.tag,
        statement: one.holder.summary,
        since: Some(one.since.into()),
        age: duration(one.age),
        state: one.state,
        leak: one.is_leak,
    }
}

/// Who asked, for the log.
fn named(operator: Option<SocketAddr>) -> String {
    operator.map_or_else(String::new, |address| address.ip().to_string())
}
