//! Floods of control frames: what no limit of a call counts is bounded for each connection.

use rowgate::value::proto::Value;

use crate::harness::client::Client;
use crate::harness::http2::{DATA, PING, QUERY, Raw, SETTINGS};
use crate::harness::{Backend, Service};

const PRIORITY: u8 = 2;
const WINDOW_UPDATE: u8 = 8;
/// A kind that HTTP/2 does not know; receivers ignore it (RFC 9113, 5.5).
const UNKNOWN: u8 = 0xfa;

/// More than anybody may send at once.
const MANY: usize = 100_000;

#[tokio::test]
async fn a_client_that_floods_its_connection_loses_it_and_nobody_else_does() {
    let service = Service::start(Backend::Sqlite).await;
    let innocent = Client::connect(service.server.grpc()).await;
    let floods: [(u8, u32, &[u8]); 6] = [
        (PING, 0, &[7; 8]),
        (SETTINGS, 0, &[]),
        (WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        (PRIORITY, 3, &[0, 0, 0, 0, 1]),
        (UNKNOWN, 0, &[]),
        (DATA, 1, &[]),
    ];
    for (kind, stream, payload) in floods {
        let mut raw = Raw::connect(service.server.grpc()).await;
        if kind == DATA {
            raw.begin(stream, QUERY, &[]).await;
        }
        raw.flood_to_the_end(kind, stream, payload, MANY).await;
        let answer = innocent.must("select 40 + 2", &[]).await;
        assert_eq!(answer.rows[0].values, [Value::int64(42)], "{kind}");
    }
}
