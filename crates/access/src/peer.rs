//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

/// Who a listener has at the other end of a connection, as far as the connection itself says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The client's own certificate in DER, of a chain that the listener has verified; none: it showed none, or was not asked.
    pub certificate: Option<Arc<[u8]>>,
}
