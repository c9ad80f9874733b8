//! The request that cancels the running statement of a connection.

use std::io;

use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;

use super::driver_stream;
use crate::backend::network::ServerAddress;

/// The start of a CancelRequest, before the key (protocol 3.0, "Message Formats").
pub(super) const CANCEL_REQUEST: [u8; 8] = [0, 0, 0, 16, 4, 210, 22, 46];

/// Sends the request with the key of a connection, and waits until the server has processed it.
pub(super) async fn send(
    address: &ServerAddress,
    tls: Option<&ClientConfig>,
    key: [u8; 8],
) -> io::Result<()> {
    let mut socket = driver_stream::connect(address, tls).await?;
    socket.write_all(&[CANCEL_REQUEST, key].concat()).await?;
    socket.flush().await?;
    // The server closes the socket once it has processed the request; a cancel still in transit
    // could hit the next statement. Over TLS the server closes without close_notify, which is an
    // UnexpectedEof. A reset proves nothing: it may not come from the server.
    match tokio::io::copy(&mut socket, &mut tokio::io::sink()).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
