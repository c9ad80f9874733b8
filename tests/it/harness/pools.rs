//! Pools, as an operator's client sees them.

use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::{Checkout, ListCheckoutsRequest, ListPoolStatsRequest, PoolStats};
use tonic::transport::Channel;

use super::Service;
use super::client::{Client, PATIENCE, Wire};
use super::wait::eventually_async;

impl Client {
    /// Asks for pools.
    pub(crate) fn pools(&self) -> PoolServiceClient<Wire> {
        PoolServiceClient::new(self.wire())
    }
}

impl Service {
    /// Asks for pools.
    pub(crate) fn pools(&self) -> PoolServiceClient<Channel> {
        PoolServiceClient::new(self.client.channel())
    }

    /// The figures of the pool of database `main`.
    pub(crate) async fn pool(&self) -> PoolStats {
        let request = ListPoolStatsRequest { pool: "main".to_owned() };
        let answer = self.pools().list_pool_stats(request).await.expect("it is there").into_inner();
        answer.pools.into_iter().next().expect("it is the one asked for")
    }

    /// Waits until the figures of the pool are as they should be.
    pub(crate) async fn until_pool(
        &self,
        what: &str,
        is_so: impl Fn(&PoolStats) -> bool,
    ) -> PoolStats {
        eventually_async(what, PATIENCE, async || {
            Some(self.pool().await).filter(|pool| is_so(pool))
        })
        .await
    }

    /// Lists the holders of the pool's connections.
    pub(crate) async fn checkouts(&self) -> Vec<Checkout> {
        let request = ListCheckoutsRequest { pool: "main".to_owned() };
        let answer = self.pools().list_checkouts(request).await.expect("it is there");
        answer.into_inner().checkouts
    }

    /// The one checkout that a test has made, once it is listed.
    pub(crate) async fn checkout(&self, is_it: impl Fn(&Checkout) -> bool) -> Checkout {
        eventually_async("the checkout is listed", PATIENCE, async || {
            self.checkouts().await.into_iter().find(|one| is_it(one))
        })
        .await
    }
}
