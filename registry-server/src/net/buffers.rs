//! What the kernel holds for connections: bytes that came and were not read yet, and bytes that
//! were written and that the other side has not taken.
//!
//! The kernel lets the buffers of a socket grow, as far as a fast link to a distant client needs
//! it: to 4 MiB of what goes out by default, and to 6 MiB or more of what comes in. All sockets of
//! the host share one bound (`net.ipv4.tcp_mem`), and when it is reached, nobody on the host sends
//! or receives: a few thousand clients that ask for a large blob and read nothing are enough. So
//! only some connections at once have buffers that grow, of users, and of each half of those at
//! most; all others have short ones. What these cost is speed over long ways alone: a connection
//! sends a buffer's worth in the time of a round trip.
//!
//! A connection chooses when it has moved more than a few requests do. Until then its buffers are
//! small by themselves; and the choice is for good, since a size that was set once grows no more.
//! `TCP_NOTSENT_LOWAT` would bound what was not sent yet, and nothing that a client which opened
//! its window wide has been sent and does not acknowledge.

use std::path::Path;

use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_send_buffer_size, socket_recv_buffer_size,
};
use tokio::net::TcpStream;
use tracing::{debug, info, warn};

use crate::limits::Limits;
use crate::share::{HeldShare, Owner, Pool};

/// What the kernel allows to all sockets of TCP on this host, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What all of them have before it begins to save.
    pub all_bytes: usize,
    /// What the two buffers of one have at most, if it sizes them itself.
    pub one_bytes: usize,
    /// What the buffer of one for what comes in has at first.
    pub first_receive_bytes: usize,
}

impl Kernel {
    /// What this host's kernel says; none if it does not say so, as to some containers.
    pub fn read() -> Option<Self> {
        let settings = Path::new("/proc/sys/net/ipv4");
        let [all, send, receive] = ["tcp_mem", "tcp_wmem", "tcp_rmem"]
            .map(|name| std::fs::read_to_string(settings.join(name)).ok());
        Self::parse(&all?, &send?, &receive?)
    }

    /// `tcp_mem` is in pages: little, enough, too much. The others are in bytes: the smallest
    /// buffer, the first, the largest.
    fn parse(all: &str, send: &str, receive: &str) -> Option<Self> {
        let field = |text: &str, number| text.split_whitespace().nth(number)?.parse().ok();
        let pages: usize = field(all, 1)?;
        let [send, most_receive]: [usize; 2] = [field(send, 2)?, field(receive, 2)?];
        Some(Self {
            first_receive_bytes: field(receive, 1)?,
            all_bytes: pages.saturating_mul(rustix::param::page_size()),
            one_bytes: send.saturating_add(most_receive),
        })
    }
}

impl Limits {
    /// These limits, made so small that all sockets together have no more of the kernel's memory
    /// than three quarters of what it has for all of the host: as few that grow, and then as few
    /// connections as there is memory for.
    pub fn fit_sockets(self, kernel: Option<Kernel>) -> Self {
        let Some(Kernel { all_bytes, one_bytes, first_receive_bytes }) = kernel else {
            return self;
        };
        let grown_socket_bytes = one_bytes.max(1);
        let growing_sockets =
            (all_bytes / GROWING_SHARE / grown_socket_bytes).min(self.growing_sockets);
        let short = all_bytes / SHORT_SHARE;
        let receive = self.socket_receive_bytes.max(first_receive_bytes);
        let most = (short / (self.socket_send_bytes + receive).max(1)).max(LEAST_CONNECTIONS);
        let connections = most.min(self.connections);
        Self {
            growing_sockets,
            grown_socket_bytes,
            socket_receive_bytes: receive,
            connections,
            ..self
        }
    }
}

/// Says that the kernel has memory for so many connections only.
pub(crate) fn tell_of_few(connections: usize) {
    let told = "little memory for sockets: fewer connections at once";
    match connections < ENOUGH_CONNECTIONS {
        true => warn!(connections, told),
        false => info!(connections, told),
    }
}

/// The buffers of all connections.
pub(super) struct Buffers {
    growing: Option<Pool>,
    send_bytes: usize,
    receive_bytes: usize,
}

impl Buffers {
    /// Takes its bounds from the limits.
    pub(super) fn new(limits: &Limits) -> Self {
        let units = limits.growing_sockets;
        Self {
            growing: (units > 0).then(|| Pool::new(units, units.div_ceil(2))),
            send_bytes: limits.socket_send_bytes,
            receive_bytes: limits.socket_receive_bytes,
        }
    }

    /// Lets the buffers of somebody's socket grow, as long as what is returned lives, if there is
    /// room for it; otherwise they are short from now on.
    pub(super) fn choose(&self, owner: &Owner, socket: &TcpStream) -> Option<HeldShare> {
        // Whoever has not logged in costs nothing to be, from any number of addresses.
        let growing = match owner {
            Owner::User(_) => self.growing.as_ref().and_then(|pool| pool.try_take(owner, 1)),
            Owner::Address(_) | Owner::Server => None,
        };
        if growing.is_none() {
            let outcome = self.shorten(socket);
            if let Err(error) = outcome {
                debug!(%error, "the buffers of a socket stay as they are");
            }
        }
        growing
    }

    /// Keeps the buffers of a socket from growing. The one for what comes in stays at least as
    /// large as it is: what the other side was told that there is room for may be under way, and is
    /// dropped where there is none. Sent again and dropped again, after pauses that double, a push
    /// stood still for minutes.
    fn shorten(&self, socket: &TcpStream) -> rustix::io::Result<()> {
        let receive = socket_recv_buffer_size(socket)?.max(self.receive_bytes);
        // The kernel doubles what it is told, for what it needs beside the bytes themselves.
        set_socket_send_buffer_size(socket, self.send_bytes / 2)?;
        set_socket_recv_buffer_size(socket, receive / 2)
    }
}

/// One in so many bytes that the kernel has for sockets is for those that grow.
const GROWING_SHARE: usize = 4;
/// The same for all others together.
const SHORT_SHARE: usize = 2;
/// So many connections are enough for most sites: having no more is worth a line and no warning.
const ENOUGH_CONNECTIONS: usize = 512;
/// The fewest connections, however little the kernel has.
const LEAST_CONNECTIONS: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use rustix::net::sockopt::socket_send_buffer_size;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_settings_of_the_kernel_are_read() {
        let kernel = Kernel::parse("10\t20\t30\n", "4096\t16384\t4194304\n", "4096 131072 6291456");
        let all_bytes = 20 * rustix::param::page_size();
        assert_eq!(
            kernel,
            Some(Kernel { all_bytes, one_bytes: 10 << 20, first_receive_bytes: 131_072 })
        );
        assert_eq!(Kernel::parse("10", "1 2 3", "1 2 3"), None);
        assert!(Kernel::read().is_some_and(|kernel| kernel.all_bytes > 0));
    }

    #[test]
    fn whatever_the_kernel_has_is_not_used_up() {
        for megabytes in [1, 60, 120, 500, 1000, 4000, 100_000_usize] {
            for one_bytes in [10 << 20, 40 << 20] {
                let first_receive_bytes = 131_072;
                let all_bytes = megabytes << 20;
                let kernel = Kernel { all_bytes, one_bytes, first_receive_bytes };
                let limits = Limits::default().fit_sockets(Some(kernel));
                let most = (kernel.all_bytes / 4 * 3).max((LEAST_CONNECTIONS * 4) << 16);
                assert!(limits.socket_memory_bytes() <= most, "{kernel:?}: {limits:?}");
                assert!(limits.connections >= LEAST_CONNECTIONS, "{kernel:?}");
            }
        }
        let (all_bytes, one_bytes) = (4 << 30, 10 << 20);
        let kernel = Kernel { all_bytes, one_bytes, first_receive_bytes: 131_072 };
        let (limits, all) = (Limits::default().fit_sockets(Some(kernel)), Limits::default());
        assert_eq!(limits.socket_memory_bytes(), all.socket_memory_bytes(), "enough of it");
    }

    #[tokio::test]
    async fn some_sockets_grow_and_the_others_are_short() {
        let limits = Limits { growing_sockets: 3, ..Limits::default() };
        let buffers = Buffers::new(&limits);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let owner = |last: u8| match last {
            0 => Owner::Address(IpAddr::from([10, 0, 0, 1])),
            _ => Owner::User(format!("user{last}").parse().unwrap()),
        };
        let mut held = Vec::new();
        for (last, grows) in [(0, false), (1, true), (1, true), (1, false), (2, true), (3, false)] {
            let socket = TcpStream::connect(address).await.unwrap();
            let growing = buffers.choose(&owner(last), &socket);
            assert_eq!(growing.is_some(), grows, "{last}");
            let sizes = (socket_send_buffer_size(&socket), socket_recv_buffer_size(&socket));
            let short = (Ok(limits.socket_send_bytes), Ok(limits.socket_receive_bytes));
            assert_eq!(sizes == short, !grows, "{sizes:?}");
            held.push((growing, socket));
        }
        held.clear();
        let socket = TcpStream::connect(address).await.unwrap();
        assert!(buffers.choose(&owner(3), &socket).is_some(), "given back");
    }
}
