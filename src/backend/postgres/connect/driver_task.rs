//! The task that drives a connection until it ends.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Connection};

use crate::backend::postgres::protocol::protocol_state::ProtocolState;

/// The deliveries of notifications after which other tasks of the worker have their turn.
const DELIVERIES: usize = 32;

/// Drives a connection to its end, which the state of its protocol tells to its users. The next notification is not read
/// before the last one was taken: the server keeps what is not read.
pub(super) async fn drive<S, T>(mut connection: Connection<S, T>, state: Arc<ProtocolState>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut delivered = 0;
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notice(notice) = &message
            && let Some(kept) = state.notices.get()
        {
            kept.keep(notice);
        }
        if let AsyncMessage::Notification(notification) = message
            && let Some(sink) = state.notifications.get()
        {
            delivered += sink.notify(&notification).max(1);
            if delivered >= DELIVERIES {
                delivered = 0;
                tokio::task::yield_now().await;
            }
        }
    }
}
