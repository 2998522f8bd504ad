//! `simulate`: a SignalWire to try the archiver against, with generated and with real media.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::world::World;

/// What it printed: the variables for the archiver, and the ids with their names.
struct Printed {
    variables: Vec<(&'static str, String)>,
    served: Vec<(String, String)>,
}

async fn serve(binary: &Binary, arguments: &[&str], last: &str) -> (Running, Printed) {
    let mut all = vec!["simulate", "--listen", "127.0.0.1:0"];
    all.extend(arguments);
    let running = binary.start(&all);
    let text = running.demand_output(last).await;
    let variable = |name: &'static str| {
        let prefix = format!("export {name}=");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        let value = line.unwrap_or_else(|| panic!("{name}: {text}")).to_owned();
        (name, value)
    };
    let (_, table) = text.split_once("size_bytes  name\n").unwrap();
    let row = |line: &str| {
        let (id, rest) = line.split_once(' ').unwrap();
        let name = rest.trim_start().split_once("  ").unwrap().1;
        (id.to_owned(), name.to_owned())
    };
    let printed = Printed {
        variables: [
            "SIGNALWIRE_SPACE",
            "SIGNALWIRE_PROJECT_ID",
            "SIGNALWIRE_API_TOKEN",
        ]
        .map(variable)
        .into(),
        served: table.lines().map(row).collect(),
    };
    (running, printed)
}

/// The archiver with what the simulator printed, as a shell would set it.
fn archiver(world: &World, printed: &Printed) -> Binary {
    let mut binary = Binary::of(world);
    for (name, value) in &printed.variables {
        binary = binary.with(name, value);
    }
    binary
}

#[tokio::test]
async fn what_it_prints_is_all_that_the_archiver_needs() {
    let world = World::local().await;
    let simulate = Binary::unconfigured();
    let mut arguments = vec![
        "--recordings",
        "2",
        "--recordings",
        "1x2MiB",
        "--size",
        "1MiB",
    ];
    arguments.extend(["--ids-file", "ids", "--digests-file", "digests"]);
    // By then the last of them is another than it was in the beginning.
    let last = "all=media-changes,after=2";
    arguments.extend(["--fault", last]);
    let (running, printed) = serve(&simulate, &arguments, "generated\n").await;
    assert_eq!(printed.served.len(), 3);
    let ids = simulate.directory().join("ids");
    let archiver = archiver(&world, &printed);
    let ended = archiver
        .run(&["archive", "--ids-file", ids.to_str().unwrap()])
        .await
        .demand_code(0);
    for (id, _) in &printed.served {
        assert!(ended.stdout.contains(id), "{ended:?}");
    }
    running.signal(Signal::SIGTERM);
    running.ended().await.demand_code(0);
    let digests = fs::read_to_string(simulate.directory().join("digests")).unwrap();
    assert_eq!(digests.lines().count(), 3);
    for line in digests.lines() {
        let (sha256, id) = line.split_once("  ").unwrap();
        let row = world.row(id.parse().unwrap()).await;
        assert_eq!(row.sha256.map(hex::encode).as_deref(), Some(sha256));
    }

    let (running, printed) = serve(&simulate, &[], "documented example\n").await;
    assert_eq!(printed.served[0].0, "c22d24f6-5a47-4597-9a23-c7d01e696b92");
    let port = printed.variables[0]
        .1
        .trim_start_matches("http://")
        .to_owned();
    simulate
        .run(&["simulate", "--listen", &port])
        .await
        .demand_code(1)
        .demand_error(&["choose another address with --listen"]);
    running.signal(Signal::SIGINT);
    running.ended().await.demand_code(0);
}

/// Output of a program that is not ours.
async fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Two seconds of a test picture and a tone.
async fn film(path: &Path, codecs: &[&str]) {
    let mut arguments = vec!["-v", "error", "-y"];
    arguments.extend(["-f", "lavfi", "-i", "testsrc2=s=320x240:r=15:d=2"]);
    arguments.extend(["-f", "lavfi", "-i", "sine=f=440:d=2"]);
    arguments.extend(codecs);
    arguments.push(path.to_str().unwrap());
    said_by("ffmpeg", &arguments).await;
}

/// Container, streams and frames, but not the name. Decodes nothing wrongly without an error.
async fn probed(path: &Path) -> String {
    let what = [
        "-v",
        "error",
        "-count_frames",
        "-show_format",
        "-show_streams",
        "-of",
        "json",
    ];
    let mut arguments = what.to_vec();
    arguments.push(path.to_str().unwrap());
    let said = said_by("ffprobe", &arguments).await;
    said.replace(path.to_str().unwrap(), "")
}

#[tokio::test]
async fn real_films_come_home_as_they_were() {
    if Command::new("ffmpeg")
        .arg("-version")
        .output()
        .await
        .is_err()
    {
        println!("skipped: ffmpeg is not installed (`apt-get install ffmpeg`)");
        return;
    }
    let world = World::s3().await;
    let media = tempfile::tempdir().unwrap();
    film(
        &media.path().join("talk.mp4"),
        &["-c:v", "mpeg4", "-c:a", "aac"],
    )
    .await;
    film(
        &media.path().join("talk.webm"),
        &["-c:v", "libvpx", "-c:a", "libopus"],
    )
    .await;
    let simulate = Binary::unconfigured();
    let directory = media.path().to_str().unwrap();
    let (running, printed) = serve(&simulate, &["--media", directory], "talk.webm\n").await;
    assert_eq!(printed.served.len(), 2);
    let daemon = archiver(&world, &printed).start(&["run"]);
    daemon.demand_log("ready").await;

    for (id, name) in &printed.served {
        let id = id.parse().unwrap();
        world.enqueue(id).await;
        let row = eventually("it is archived", || async {
            Some(world.row(id).await).filter(|row| row.state == "archived")
        })
        .await;
        let key = row.object_key.unwrap();
        assert_eq!(
            key.rsplit_once('.').unwrap().1,
            name.rsplit_once('.').unwrap().1
        );
        let (film, object) = (media.path().join(name), world.path_of(&key));
        let sha256 = |path: &Path| Sha256::digest(fs::read(path).unwrap()).to_vec();
        assert_eq!(sha256(&object), sha256(&film));
        assert_eq!(row.sha256, Some(sha256(&film)));
        assert_eq!(probed(&object).await, probed(&film).await);
    }
    for process in [daemon, running] {
        process.signal(Signal::SIGTERM);
        process.ended().await.demand_code(0);
    }
    world.demand_nothing_unfinished().await;
}
