//! The S3 server of the tests: honest and strict by itself, a liar where a test wants one.

use std::time::Duration;

use crc_fast::CrcAlgorithm;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{ObjectStoreExt, RetryConfig};
use recording_archiver::digest::Crc64Nvme;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::harness::s3::{ACCESS_KEY_ID, BUCKET, Call, S3Server, SECRET_ACCESS_KEY, StoreFault};
use crate::harness::world::PART;

const KEY: &str = "a/recording.mp4";
const CRC: &str = "x-amz-checksum-crc64nvme";
const CREATE_ONLY: (&str, &str) = ("if-none-match", "*");

/// One upload of three parts to a server, and what a client knows of it.
struct Uploading {
    server: S3Server,
    client: AmazonS3,
    http: reqwest::Client,
    id: String,
    parts: Vec<PartId>,
    whole: Vec<u8>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    /// The code of a refusal, or nothing.
    fn code(&self) -> &str {
        let code = self.body.split_once("<Code>").map_or("", |(_, rest)| rest);
        code.split_once("</Code>").map_or("", |(code, _)| code)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn crc(bytes: &[u8]) -> String {
    Crc64Nvme::from_value(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)).to_string()
}

fn parts_of(whole: &[u8]) -> impl Iterator<Item = &[u8]> {
    whole.chunks(usize::try_from(PART).unwrap())
}

impl Uploading {
    async fn begin() -> Self {
        let server = S3Server::start().await;
        let client = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_endpoint(server.endpoint())
            .with_allow_http(true)
            .with_access_key_id(ACCESS_KEY_ID)
            .with_secret_access_key(SECRET_ACCESS_KEY)
            .with_checksum_algorithm(Checksum::CRC64NVME)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .unwrap();
        let size = usize::try_from(2 * PART + 5).unwrap();
        let mut uploading = Self {
            server,
            client,
            http: reqwest::Client::builder()
                .timeout(Duration::from_mins(1))
                .build()
                .unwrap(),
            id: String::new(),
            parts: Vec::new(),
            whole: (0..=250).cycle().take(size).collect(),
        };
        uploading.begin_again().await;
        uploading
    }

    /// Sends the parts from the first, to a new upload.
    async fn begin_again(&mut self) {
        let path = Path::from(KEY);
        self.id = self.client.create_multipart(&path).await.unwrap();
        self.parts.clear();
        for (index, part) in parts_of(&self.whole).enumerate() {
            let part = part.to_vec().into();
            let sent = self.client.put_part(&path, &self.id, index, part).await;
            self.parts.push(sent.unwrap());
        }
    }

    async fn ask(
        &self,
        method: Method,
        query: &[(&str, &str)],
        headers: &[(&'static str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut options = SignedUrlOptions::default().with_query(query.iter().copied());
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            options = options.with_signed_header(HeaderName::from_static(name), value.clone());
            sent.insert(HeaderName::from_static(name), value);
        }
        let (path, lifetime) = (Path::from(KEY), Duration::from_mins(1));
        let signed = self
            .client
            .signed_url_opts(method.clone(), &path, lifetime, &options);
        let request = self.http.request(method, signed.await.unwrap());
        let answer = request.headers(sent).body(body).send().await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: answer.text().await.unwrap(),
        }
    }

    /// Completes the upload out of the parts with these numbers.
    async fn complete_of(&self, numbers: &[usize], headers: &[(&'static str, &str)]) -> Answer {
        let named = numbers.iter().map(|number| {
            // object_store has the elements of a part, under names of its own, for its id.
            let part = self.parts.get(number - 1);
            part.map_or("<Part></Part>", |part| &part.content_id)
                .replace("PartMetadata", "Part")
                .replace("e_tag", "ETag")
                .replace("checksum_crc64nvme", "ChecksumCRC64NVME")
                .replace(
                    "</Part>",
                    &format!("<PartNumber>{number}</PartNumber></Part>"),
                )
        });
        let xml = named.collect::<String>();
        let xml = format!("<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>");
        let query = [("uploadId", self.id.as_str())];
        self.ask(Method::POST, &query, headers, xml).await
    }

    async fn complete(&self, headers: &[(&'static str, &str)]) -> Answer {
        self.complete_of(&[1, 2, 3], headers).await
    }

    /// Completes with all that is true of the object.
    async fn complete_truly(&self) -> Answer {
        let (crc, size) = (crc(&self.whole), self.whole.len().to_string());
        self.complete(&[
            (CRC, &crc),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("x-amz-mp-object-size", &size),
            CREATE_ONLY,
        ])
        .await
    }

    async fn list(&self, more: &[(&str, &str)]) -> Answer {
        let mut query = vec![("uploadId", self.id.as_str())];
        query.extend(more);
        self.ask(Method::GET, &query, &[], "").await
    }

    async fn head(&self) -> Answer {
        let mode = ("x-amz-checksum-mode", "ENABLED");
        self.ask(Method::HEAD, &[], &[mode], "").await
    }

    fn stored(&self) -> Option<Vec<u8>> {
        std::fs::read(self.server.path_of(KEY)).ok()
    }
}

#[tokio::test]
async fn only_what_is_right_in_every_point_is_completed() {
    let mut it = Uploading::begin().await;
    let (wrong, short) = (crc(b"else"), (it.whole.len() - 1).to_string());
    for (numbers, headers, code) in [
        (&[1, 2, 3][..], &[(CRC, wrong.as_str())][..], "BadDigest"),
        (&[1, 2], &[(CRC, &crc(&it.whole))], "BadDigest"),
        (
            &[1, 2, 3],
            &[("x-amz-mp-object-size", &short)],
            "InvalidRequest",
        ),
        (&[1, 3, 2], &[], "InvalidPartOrder"),
        (&[1, 2, 2], &[], "InvalidPartOrder"),
        (&[1, 2, 4], &[], "InvalidPart"),
        (&[], &[], "MalformedXML"),
    ] {
        let answer = it.complete_of(numbers, headers).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code));
    }
    assert_eq!(it.stored(), None);
    assert_eq!(it.server.unfinished_uploads(), [it.id.as_str()]);

    let answer = it.complete_truly().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(&crc(&it.whole)), "{}", answer.body);
    assert!(it.stored().unwrap() == it.whole);
    let head = it.head().await;
    assert_eq!(head.header(CRC), Some(crc(&it.whole).as_str()));
    assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    let unasked = it.ask(Method::HEAD, &[], &[], "").await;
    assert_eq!(unasked.header(CRC), None);
    assert_eq!(it.complete_truly().await.code(), "NoSuchUpload");

    it.begin_again().await;
    let answer = it.complete_truly().await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (412, "PreconditionFailed")
    );
    assert_eq!(it.server.upload_ids().len(), 2);
    it.server.honour_create_only(false);
    assert_eq!(it.complete_truly().await.status, 200);
    assert_eq!(it.server.unfinished_uploads(), [""; 0]);
}

#[tokio::test]
async fn an_object_may_be_made_of_some_of_the_parts() {
    let it = Uploading::begin().await;
    let rest = &it.whole[usize::try_from(PART).unwrap()..];
    let answer = it.complete_of(&[2, 3], &[(CRC, &crc(rest))]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(it.stored().unwrap() == rest);
}

#[tokio::test]
async fn a_liar_repeats_what_it_was_told() {
    let mut it = Uploading::begin().await;
    let wrong = crc(b"else");
    it.server.honour_object_checksum(false);
    it.server.honour_object_size(false);
    let lies = [(CRC, wrong.as_str()), ("x-amz-mp-object-size", "1")];
    let answer = it.complete(&lies).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(it.head().await.header(CRC), Some(wrong.as_str()));
    it.server.returns_checksums(false);
    assert_eq!(it.head().await.header(CRC), None);

    it.begin_again().await;
    assert!(
        !it.parts[0].content_id.contains("crc64nvme"),
        "{:?}",
        it.parts
    );
    it.server.returns_checksums(true);
    let part = [("uploadId", it.id.as_str()), ("partNumber", "2")];
    let put = || it.ask(Method::PUT, &part, &lies[..1], "part");
    assert_eq!(put().await.code(), "BadDigest");
    it.server.honour_part_checksums(false);
    let answer = put().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header(CRC), Some(wrong.as_str()));
}

#[tokio::test]
async fn parts_are_listed_page_by_page() {
    let it = Uploading::begin().await;
    it.server.list_parts_by(2);
    let first = it.list(&[]).await;
    let count = |answer: &Answer| answer.body.matches("<PartNumber>").count();
    let (one, two, three) = {
        let mut parts = parts_of(&it.whole);
        (
            parts.next().unwrap(),
            parts.next().unwrap(),
            parts.next().unwrap(),
        )
    };
    assert_eq!(count(&first), 2, "{}", first.body);
    for said in [
        "<IsTruncated>true</IsTruncated>",
        "<NextPartNumberMarker>2</NextPartNumberMarker>",
        "<ETag>\"",
        &format!("<Size>{PART}</Size>"),
        &format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", crc(one)),
        &format!("<ChecksumCRC64NVME>{}</ChecksumCRC64NVME>", crc(two)),
    ] {
        assert!(first.body.contains(said), "{said}: {}", first.body);
    }
    let second = it.list(&[("part-number-marker", "2")]).await;
    assert_eq!(count(&second), 1, "{}", second.body);
    assert!(second.body.contains("<IsTruncated>false</IsTruncated>"));
    assert!(second.body.contains(&crc(three)), "{}", second.body);
    assert_eq!(count(&it.list(&[("max-parts", "1")]).await), 1);
    it.server.supports_list_parts(false);
    assert_eq!(it.list(&[]).await.status, 501);
    assert_eq!(it.server.count(Call::ListParts), 4);
}

#[tokio::test]
async fn what_happens_to_the_parts_behind_everyones_back_is_noticed() {
    let mut it = Uploading::begin().await;
    // object_store names each part's checksum too; the object's own must do alone.
    it.server.returns_checksums(false);
    for (fault, code) in [
        (StoreFault::SwapParts(1, 2), "BadDigest"),
        (StoreFault::AlterPart(2), "BadDigest"),
        (StoreFault::LosePart(2), "InvalidPart"),
        (StoreFault::DropPartsFrom(2), "InvalidPart"),
        (StoreFault::ForgetUpload, "NoSuchUpload"),
    ] {
        it.begin_again().await;
        it.server.inject(Call::Complete, fault, 1);
        assert_eq!(it.complete_truly().await.code(), code);
    }
    assert_eq!(it.stored(), None);

    it.server.returns_checksums(true);
    it.server
        .inject_after(1, Call::PutPart, StoreFault::AlterPart(2), 1);
    it.begin_again().await;
    assert_eq!(it.complete_truly().await.code(), "InvalidPart");
    let received = it.server.parts_received();
    assert_eq!(received.len(), 7 * 3);
    assert_eq!(received[2], (KEY.to_owned(), 3, 5));
}

#[tokio::test]
async fn an_object_that_is_refused_leaves_nothing() {
    let it = Uploading::begin().await;
    let path = Path::from(KEY);
    it.server.inject(Call::Put, StoreFault::DamageInTransit, 1);
    let refused = it.client.put(&path, "whole".into()).await.unwrap_err();
    assert!(refused.to_string().contains("BadDigest"), "{refused}");
    assert_eq!(it.stored(), None);
    it.client.put(&path, "whole".into()).await.unwrap();
    assert_eq!(it.head().await.header(CRC), Some(crc(b"whole").as_str()));
}

#[tokio::test]
async fn a_share_of_faults_spares_the_probes_alone() {
    let it = Uploading::begin().await;
    it.server.inject_in_share(1.0, 1);
    let manifest = format!("{KEY}.manifest.json");
    for (key, spared) in [
        (KEY, false),
        (&manifest, false),
        ("a/.recording-archiver-probe/x", true),
    ] {
        let before = it.server.faults_drawn();
        let put = it.client.put(&Path::from(key), "whole".into()).await;
        assert_eq!(it.server.faults_drawn() == before, spared, "{key}");
        assert_eq!(put.is_ok(), spared, "{key}: {put:?}");
    }
}
