//! The calls of operators.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::{CallError, Client, Limit, MAX_MESSAGE_SIZE};
use crate::value::proto::pool_service_client::PoolServiceClient;
use crate::value::proto::{
    ListCheckoutsRequest, ListCheckoutsResponse, ListPoolStatsRequest, ListPoolStatsResponse,
    PausePoolRequest, PausePoolResponse, ReconnectPoolRequest, ReconnectPoolResponse,
    ResizePoolRequest, ResizePoolResponse, ResumePoolRequest, ResumePoolResponse,
    TerminateCheckoutRequest, TerminateCheckoutResponse, WatchPoolStatsRequest,
    WatchPoolStatsResponse,
};

/// How much more time than the wait itself a call gets that waits: the server answers a little before its
/// end, so that the answer arrives.
const ANSWER_TIME: Duration = Duration::from_secs(1);

impl Client {
    /// The state and counters of a pool; of all when the name is empty.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such pool; else why it did not answer.
    pub async fn list_pool_stats(&self, pool: &str) -> Result<ListPoolStatsResponse, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        let call = service.list_pool_stats(ListPoolStatsRequest { pool });
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    /// Starts to watch a pool; all when the name is empty.
    ///
    /// # Errors
    /// As [`Client::list_pool_stats`].
    pub async fn watch_pool_stats(
        &self,
        pool: &str,
        interval: Duration,
    ) -> Result<PoolWatch, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        // More than a message can say is more than a server takes.
        let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
        let interval = Some(interval.try_into().unwrap_or(longest));
        let call = service.watch_pool_stats(WatchPoolStatsRequest { pool, interval });
        Ok(PoolWatch(Limit::within(self.limit, call).await?.into_inner()))
    }

    /// Who holds a connection of a pool; of all when the name is empty.
    ///
    /// # Errors
    /// As [`Client::list_pool_stats`].
    pub async fn list_checkouts(&self, pool: &str) -> Result<ListCheckoutsResponse, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        let call = service.list_checkouts(ListCheckoutsRequest { pool });
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    /// Pauses a pool, and waits at most so long for what is under way.
    ///
    /// # Errors
    /// As [`Client::list_pool_stats`].
    pub async fn pause_pool(
        &self,
        pool: &str,
        timeout: Duration,
    ) -> Result<PausePoolResponse, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        let message = PausePoolRequest { pool, timeout: timeout.try_into().ok() };
        let mut request = Request::new(message);
        // Without one the server takes its default.
        request.set_timeout(timeout.saturating_add(ANSWER_TIME));
        let call = service.pause_pool(request);
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// As [`Client::list_pool_stats`].
    pub async fn resume_pool(&self, pool: &str) -> Result<ResumePoolResponse, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        let call = service.resume_pool(ResumePoolRequest { pool });
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    /// Has a pool's connections replaced.
    ///
    /// # Errors
    /// As [`Client::list_pool_stats`].
    pub async fn reconnect_pool(&self, pool: &str) -> Result<ReconnectPoolResponse, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        let call = service.reconnect_pool(ReconnectPoolRequest { pool });
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    /// Sets the bounds of a pool; those that are `None` stay.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when they do not fit; else as [`Client::list_pool_stats`].
    pub async fn resize_pool(
        &self,
        pool: &str,
        min: Option<u32>,
        max: Option<u32>,
    ) -> Result<ResizePoolResponse, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        let call = service.resize_pool(ResizePoolRequest { pool, min, max });
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    /// Ends what a checkout does.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such pool, or no such checkout; else why it did not answer.
    pub async fn terminate_checkout(
        &self,
        pool: &str,
        checkout: u64,
    ) -> Result<TerminateCheckoutResponse, CallError> {
        let (mut service, pool) = (self.pools(), pool.to_owned());
        let call = service.terminate_checkout(TerminateCheckoutRequest { pool, checkout });
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    fn pools(&self) -> PoolServiceClient<Channel> {
        PoolServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_SIZE)
    }
}

/// Pools as they change.
#[derive(Debug)]
pub struct PoolWatch(Streaming<WatchPoolStatsResponse>);

impl PoolWatch {
    /// The next message; `None` when the server ended the watch without a reason.
    ///
    /// # Errors
    /// Why it ended.
    ///
    /// # Cancel safety
    /// A message that has come is not lost.
    pub async fn next(&mut self) -> Result<Option<WatchPoolStatsResponse>, CallError> {
        self.0.message().await.map_err(|status| CallError::from_status(&status))
    }
}
