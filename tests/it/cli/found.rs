//! What lies in the current directory without anybody having named it: obeyed only if nobody else
//! could have put it there.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use nix::unistd::geteuid;

use crate::harness::binary::Binary;
use crate::harness::world::World;

const STRANGER: Option<u32> = Some(4711);

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A `config.toml` that sends the token to the address of the world's simulator.
fn with_config_found(world: &World) -> Binary {
    let binary = Binary::of(world).without("SIGNALWIRE_SPACE");
    let file = binary.directory().join("config.toml");
    let space = format!("[signalwire]\nspace = \"{}\"\n", world.simulator.base_url());
    fs::write(&file, space).unwrap();
    chmod(&file, 0o644);
    binary
}

async fn demand_refused(world: &World, binary: &Binary, parts: &[&str]) {
    let ended = binary.run(&["discover"]).await.demand_code(2);
    let ended = ended.demand_error(&["config.toml", "found in the current directory"]);
    ended
        .demand_error(&["--config", "chown"])
        .demand_error(parts);
    assert_eq!(world.simulator.requests(), []);
}

#[tokio::test]
async fn config_writable_by_others_is_refused_unless_named() {
    let world = World::local().await;
    let binary = with_config_found(&world);
    let file = binary.directory().join("config.toml");
    chmod(&file, 0o666);
    demand_refused(&world, &binary, &["written by every user (mode 0666)"]).await;
    chmod(&file, 0o644);
    chmod(binary.directory(), 0o777);
    demand_refused(&world, &binary, &["its directory", "may replace it"]).await;

    let named = ["--config", "./config.toml", "discover"];
    binary.run(&named).await.demand_code(0);
    let named = binary.with("RECORDING_ARCHIVER_CONFIG", "config.toml");
    named.run(&["discover"]).await.demand_code(0);
    assert_ne!(world.simulator.requests(), []);
}

#[tokio::test]
async fn config_of_this_user_alone_is_obeyed() {
    let world = World::local().await;
    let binary = with_config_found(&world);
    binary.run(&["discover"]).await.demand_code(0);
    assert_ne!(world.simulator.requests(), []);
}

#[tokio::test]
async fn config_of_another_user_is_refused() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can make a file of another user");
        return;
    }
    let world = World::local().await;
    let binary = with_config_found(&world);
    let here = binary.directory();
    let file = here.join("config.toml");
    let stranger = "the user with ID 4711";
    chown(&file, STRANGER, None).unwrap();
    demand_refused(&world, &binary, &[stranger]).await;
    chown(&file, Some(0), None).unwrap();
    chown(here, STRANGER, None).unwrap();
    demand_refused(&world, &binary, &["its directory", stranger]).await;
    chown(here, Some(0), None).unwrap();

    // Through a link of their own, which leads to a file of root's.
    fs::rename(&file, here.join("elsewhere.toml")).unwrap();
    symlink("elsewhere.toml", &file).unwrap();
    std::os::unix::fs::lchown(&file, STRANGER, None).unwrap();
    demand_refused(&world, &binary, &["symbolic link", stranger]).await;
}

#[tokio::test]
async fn named_pipe_as_config_is_refused_at_once() {
    let world = World::local().await;
    let binary = with_config_found(&world);
    let file = binary.directory().join("config.toml");
    fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    demand_refused(&world, &binary, &["it is not a file"]).await;
}

#[tokio::test]
async fn default_data_dir_that_others_may_write_is_refused_unless_named() {
    let world = World::local().await;
    let binary = Binary::of(&world).without("RECORDING_ARCHIVER_STORAGE_URL");
    let data_dir = binary.directory().join("recording-archive");
    fs::create_dir(&data_dir).unwrap();
    chmod(&data_dir, 0o777);
    let refused = binary.run(&["discover"]).await.demand_code(2);
    refused.demand_error(&["recording-archive", "written by every user", "DATA_DIR="]);
    if geteuid().is_root() {
        chmod(&data_dir, 0o755);
        chown(&data_dir, STRANGER, None).unwrap();
        let refused = binary.run(&["discover"]).await.demand_code(2);
        refused.demand_error(&["recording-archive", "the user with ID 4711"]);
    }
    let named = binary.with("RECORDING_ARCHIVER_DATA_DIR", "recording-archive");
    named.run(&["discover"]).await.demand_code(0);
}
