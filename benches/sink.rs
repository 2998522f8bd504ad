//! A store that throws away: an S3 server that costs next to nothing, so that what is measured is
//! the client.
//!
//! ```text
//! sink LISTEN
//! ```
//!
//! **It believes what it is told of large bodies.** They are read and forgotten, and the
//! CRC64NVME that came with one is taken for true: it goes into the checksum of the whole object,
//! it is what HEAD answers, and nothing compares it with the bytes. Bodies up to 64 KiB are kept and checked as
//! an honest store checks them, wrong checksums refused, `If-None-Match: *` honoured: the
//! archiver asks for that with small throw-away objects, and reads its manifests back. Signatures
//! are not looked at, buckets are there as soon as they are named.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that is started by hand or by compare.py"
)]

mod crc64nvme;
mod http;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

/// Larger bodies are not kept.
const KEPT_BYTES: u64 = 64 * 1024;
/// A list of parts does not get longer than this in one answer.
const MAX_LISTED_PARTS: usize = 1000;
const CRC64NVME: &str = "x-amz-checksum-crc64nvme";

fn main() -> io::Result<()> {
    let Some(listen) = std::env::args().nth(1).filter(|word| word != "--bench") else {
        eprintln!("usage: sink LISTEN (for example 127.0.0.1:0)");
        return Ok(());
    };
    let listener = TcpListener::bind(listen)?;
    println!("{}", listener.local_addr()?);
    let bucket = Mutex::<Bucket>::default();
    thread::scope(|scope| {
        for client in listener.incoming().flatten() {
            let bucket = &bucket;
            scope.spawn(move || {
                // A client that hangs up in the middle has its reasons.
                drop(serve(client, bucket));
            });
        }
    });
    Ok(())
}

/// All buckets in one: paths begin with the bucket's name.
#[derive(Default)]
struct Bucket {
    objects: HashMap<String, Object>,
    uploads: HashMap<String, Upload>,
    uploads_begun: u64,
}

struct Object {
    body: Body,
    /// What the client had to say about it: content type and `x-amz-meta-…`.
    described: Vec<(String, String)>,
}

struct Upload {
    path: String,
    described: Vec<(String, String)>,
    parts: BTreeMap<u32, Body>,
}

#[derive(Clone, Default)]
struct Body {
    size: u64,
    /// Computed for a small body, believed for a large one.
    crc64nvme: Option<u64>,
    /// Of small bodies only.
    bytes: Option<Vec<u8>>,
}

struct Request {
    head: http::Head,
    path: String,
    query: HashMap<String, String>,
    body: Body,
}

struct Answer {
    status: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn serve(client: TcpStream, bucket: &Mutex<Bucket>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut requests = BufReader::with_capacity(http::BUFFER_BYTES, client.try_clone()?);
    let mut client = client;
    while let Some(request) = Request::read(&mut requests, &mut client)? {
        let answer = if request.is_damaged() {
            Answer::error("400 Bad Request", "BadDigest")
        } else {
            bucket.lock().unwrap().answer(&request)
        };
        let without_body = request.head.word(0) == "HEAD";
        client.write_all(&answer.to_bytes(without_body))?;
    }
    Ok(())
}

impl Request {
    fn read(from: &mut impl BufRead, client: &mut impl Write) -> io::Result<Option<Self>> {
        let Some(head) = http::Head::read(from)? else {
            return Ok(None);
        };
        if head.header("expect").is_some() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (path, query) = head.word(1).split_once('?').unwrap_or((head.word(1), ""));
        let path = percent_decoded(path);
        let query = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (percent_decoded(name), percent_decoded(value)))
            .collect();
        let body = read_body(&head, from)?;
        Ok(Some(Self {
            head,
            path,
            query,
            body,
        }))
    }

    /// Whether the checksum that came along is not that of the body. (With a POST it is that of
    /// the object which is completed.)
    fn is_damaged(&self) -> bool {
        let claimed = self.head.header(CRC64NVME);
        self.head.word(0) == "PUT"
            && claimed.is_some()
            && claimed != self.body.crc64nvme.map(crc64nvme::to_base64).as_deref()
    }

    fn asks(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    fn creates_only(&self) -> bool {
        self.head.header("if-none-match") == Some("*")
    }

    fn described(&self) -> Vec<(String, String)> {
        self.head
            .headers()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .filter(|(name, _)| name == "content-type" || name.starts_with("x-amz-meta-"))
            .collect()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.body.bytes.as_deref().unwrap_or_default()).into_owned()
    }
}

/// Reads a request's body, and keeps it if it is small.
fn read_body(head: &http::Head, from: &mut impl BufRead) -> io::Result<Body> {
    let mut bytes = Vec::new();
    let mut sent = 0;
    let mut keep = |piece: &[u8]| {
        sent += piece.len() as u64;
        if sent <= KEPT_BYTES {
            bytes.extend_from_slice(piece);
        }
        Ok(())
    };
    if head
        .header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        read_chunks(from, &mut keep)?;
    } else {
        http::read_body(from, head.content_length(), keep)?;
    }
    let mut size = sent;
    if head
        .header("content-encoding")
        .is_some_and(|coding| coding.contains("aws-chunked"))
    {
        // Chunks within the body, each with a signature; the true length stands in a header.
        if sent <= KEPT_BYTES {
            let mut inner = Vec::new();
            read_chunks(&mut bytes.as_slice(), &mut |piece| {
                inner.extend_from_slice(piece);
                Ok(())
            })?;
            bytes = inner;
        }
        size = head
            .header("x-amz-decoded-content-length")
            .and_then(|value| value.parse().ok())
            .unwrap_or(sent);
    }
    Ok(if sent <= KEPT_BYTES {
        Body {
            size,
            crc64nvme: Some(crc64nvme::of(&bytes)),
            bytes: Some(bytes),
        }
    } else {
        Body {
            size,
            crc64nvme: head.header(CRC64NVME).and_then(crc64nvme::from_base64),
            bytes: None,
        }
    })
}

/// Reads chunks up to the empty one, and the lines after it.
fn read_chunks(
    from: &mut impl BufRead,
    each: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let length = line.trim().split(';').next().unwrap_or_default();
        let length = u64::from_str_radix(length, 16).map_err(io::Error::other)?;
        http::read_body(from, length, &mut *each)?;
        if length > 0 {
            from.read_line(&mut line)?;
            continue;
        }
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(());
            }
        }
    }
}

impl Bucket {
    fn answer(&mut self, request: &Request) -> Answer {
        let of_bucket = !request.path.trim_matches('/').contains('/');
        let upload_id = request.asks("uploadId");
        match (request.head.word(0), upload_id) {
            ("POST", None) if request.asks("delete").is_some() => self.delete_several(request),
            ("GET", None) if of_bucket && request.asks("location").is_some() => {
                Answer::xml("<LocationConstraint></LocationConstraint>")
            }
            ("GET", None) if of_bucket => self.list(request),
            ("HEAD" | "PUT", None) if of_bucket => Answer::ok(),
            ("POST", None) if request.asks("uploads").is_some() => self.create_upload(request),
            ("PUT", Some(id)) => self.upload_part(id, request),
            ("POST", Some(id)) => self.complete(id, request),
            ("GET", Some(id)) => self.list_parts(id, request),
            ("DELETE", Some(id)) => match self.uploads.remove(id) {
                Some(_) => Answer::no_content(),
                None => Answer::error("404 Not Found", "NoSuchUpload"),
            },
            ("PUT", None) => self.put(request),
            ("GET" | "HEAD", None) => self.get(request),
            ("DELETE", None) => {
                self.objects.remove(&request.path);
                Answer::no_content()
            }
            _ => Answer::error("501 Not Implemented", "NotImplemented"),
        }
    }

    fn put(&mut self, request: &Request) -> Answer {
        if request.creates_only() && self.objects.contains_key(&request.path) {
            return Answer::error("412 Precondition Failed", "PreconditionFailed");
        }
        let body = request.body.clone();
        let answer = Answer::ok()
            .with("ETag", etag(&request.path))
            .with_checksum(body.crc64nvme);
        let described = request.described();
        let object = Object { body, described };
        self.objects.insert(request.path.clone(), object);
        answer
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.path) else {
            return Answer::error("404 Not Found", "NoSuchKey");
        };
        let mut answer = Answer::ok()
            .with("ETag", etag(&request.path))
            .with("Last-Modified", "Sat, 01 Jan 2022 10:00:00 GMT");
        answer.headers.extend(object.described.iter().cloned());
        if request.head.header("x-amz-checksum-mode") == Some("ENABLED") {
            answer = answer.with_checksum(object.body.crc64nvme);
        }
        if request.head.word(0) == "HEAD" {
            return answer.with("Content-Length", object.body.size.to_string());
        }
        match &object.body.bytes {
            Some(bytes) => {
                answer.body.clone_from(bytes);
                answer
            }
            None => Answer::error("501 Not Implemented", "ThrownAway"),
        }
    }

    fn create_upload(&mut self, request: &Request) -> Answer {
        self.uploads_begun += 1;
        let id = format!("upload-{}", self.uploads_begun);
        let answer = Answer::xml(&format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ));
        let upload = Upload {
            path: request.path.clone(),
            described: request.described(),
            parts: BTreeMap::new(),
        };
        self.uploads.insert(id, upload);
        answer
    }

    fn upload_part(&mut self, id: &str, request: &Request) -> Answer {
        let number = request.asks("partNumber").and_then(|n| n.parse().ok());
        let (Some(upload), Some(number)) = (self.uploads.get_mut(id), number) else {
            return Answer::error("404 Not Found", "NoSuchUpload");
        };
        upload.parts.insert(number, request.body.clone());
        Answer::ok()
            .with("ETag", part_etag(number))
            .with_part_checksum(request.body.crc64nvme)
    }

    fn complete(&mut self, id: &str, request: &Request) -> Answer {
        let Some(upload) = self.uploads.get(id) else {
            return Answer::error("404 Not Found", "NoSuchUpload");
        };
        if request.creates_only() && self.objects.contains_key(&upload.path) {
            return Answer::error("412 Precondition Failed", "PreconditionFailed");
        }
        let mut whole = Body {
            crc64nvme: Some(crc64nvme::of(b"")),
            ..Body::default()
        };
        for number in elements(&request.text(), "PartNumber") {
            let part = number.parse().ok().and_then(|n: u32| upload.parts.get(&n));
            let Some(part) = part else {
                return Answer::error("400 Bad Request", "InvalidPart");
            };
            whole.append(part);
        }
        let size = request.head.header("x-amz-mp-object-size");
        if size.is_some_and(|size| size != whole.size.to_string()) {
            return Answer::error("400 Bad Request", "InvalidRequest");
        }
        // Of parts that came without a checksum nothing is known, and the claim is not believed.
        let known = whole.crc64nvme.map(crc64nvme::to_base64);
        let claimed = request.head.header(CRC64NVME);
        if claimed.is_some() && claimed != known.as_deref() {
            return Answer::error("400 Bad Request", "BadDigest");
        }
        let upload = self.uploads.remove(id).unwrap();
        let answer = Answer::xml(&format!(
            "<CompleteMultipartUploadResult><ETag>{}</ETag>{}</CompleteMultipartUploadResult>",
            etag(&upload.path),
            checksum_element(whole.crc64nvme)
        ))
        .with_checksum(whole.crc64nvme);
        let object = Object {
            body: whole,
            described: upload.described,
        };
        self.objects.insert(upload.path, object);
        answer
    }

    fn list_parts(&self, id: &str, request: &Request) -> Answer {
        let Some(upload) = self.uploads.get(id) else {
            return Answer::error("404 Not Found", "NoSuchUpload");
        };
        let number = |name| request.asks(name).and_then(|n| n.parse::<u32>().ok());
        let after = number("part-number-marker").unwrap_or(0);
        let most = number("max-parts").map_or(MAX_LISTED_PARTS, |n| {
            MAX_LISTED_PARTS.min(usize::try_from(n).unwrap_or(MAX_LISTED_PARTS))
        });
        let mut parts = String::new();
        let mut last = after;
        for (number, part) in upload.parts.range(after + 1..).take(most) {
            last = *number;
            write!(
                parts,
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><Size>{}</Size>{}</Part>",
                part_etag(*number),
                part.size,
                checksum_element(part.crc64nvme)
            )
            .unwrap();
        }
        let more = upload.parts.range(last + 1..).next().is_some();
        Answer::xml(&format!(
            "<ListPartsResult><UploadId>{id}</UploadId><NextPartNumberMarker>{last}</NextPartNumberMarker>\
             <IsTruncated>{more}</IsTruncated>{parts}</ListPartsResult>"
        ))
    }

    /// Objects, always all in one answer. Uploads are never told of.
    fn list(&self, request: &Request) -> Answer {
        if request.asks("uploads").is_some() {
            return Answer::xml("<ListMultipartUploadsResult></ListMultipartUploadsResult>");
        }
        let folder = format!("/{}/", request.path.trim_matches('/'));
        let prefix = request.asks("prefix").unwrap_or_default();
        let mut contents = String::new();
        for (path, object) in &self.objects {
            let Some(key) = path.strip_prefix(&folder).filter(|k| k.starts_with(prefix)) else {
                continue;
            };
            write!(
                contents,
                "<Contents><Key>{key}</Key><Size>{}</Size><ETag>{}</ETag>\
                 <LastModified>2022-01-01T10:00:00.000Z</LastModified></Contents>",
                object.body.size,
                etag(path)
            )
            .unwrap();
        }
        Answer::xml(&format!(
            "<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        ))
    }

    fn delete_several(&mut self, request: &Request) -> Answer {
        let folder = format!("/{}/", request.path.trim_matches('/'));
        let mut deleted = String::new();
        for key in elements(&request.text(), "Key") {
            self.objects.remove(&format!("{folder}{key}"));
            write!(deleted, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
        }
        Answer::xml(&format!("<DeleteResult>{deleted}</DeleteResult>"))
    }
}

impl Body {
    fn append(&mut self, part: &Self) {
        self.crc64nvme = self
            .crc64nvme
            .zip(part.crc64nvme)
            .map(|(whole, part_crc)| crc64nvme::joined(whole, part_crc, part.size));
        self.size += part.size;
    }
}

impl Answer {
    fn new(status: &'static str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn ok() -> Self {
        Self::new("200 OK")
    }

    fn no_content() -> Self {
        Self::new("204 No Content")
    }

    fn xml(body: &str) -> Self {
        let mut answer = Self::ok().with("Content-Type", "application/xml");
        answer.body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}").into_bytes();
        answer
    }

    fn error(status: &'static str, code: &str) -> Self {
        let mut answer = Self::xml(&format!(
            "<Error><Code>{code}</Code><Message>the sink says so</Message></Error>"
        ));
        answer.status = status;
        answer
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn with_part_checksum(self, crc64nvme: Option<u64>) -> Self {
        match crc64nvme {
            Some(crc) => self.with(CRC64NVME, crc64nvme::to_base64(crc)),
            None => self,
        }
    }

    fn with_checksum(self, crc64nvme: Option<u64>) -> Self {
        match crc64nvme {
            Some(_) => self
                .with_part_checksum(crc64nvme)
                .with("x-amz-checksum-type", "FULL_OBJECT"),
            None => self,
        }
    }

    fn to_bytes(&self, without_body: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let has_length = |(name, _): &(String, String)| name == "Content-Length";
        if self.status != "204 No Content" && !self.headers.iter().any(has_length) {
            write!(head, "Content-Length: {}\r\n", self.body.len()).unwrap();
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !without_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// Not the MD5 that some stores give: nothing here depends on the bytes.
fn etag(path: &str) -> String {
    format!("\"{:016x}-1\"", crc64nvme::of(path.as_bytes()))
}

fn part_etag(number: u32) -> String {
    format!("\"{number:032x}\"")
}

fn checksum_element(crc64nvme: Option<u64>) -> String {
    crc64nvme.map_or_else(String::new, |crc| {
        let text = crc64nvme::to_base64(crc);
        format!("<ChecksumCRC64NVME>{text}</ChecksumCRC64NVME>")
    })
}

/// The texts of all elements with a name, in a document without surprises.
fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open)
        .skip(1)
        .filter_map(|rest| rest.split(&close).next())
        .map(str::trim)
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let code = piece.get(..2).and_then(|c| u8::from_str_radix(c, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                bytes.extend_from_slice(&piece.as_bytes()[2..]);
            }
            None => bytes.extend_from_slice(piece.as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
