//! How objects are named to people.

use super::*;
use crate::config::{Addressing, ChecksumMode, S3Credentials};

fn storage(location: StorageLocation) -> Storage {
    let config = StorageConfig {
        location,
        endpoint: None,
        region: None,
        addressing: Addressing::Auto,
        checksum: ChecksumMode::Auto,
        verify: VerifyMode::Auto,
        part_size_bytes: 5 * 1024 * 1024,
        storage_class: None,
        kms_key_id: None,
        layout: Layout::DEFAULT.parse().unwrap(),
        credentials: S3Credentials::None,
    };
    Storage::open_to_look(&config).unwrap()
}

fn in_bucket() -> Storage {
    storage(StorageLocation::S3 {
        bucket: "recordings".to_owned(),
        prefix: "video".to_owned(),
    })
}

fn in_directory(root: &str) -> Storage {
    storage(StorageLocation::File { root: root.into() })
}

fn key(key: &str) -> ObjectKey {
    ObjectKey::from_stored(key.to_owned()).unwrap()
}

/// aws-cli, s3cmd and the SDKs take what follows the bucket as the key, and decode nothing.
#[test]
fn object_url_is_what_tools_take() {
    let all = "video/aZ09-_.=+@,:;!$&'()/x.mp4";
    for (storage, of, expected) in [
        (
            in_bucket(),
            "video/year=2022/month=01/x.mp4",
            "s3://recordings/video/year=2022/month=01/x.mp4",
        ),
        (
            in_bucket(),
            all,
            "s3://recordings/video/aZ09-_.=+@,:;!$&'()/x.mp4",
        ),
        (
            in_directory("/srv/archive"),
            "year=2022/x.mp4",
            "file:///srv/archive/year=2022/x.mp4",
        ),
        (
            in_directory("/srv/archive"),
            all,
            "file:///srv/archive/video/aZ09-_.=+@,:;!$&'()/x.mp4",
        ),
        (
            in_directory("/srv/my archive/50%#?/ä"),
            "a=b",
            "file:///srv/my%20archive/50%25%23%3F/%C3%A4/a=b",
        ),
    ] {
        let url = storage.object_url(&key(of));
        assert_eq!(url, expected);
        assert!(url.starts_with(&storage.url_root()), "{url}");
        assert!(storage.is_at(&key(of), &url), "{url}");
    }
}

#[test]
fn is_at_takes_the_former_spelling_and_no_other_place() {
    let of = key("video/year=2022/x.mp4");
    for (url, is_here) in [
        ("s3://recordings/video/year=2022/x.mp4", true),
        ("s3://recordings/video/year%3D2022/x.mp4", true),
        ("s3://recordings/video/year=2022/y.mp4", false),
        ("s3://other/video/year=2022/x.mp4", false),
        ("file:///video/year=2022/x.mp4", false),
        ("", false),
    ] {
        assert_eq!(in_bucket().is_at(&of, url), is_here, "{url}");
    }
    let directory = in_directory("/srv");
    assert!(!directory.is_at(&key("a=b"), "file:///srv/a%3Db"));
}
