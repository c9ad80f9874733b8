//! `databases.NAME.listen.*`: the listeners of a database.

use std::time::Duration;

use super::section::*;

section! {
    /// Listeners: calls of Listen, which all share one connection beside the pool, to PostgreSQL only.
    #[derive(Debug, Clone, Copy)]
    pub struct ListenSettings in "databases.NAME.listen" (reader) {
        /// The listeners at a time. A further one is refused: TOO_MANY_LISTENERS.
        max_listeners: usize = Integer(0, 1_000_000), "10000";
        /// The channels of one listener.
        max_channels: usize = Integer(1, 10_000), "100";
        /// The notifications that may wait for one listener. One for which more wait is ended: LISTENER_TOO_SLOW.
        queue: usize = Integer(1, 1_000_000), "4096";
        /// The bytes of these notifications, their channels and payloads. In memory the listeners of one channel share them.
        queue_size: usize = Size("16KiB", "1GiB"), "1MiB";
        /// The time for which the connection is kept after its last listener has left.
        idle_timeout: Duration = Duration("0s", "1h"), "5s";
        /// The time without anything from the server after which the connection is checked, by a round trip without a
        /// statement. A server that has vanished is noticed by it, and a gap is counted from the last check. `"0s"` never checks.
        check_interval: Duration = Duration("0s", "1h"), "30s";
    }
}
