//! A bad line to a good source: an HTTP proxy that slows each connection down, or breaks off
//! answers in the middle.
//!
//! ```text
//! breaking_proxy LISTEN UPSTREAM [--break-every N] [--bytes-per-second N]
//! ```
//!
//! `--break-every 5` closes the connection after half the body of each fifth answer with a range
//! (206), counted over all connections: always the same share of answers, without chance.
//! `--bytes-per-second` holds for each connection, over all its answers: a client gains nothing by
//! asking for small ranges, as it would with nginx's `limit_rate`, which begins each answer with a
//! second's worth at full speed.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that is started by hand or by compare.py"
)]

mod http;

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How much of what a connection did not use it may make up for; keeps naps longer than what the
/// clock can tell apart.
const BURST: Duration = Duration::from_millis(10);

/// Bodies shorter than this (errors, the API) are never broken off.
const SHORT_BYTES: u64 = 64 * 1024;

#[derive(Default)]
struct Trouble {
    break_every: u64,
    bytes_per_second: u64,
    ranges_answered: AtomicU64,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(Ok(upstream))) = (
        arguments.next(),
        arguments.next().map(|upstream| upstream.parse()),
    ) else {
        eprintln!("usage: breaking_proxy LISTEN UPSTREAM [--break-every N] [--bytes-per-second N]");
        return Ok(());
    };
    let mut trouble = Trouble::default();
    while let Some(option) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (option.as_str(), value) {
            ("--break-every", Some(value)) => trouble.break_every = value,
            ("--bytes-per-second", Some(value)) => trouble.bytes_per_second = value,
            _ => return Err(io::Error::other(format!("what is {option}?"))),
        }
    }
    let listener = TcpListener::bind(listen)?;
    println!("{}", listener.local_addr()?);
    thread::scope(|scope| {
        for client in listener.incoming().flatten() {
            let trouble = &trouble;
            // A connection that ends with an error is the client's to notice.
            scope.spawn(move || drop(serve(client, upstream, trouble)));
        }
    });
    Ok(())
}

fn serve(client: TcpStream, upstream: SocketAddr, trouble: &Trouble) -> io::Result<()> {
    client.set_nodelay(true)?;
    let upstream = TcpStream::connect(upstream)?;
    upstream.set_nodelay(true)?;
    let mut pace = Pace::new(trouble.bytes_per_second);
    let (mut requests, mut to_client) = (BufReader::new(client.try_clone()?), client);
    let (mut answers, mut to_upstream) = (
        BufReader::with_capacity(http::BUFFER_BYTES, upstream.try_clone()?),
        upstream,
    );
    while let Some(request) = http::Head::read(&mut requests)? {
        to_upstream.write_all(request.raw.as_bytes())?;
        let Some(answer) = http::Head::read(&mut answers)? else {
            return Ok(());
        };
        to_client.write_all(answer.raw.as_bytes())?;
        if request.word(0) == "HEAD" {
            continue;
        }
        let whole = answer.content_length();
        let breaks = answer.word(1) == "206" && whole > SHORT_BYTES && trouble.breaks_now();
        let length = if breaks { whole / 2 } else { whole };
        http::read_body(&mut answers, length, |bytes| {
            for bytes in bytes.chunks(pace.step_bytes) {
                pace.wait(bytes.len());
                to_client.write_all(bytes)?;
            }
            Ok(())
        })?;
        if breaks {
            eprintln!("broken off: {length} of {whole} bytes came");
            return Ok(());
        }
    }
    Ok(())
}

impl Trouble {
    /// Counts an answer; says whether it is one to break off.
    fn breaks_now(&self) -> bool {
        let number = self.ranges_answered.fetch_add(1, Ordering::Relaxed) + 1;
        self.break_every > 0 && number.is_multiple_of(self.break_every)
    }
}

/// Holds one connection to its speed.
struct Pace {
    bytes_per_second: u64,
    step_bytes: usize,
    /// When the next byte may go.
    next: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            step_bytes: if bytes_per_second == 0 {
                usize::MAX
            } else {
                32 * 1024
            },
            next: Instant::now(),
        }
    }

    fn wait(&mut self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        let now = Instant::now();
        self.next = self.next.max(now.checked_sub(BURST).unwrap_or(now));
        thread::sleep(self.next.saturating_duration_since(now));
        let nanos = bytes as u64 * 1_000_000_000 / self.bytes_per_second;
        self.next += Duration::from_nanos(nanos);
    }
}
