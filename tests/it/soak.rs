//! The store of `benches/soak.py`: kept in files, and with faults in a share of all calls.

use std::env;
use std::io::stdin;
use std::time::Duration;

use crate::harness::s3::S3Server;

/// Serves until its stdin ends. A line there lets all unfinished uploads have been begun two hours
/// earlier, so that a sweep takes them for orphans.
#[tokio::test]
#[ignore = "serves until its stdin ends: started by benches/soak.py"]
async fn a_faulty_store_is_served() {
    let value = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let within = value("SOAK_STORE_DIRECTORY");
    let directory = tempfile::tempdir_in(within).unwrap();
    let server = S3Server::start_in(directory).await;
    let share = value("SOAK_STORE_FAULT_SHARE").parse().unwrap();
    let seed = value("SOAK_SEED").parse().unwrap();
    server.inject_in_share(share, seed);
    let place = server.directory().display();
    println!("\nsoak store: {} {place}", server.endpoint());
    for line in stdin().lines() {
        line.unwrap();
        server.age_all_uploads(Duration::from_hours(2));
        let (drawn, calls) = (server.faults_drawn(), server.requests());
        println!("soak store: {drawn} faults in {calls} calls");
    }
}
