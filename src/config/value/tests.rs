use super::*;

#[test]
fn durations_need_a_unit() {
    let read = |text| duration(text, Duration::ZERO);
    assert_eq!(read("15m"), Ok(Duration::from_mins(15)));
    assert_eq!(read("7d"), Ok(Duration::from_hours(7 * 24)));
    assert_eq!(read("1h 30m"), Ok(Duration::from_mins(90)));
    assert_eq!(read("0s"), Ok(Duration::ZERO));
    for (text, word) in [
        ("15", "no unit"),
        ("1.5", "no unit"),
        ("15M", "units are"),
        ("soon", "not a duration"),
        ("-1s", "not a duration"),
        ("", "not a duration"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
    let error = duration("999ms", Duration::from_secs(1)).unwrap_err();
    assert!(error.contains("at least \"1s\""), "{error}");
}

#[test]
fn sizes_need_a_unit_and_whole_numbers() {
    let read = |text| size(text, &(1024..=1 << 30));
    assert_eq!(read("8MiB"), Ok(8 << 20));
    assert_eq!(read("8 MiB"), Ok(8 << 20));
    assert_eq!(read("1GiB"), Ok(1 << 30));
    assert_eq!(read("2kB"), Ok(2000));
    for (text, word) in [
        ("8388608", "no unit"),
        ("1.5", "no unit"),
        ("1.5MiB", "not whole"),
        ("8 apples", "not a size"),
        ("", "not a size"),
        ("1023B", "from \"1.0 KiB\" to \"1.0 GiB\""),
        ("2GiB", "out of bounds"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
    assert!(size("99999999999TiB", &(0..=u64::MAX)).is_err());
}

#[test]
fn a_space_is_a_name_or_a_loopback_url() {
    for (text, name, base) in [
        (
            "example",
            "example.signalwire.com",
            "https://example.signalwire.com/",
        ),
        (
            "Example.SignalWire.com",
            "example.signalwire.com",
            "https://example.signalwire.com/",
        ),
        (
            "http://127.0.0.1:8080",
            "127.0.0.1:8080",
            "http://127.0.0.1:8080/",
        ),
        ("http://localhost:1/", "localhost:1", "http://localhost:1/"),
        ("http://[::1]:80", "[::1]", "http://[::1]/"),
    ] {
        let space = space(text).unwrap();
        assert_eq!((space.name.as_str(), space.api_base.as_str()), (name, base));
        assert_eq!(space.is_loopback, text.contains("://"), "{text}");
    }
    for text in [
        "https://example.signalwire.com",
        "http://10.0.0.1",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://user:pw@127.0.0.1",
        "http://127.0.0.1/api",
        "http://127.0.0.1/?x",
        "ftp://127.0.0.1",
        "example.com",
        "a.b.signalwire.com",
        "exa mple",
        "-x",
        "",
        ".signalwire.com",
    ] {
        let error = space(text).unwrap_err();
        assert!(error.contains("example.signalwire.com"), "{text}: {error}");
    }
}

#[test]
fn places_are_buckets_or_directories() {
    let environment = Environment::isolated("/work/dir".as_ref(), [("", ""); 0]);
    let place = |text| location(text, &environment).map(|place| place.to_string());
    for (text, expected) in [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket/a%3Db", "s3://bucket/a=b"),
        ("file:///var/my%20objects", "file:///var/my%20objects"),
        ("file://localhost/var", "file:///var"),
        ("file:objects", "file:///work/dir/objects"),
        ("file:./a%20b", "file:///work/dir/a%20b"),
        ("file:/var", "file:///var"),
    ] {
        assert_eq!(place(text).as_deref(), Ok(expected), "{text}");
    }
    for text in [
        "",
        "/var/objects",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://key:secret@bucket",
        "s3://bucket?region=x",
        "s3://bucket//a",
        "s3://bucket/../x",
        "s3://bucket/a%20b",
        "https://bucket",
        "file:",
        "file://host/dir",
        "gs://bucket",
    ] {
        let error = place(text).unwrap_err();
        assert!(!error.contains("secret@"), "{error}");
    }
}

#[test]
fn an_endpoint_holds_no_credentials() {
    assert!(endpoint("http://127.0.0.1:3900").is_ok());
    let error = endpoint("https://key:hunter2@s3.example.com").unwrap_err();
    assert!(
        error.contains("AWS_ACCESS_KEY_ID") && !error.contains("hunter2"),
        "{error}"
    );
    for text in ["s3.example.com", "s3://x", "https://s3.example.com?x=1"] {
        assert!(endpoint(text).is_err(), "{text}");
    }
}

#[test]
fn hosts_are_names_without_anything_else() {
    assert_eq!(hosts(""), Ok(Vec::new()));
    let taken = hosts("Archive.example.com, archive_1,  10-x.internal");
    let names = ["archive.example.com", "archive_1", "10-x.internal"];
    assert_eq!(taken, Ok(names.map(str::to_owned).to_vec()));
    let long = "x".repeat(64);
    for text in [
        "https://archive.example.com",
        "archive.example.com:8443",
        "*.example.com",
        "archive..example.com",
        "ärchive",
        "user@host",
        long.as_str(),
    ] {
        let error = hosts(text).unwrap_err();
        assert!(error.contains("is not a host name"), "{error}");
    }
}
