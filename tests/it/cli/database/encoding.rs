//! Databases that cannot hold every text.

use url::Url;
use uuid::Uuid;

use crate::harness::binary::Binary;
use crate::harness::world::World;
use crate::seed::execute;

#[tokio::test]
async fn database_in_another_encoding_than_utf8_is_refused_with_the_fix() {
    let world = World::local().await;
    for encoding in ["SQL_ASCII", "LATIN1", "EUC_JP"] {
        let name = format!("archiver_test_{}", Uuid::new_v4().simple());
        let create = format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'
             TEMPLATE template0"
        );
        execute(&world.pool, &create).await;
        let mut url: Url = world.database_url().parse().unwrap();
        url.set_path(&name);
        let binary = Binary::of(&world).with("DATABASE_URL", url.as_str());
        let words = [encoding, "ENCODING 'UTF8' TEMPLATE template0"];
        for command in [&["migrate"][..], &["run"]] {
            binary
                .run(command)
                .await
                .demand_code(2)
                .demand_error(&words);
        }
        let doctor = binary.run(&["doctor"]).await.demand_code(1);
        doctor.demand_output(&["BAD   database", words[0], words[1]]);
        execute(&world.pool, &format!("DROP DATABASE {name}")).await;
    }
}
