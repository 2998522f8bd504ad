//! The yardstick: how fast two cores can fetch a file, hash it and send it on, with nothing else
//! to care for.
//!
//! ```text
//! relay http://HOST:PORT/SOURCE http://HOST:PORT/BUCKET/KEY
//! ```
//!
//! One connection in, one PUT out, SHA-256 in a second thread. No TLS, no checksum of the store, no
//! retries, no evidence.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measuring program: it ends at once when something is odd"
)]

mod http;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use sha2::{Digest, Sha256};

/// What is read, hashed and written in one go.
const CHUNK_BYTES: usize = 4 * http::BUFFER_BYTES;
const CHUNKS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, target] = arguments.as_slice() else {
        eprintln!("usage: relay SOURCE_URL TARGET_URL (both http://)");
        return;
    };
    let began = Instant::now();
    let (size, digest) = relay(source, target);
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let megabytes = size as f64 / 1e6;
    println!("{seconds:.3} s  {:.1} MB/s  {digest}", megabytes / seconds);
}

fn relay(source: &str, target: &str) -> (u64, String) {
    let (host, path) = parse(source);
    let mut source = TcpStream::connect(host).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    source.write_all(request.as_bytes()).unwrap();
    let mut source = BufReader::new(source);
    let head = http::Head::read(&mut source).unwrap().unwrap();
    assert_eq!(head.word(1), "200", "{}", head.raw);
    let size = head.content_length();

    let (host, path) = parse(target);
    let mut target = TcpStream::connect(host).unwrap();
    let request = format!("PUT {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {size}\r\n\r\n");
    target.write_all(request.as_bytes()).unwrap();

    // Chunks go round: filled here, written here while the hasher reads them, and back.
    let (to_hasher, filled) = mpsc::channel::<(Arc<Vec<u8>>, usize)>();
    let (to_reader, empty) = mpsc::channel();
    for _ in 0..CHUNKS {
        to_reader.send(Arc::new(vec![0; CHUNK_BYTES])).unwrap();
    }
    let hasher = std::thread::spawn(move || {
        let mut sha256 = Sha256::new();
        for (chunk, length) in filled {
            sha256.update(&chunk[..length]);
            // At the end the reader is gone.
            drop(to_reader.send(chunk));
        }
        sha256.finalize()
    });
    let mut left = size;
    while left > 0 {
        let mut chunk: Arc<Vec<u8>> = empty.recv().unwrap();
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let bytes = Arc::get_mut(&mut chunk).unwrap();
        source.read_exact(&mut bytes[..length]).unwrap();
        to_hasher.send((Arc::clone(&chunk), length)).unwrap();
        target.write_all(&chunk[..length]).unwrap();
        left -= length as u64;
    }
    drop(to_hasher);
    let mut answers = BufReader::new(target);
    let head = http::Head::read(&mut answers).unwrap().unwrap();
    assert_eq!(head.word(1), "200", "{}", head.raw);
    http::read_body(&mut answers, head.content_length(), |_| Ok(())).unwrap();
    (size, hex::encode(hasher.join().unwrap()))
}

/// Host with port, and path, of an `http://` URL.
fn parse(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split_at(rest.find('/').unwrap())
}
