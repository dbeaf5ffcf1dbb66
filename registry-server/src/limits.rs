//! The bounds of the server, each with its unit in its name.
//!
//! Here stands what protects the server and what a client or an operator can meet; what an
//! algorithm tunes for itself stands beside its code. A crate below is handed its bounds from here,
//! or has its own at the bottom of their files.
//!
//! Blobs have no bound but the disk. The values are for one machine that serves one site; tests
//! make them small to reach them.

use std::time::Duration;

/// The bounds that a running server keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest request line and headers together. Token requests of some clients carry many
    /// scopes in one URL, and other registries failed on those.
    pub head_bytes: usize,
    /// The most headers of one request.
    pub headers: usize,
    /// The longest manifest, where clients stop too.
    pub manifest_bytes: usize,
    /// The most digests that one manifest may name: each is a row, and all of them are written at
    /// once. Images have some hundred layers at most, and indexes fewer than a hundred images.
    pub manifest_descriptors: usize,
    /// The longest `Authorization` header; it is refused before it is decoded.
    pub authorization_bytes: usize,
    /// The longest path and query of a request.
    pub uri_bytes: usize,
    /// The most tags that one push of a manifest may set with `?tag=`.
    pub tags_per_push: usize,
    /// Entries of one page of a list, whatever a client asks for. It has `small_body_bytes` at
    /// most, unless it is a single referrer.
    pub page_entries: usize,

    /// Connections at once, or fewer where a process may open few files. At the limit one gives way
    /// to a newcomer. One owner has more than `connection_share` of them only while nobody waits.
    pub connections: usize,
    /// Newcomers that wait for a place at once. Beyond that those are closed that have sent nothing
    /// yet. The next wait in the system's queue for as long as places change hands quickly; if they
    /// do not, the one that came last is closed, of the network from which most of them are.
    pub waiting_connections: usize,
    /// How long a newcomer waits for a place when no connection gives way.
    pub place_time: Duration,
    /// Connections at once whose buffers in the kernel grow as it sees fit, for fast links to
    /// distant clients, and as few as the kernel has memory for; of one user half of them, and none
    /// without a login. All others have short buffers as soon as they move more than a few requests
    /// do.
    pub growing_sockets: usize,
    /// What the kernel lets the two buffers of one such connection grow to, in bytes.
    pub grown_socket_bytes: usize,
    /// The short buffer of what goes out, in bytes as the kernel counts, which counts what it needs
    /// beside them. Over the host's own interface a packet has 64 KiB, and with room for one alone
    /// each waits for an acknowledgement, 40 ms long.
    pub socket_send_bytes: usize,
    /// The same of what comes in.
    pub socket_receive_bytes: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_time: Duration,
    /// From the first byte of a head to its last.
    pub head_time: Duration,
    /// From the end of an answer to the first byte of the next head. Clients give up after 90 s,
    /// and it is better that they close than that we do.
    pub keep_alive_time: Duration,
    /// Between two pieces of a request's body that is gathered in memory. How often it is looked at
    /// whether an upload that rests still has somebody to go on for.
    pub body_idle_time: Duration,
    /// While an answer waits for the client to read.
    pub write_idle_time: Duration,
    /// How long an upload may rest between two pieces of its body: as long as the source of a slow
    /// mirror run may take over a layer. It costs a connection, which is given up when others need
    /// its place and it rested for longer than `body_idle_time`; of whoever has more than half of
    /// all connections, for longer than a second.
    pub upload_rest_time: Duration,
    /// The rest of a refused request's body for which its connection is kept: with more of it, or
    /// with one of unknown length, a new connection costs less.
    pub kept_body_bytes: u64,
    /// How much of a refused request's body is read and dropped so that the client reads why.
    pub refused_body_bytes: u64,
    /// How long a refused request's body is read and dropped.
    pub refused_body_time: Duration,
    /// How long a stopping server waits for requests to end.
    pub drain_time: Duration,

    /// Upload sessions of one user at once. At the limit the one idle longest ends.
    pub uploads_per_user: usize,
    /// Bytes of the disk that uploads leave free, but never more than a twentieth of it: for
    /// manifests, deletes, collection, and the log that comes with them.
    pub reserve_bytes: u64,
    /// How long an upload session may lie unused.
    pub upload_idle_time: Duration,
    /// How often sessions that lay unused for too long are looked for.
    pub upload_sweep_time: Duration,
    /// How often it is kept where the store's own clock stands: what passed since is lost when the
    /// process is killed, and things are that much younger then.
    pub clock_keep_time: Duration,
    /// Bytes of an upload that are gathered before they are written, at most: each hand-over to
    /// the writing thread costs, and so does a batch that outgrows the processor's cache. Two
    /// batches are in memory at most: one being written, one being gathered.
    pub upload_batch_bytes: usize,
    /// How long a batch is gathered, so that what a slow client sent is soon in the file.
    pub upload_batch_time: Duration,
    /// Bytes of such batches in memory for all uploads together. Many at once have smaller
    /// batches each, but none smaller than `upload_batch_min_bytes`.
    pub upload_memory_bytes: usize,
    /// The smallest bound of a batch.
    pub upload_batch_min_bytes: usize,
    /// Bytes of a blob that are read at once, at most. Two such pieces are in memory at most.
    pub download_piece_bytes: usize,
    /// Bytes of such pieces in memory for all blobs that are sent together. Many at once have
    /// smaller pieces each, but none smaller than `download_piece_min_bytes`.
    pub download_memory_bytes: usize,
    /// The smallest bound of a piece.
    pub download_piece_min_bytes: usize,
    /// The longest manifest, blob or page of a list that is received or sent from memory without
    /// asking for room: each connection has as much. A longer manifest comes over the disk, and
    /// goes a piece of this size at a time where there is no room.
    pub small_body_bytes: usize,
    /// Bytes of manifests of at most `small_body_bytes` that were answered lately and are kept in
    /// memory to be answered again, with what it takes to find them: a few thousand. Beyond that
    /// those go first that nobody asked for again.
    pub hot_manifest_bytes: usize,
    /// Bytes of longer blobs, manifests, referrers and lists of ranges in memory, of all clients
    /// together. Who finds no room gets them a piece at a time.
    pub body_memory_bytes: usize,
    /// Bytes of those in memory of one user, or of one address without a login.
    pub body_memory_share_bytes: usize,
    /// The largest blob that is read and held against its digest before its first byte is sent. It
    /// is in memory until its last one is. For larger ones it would cost more than half of a pull.
    pub hashed_blob_bytes: u64,
    /// Ranges of one request that are answered one by one unless they overlap: containers/image
    /// asks for so many at most, and counts them. Of more, those that are close are joined; how
    /// many there can be is bounded by `head_bytes`.
    pub ranges: usize,

    /// Reads of the disk or the database at once.
    pub reads: usize,
    /// Writes to the disk or the database at once. Apart from the reads, so that no number of
    /// waiting pushes keeps a pull waiting.
    pub writes: usize,
    /// Uploads that become blobs at once: they may wait for each other, or read a file again.
    pub commits: usize,
    /// Manifests and lists of more than `small_body_bytes` that are worked on at once; of each user
    /// one.
    pub heavy: usize,
    /// How long a read of the database waits at most, once in 32 MiB of changes, when readers that
    /// overlap keep its log from being truncated: as long as a page of a list takes on a slow disk.
    pub read_pause_time: Duration,
    /// Pieces of upkeep at once: collection, verification, backup, by hand and on schedule. Those
    /// beyond wait for their turn.
    pub longs: usize,

    /// Credentials that were right once and are remembered; beyond that the one that was used
    /// longest ago has to be verified again. There is one for each user who logged in.
    pub login_memory_entries: usize,
    /// How long a request for a list waits for the verification of a credential that was never
    /// right, behind those of others.
    pub login_wait_time: Duration,

    /// Lines of the log a minute about logins that failed, and as many about each other kind of
    /// request or connection that was refused: what goes beyond is counted.
    pub refusal_lines_per_minute: usize,
    /// The same of changes that clients made, and of requests that failed inside: more than
    /// mirroring brings about, and less than somebody does who changes one thing again and again.
    pub change_lines_per_minute: usize,

    /// The longest command over the socket.
    pub command_bytes: usize,
    /// How often a command that takes long hears that the server is at it, if there is no other
    /// news.
    pub command_news_time: Duration,
    /// How long deletions are held off for a backup or an export that gives no sign of life: longer
    /// than a slow disk takes for a piece, and not as long as a pipe that nobody reads lasts.
    pub hold_silence_time: Duration,
}

impl Limits {
    /// The anonymous memory that the server has at most, whatever clients do, in bytes. The page
    /// cache, which pulls live on, is none of it.
    pub fn memory_bytes(&self) -> usize {
        let least_batches = 2 * self.connections * self.upload_batch_min_bytes;
        let least_pieces = 2 * self.connections * self.download_piece_min_bytes;
        OWN_MEMORY_BYTES
            + self.threads() * THREAD_BYTES
            + self.connections * (CONNECTION_BYTES + self.small_body_bytes)
            // A connection either receives or sends.
            + self.upload_memory_bytes.max(least_batches)
            + self.download_memory_bytes.max(least_pieces)
            + self.body_memory_bytes
            + self.hot_manifest_bytes
            + self.heavy * MANIFEST_COPIES * self.manifest_bytes
    }

    /// The memory of the kernel that the sockets of all connections have at most, in bytes, beside
    /// the server's own.
    pub fn socket_memory_bytes(&self) -> usize {
        self.growing_sockets * self.grown_socket_bytes
            + self.connections * (self.socket_send_bytes + self.socket_receive_bytes)
    }

    /// Connections at once of one user, or of one address without a login: three quarters.
    pub fn connection_share(&self) -> usize {
        self.connections - self.connections / OTHERS_SHARE
    }

    /// Threads that may wait for the disk at once.
    pub fn threads(&self) -> usize {
        self.reads + self.writes + self.commits + self.heavy + self.longs
    }

    /// Readers of the database at once, at most: whatever blocks on the store may read.
    pub fn database_readers(&self) -> usize {
        self.threads()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * KIB,
            headers: 100,
            manifest_bytes: 4 * MIB,
            manifest_descriptors: 4096,
            authorization_bytes: 8 * KIB,
            uri_bytes: 32 * KIB,
            tags_per_push: 100,
            page_entries: 10_000,
            connections: 4096,
            waiting_connections: 512,
            place_time: Duration::from_secs(10),
            growing_sockets: 32,
            // What the kernel's own defaults add up to: 4 MiB and 6 MiB.
            grown_socket_bytes: 10 * MIB,
            socket_send_bytes: 128 * KIB,
            // What the kernel begins with by default, and none may have less ([`crate::net`]).
            socket_receive_bytes: 128 * KIB,
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(30),
            keep_alive_time: Duration::from_secs(300),
            body_idle_time: Duration::from_secs(120),
            write_idle_time: Duration::from_secs(300),
            upload_rest_time: Duration::from_secs(24 * 3600),
            kept_body_bytes: MIB as u64,
            refused_body_bytes: 256 * MIB as u64,
            refused_body_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(60),
            uploads_per_user: 10_000,
            reserve_bytes: 256 * MIB as u64,
            upload_idle_time: Duration::from_secs(7 * 24 * 3600),
            upload_sweep_time: Duration::from_secs(3600),
            clock_keep_time: Duration::from_secs(60),
            upload_batch_bytes: MIB,
            upload_batch_time: Duration::from_secs(1),
            upload_memory_bytes: 8 * MIB,
            upload_batch_min_bytes: 16 * KIB,
            download_piece_bytes: 256 * KIB,
            download_memory_bytes: 32 * MIB,
            download_piece_min_bytes: 16 * KIB,
            small_body_bytes: 64 * KIB,
            hot_manifest_bytes: 16 * MIB,
            body_memory_bytes: 64 * MIB,
            body_memory_share_bytes: 16 * MIB,
            hashed_blob_bytes: MIB as u64,
            ranges: 1024,
            reads: 32,
            writes: 64,
            commits: 128,
            heavy: 2,
            read_pause_time: Duration::from_secs(1),
            longs: 8,
            login_memory_entries: 64 * KIB,
            login_wait_time: Duration::from_secs(30),
            refusal_lines_per_minute: 60,
            change_lines_per_minute: 6000,
            command_bytes: 64 * KIB,
            command_news_time: Duration::from_secs(10),
            hold_silence_time: Duration::from_secs(3600),
        }
    }
}

/// The time that a connection has for its handshake and its first request at least, before it gives
/// way to a newcomer.
pub const LOGIN_TIME: Duration = Duration::from_secs(1);
/// How long a connection without a login may say nothing at all: whoever opens one to use it begins
/// at once.
pub const SILENT_TIME: Duration = Duration::from_millis(500);
/// How long somebody without a login may wait for an answer before he gives way. His first login
/// has its turn long before, unless those from his address alone are many.
pub const WAITING_TIME: Duration = Duration::from_secs(5);
/// How long the end of a connection may take: telling why, and that this is the end.
pub const ENDING_TIME: Duration = Duration::from_secs(2);

/// The shortest password that is accepted for a new user, in bytes.
pub const PASSWORD_MIN_BYTES: usize = 8;
/// The longest password, in bytes. It must fit into an `Authorization` header.
pub const PASSWORD_MAX_BYTES: usize = 1024;

/// Bytes that must be free where the data go, or nothing is installed: an empty registry has one,
/// and the first pushes need the rest.
pub const INSTALL_FREE_BYTES: u64 = 256 * MIB as u64;
/// Bytes that the images of one OpenShift release take, roughly: with less an administrator is
/// told.
pub const RELEASE_BYTES: u64 = 20 * 1024 * MIB as u64;

/// The shortest grace time of collection on a schedule.
pub const GC_GRACE_MIN_TIME: Duration = Duration::from_secs(3600);
/// The longest time that a person may give, for whatever it is: 100 years.
pub const SPAN_MAX_TIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The shortest interval of a task of upkeep.
pub const UPKEEP_MIN_INTERVAL: Duration = Duration::from_secs(1);
/// How long it is kept what tags named, at least.
pub const TAG_HISTORY_TIME: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long a command waits for the answer of a running server, unless it takes long by nature, and
/// until the server takes the connection.
pub const COMMAND_TIME: Duration = Duration::from_secs(60);
/// How long a command that takes long hears nothing from a running server before it gives up. The
/// server says that it is there every `Limits::command_news_time`, whatever the work waits for: its
/// turn, a disk, or the pace that was asked for. The watchdog of a service is faster.
pub const COMMAND_SILENCE_TIME: Duration = Duration::from_secs(300);
/// The longest line that a running server may answer with, in bytes. What belongs to an image comes
/// in pages of a few times 4 MiB at most, as its manifest does; the longest list is that of users,
/// and this is room for 100,000 of them.
pub const REPLY_BYTES: usize = 16 * MIB;

/// Bytes of a sentence to a client about what is wrong, at most.
pub const MESSAGE_BYTES: usize = 4096;
/// Indexes within indexes that `registry inspect` follows. Nobody builds more than two on purpose,
/// and each takes a part of the stack.
pub const MAX_INDEXES: usize = 32;
/// Bytes of an event that its line in the log has, at most: a path can have 64 KiB.
pub const LOG_LINE_BYTES: usize = 16 * KIB;
/// Bytes of lines that wait for standard error, at most. As many again are being written.
pub const LOG_QUEUE_BYTES: usize = MIB;

/// One place in so many is out of the reach of an owner who takes all that he gets.
const OTHERS_SHARE: usize = 4;
/// What the server has by itself: its code's data, the database's caches, what it remembers of
/// logins and of what clients were told, and one verification of a password.
const OWN_MEMORY_BYTES: usize = 64 * MIB;
/// What a thread that waits for the disk has, with its connection to the database.
const THREAD_BYTES: usize = 256 * KIB;
/// What a long manifest takes while it is worked on: its bytes, what is read from them, and what
/// the database makes of it, as a multiple of its length.
const MANIFEST_COPIES: usize = 4;
/// What a connection costs beside bodies: TLS, a buffer for what comes and one for what goes.
const CONNECTION_BYTES: usize = 96 * KIB;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
