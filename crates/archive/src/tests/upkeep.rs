//! What is wrong is found, and what can be mended is.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use tidewire_core::Time;
use tidewire_testkit::{Engine, every_engine};

use super::house::{House, all_trimmed, only};

impl House {
    fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    /// Puts an object there that nobody knows, as if it were so old.
    fn stray(&self, key: &str, age: Duration) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "lost").unwrap();
        self.dated(&path, age);
    }

    fn dated(&self, path: &Path, age: Duration) {
        let at = self.clock.now().minus(age).since(Time::EPOCH);
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + at).unwrap();
    }
}

#[every_engine]
async fn objects_that_nobody_knows_are_found_and_deleted(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 50, 10).await;
    house.archive(all_trimmed()).await.unwrap();
    let known = house.objects().await;
    let [old, young] = ["01JZ8Q4V7R0000000000000001", "01JZ8Q4V7R0000000000000002"];
    let old = format!("threads/t/archives/{old}.jsonl.gz");
    let young = format!("streams/orders/archives/{young}.jsonl.gz");
    house.stray(&old, Duration::from_hours(2));
    house.stray(&young, Duration::from_mins(30));
    // What is not ours is nobody's business.
    house.stray("threads/notes.txt", Duration::from_hours(2));

    let report = house.verify(false).await;
    assert_eq!((report.archives, report.events), (2, 50));
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].object_key.as_deref(), Some(&*old));
    assert!(!report.problems[0].repaired && house.path(&old).exists());

    let report = house.verify(true).await;
    assert_eq!((report.problems_found, report.repaired), (1, 1));
    assert!(!house.path(&old).exists() && house.path(&young).exists());
    house.clock.advance(Duration::from_hours(1));
    assert_eq!(house.verify(true).await.repaired, 1);
    assert_eq!(house.verify(true).await.problems, []);
    let mut left = house.objects().await;
    left.retain(|key| key != "threads/notes.txt");
    assert_eq!(left, known);
}

#[every_engine]
async fn a_broken_object_is_written_anew_while_its_events_are_there(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 100, 10).await;
    house.archive(only("orders")).await.unwrap();
    let log = house.log().await;
    let objects = house.objects().await;
    // Cut short, replaced byte by byte, gone.
    let first = house.path(&objects[0]);
    let whole = std::fs::read(&first).unwrap();
    std::fs::write(&first, &whole[..whole.len() / 2]).unwrap();
    let second = house.path(&objects[1]);
    let mut bytes = std::fs::read(&second).unwrap();
    bytes[100] ^= 0x10;
    std::fs::write(&second, bytes).unwrap();
    std::fs::remove_file(house.path(&objects[2])).unwrap();

    let report = house.verify(false).await;
    assert_eq!(
        (report.problems_found, report.repaired),
        (3, 0),
        "{report:?}"
    );
    assert!(house.archive(all_trimmed()).await.is_err());
    let report = house.verify(true).await;
    assert_eq!(
        (report.problems_found, report.repaired),
        (3, 3),
        "{report:?}"
    );
    assert_eq!(house.verify(false).await.problems, []);
    assert_eq!(house.objects().await, objects);
    assert_eq!(house.archive(all_trimmed()).await.unwrap().trimmed, 99);
    assert_eq!(house.log().await, log);

    // Now it is the only copy.
    std::fs::remove_file(house.path(&objects[1])).unwrap();
    let report = house.verify(true).await;
    assert_eq!(
        (report.problems_found, report.repaired),
        (1, 0),
        "{report:?}"
    );
    let problem = &report.problems[0].problem;
    assert!(problem.contains("cannot be written anew"), "{problem}");
}

#[every_engine]
async fn rows_that_a_crash_has_left_are_found_and_deleted(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 50, 10).await;
    house.archive(only("orders")).await.unwrap();
    // As far as a run comes that dies when it has marked what it will delete.
    let key = (super::house::TENANT, "orders");
    house.archives.mark_trimmed(key, 30).await.unwrap();
    let log = house.log().await;
    let report = house.verify(false).await;
    assert!(
        report.problems[0].problem.contains("up to 30"),
        "{report:?}"
    );
    assert_eq!(house.first("orders").await, 1);
    assert_eq!(house.verify(true).await.repaired, 1);
    assert_eq!(house.first("orders").await, 31);
    assert_eq!(house.log().await, log);
    assert_eq!(house.verify(false).await.problems, []);
}

#[cfg(feature = "parquet")]
#[every_engine(sqlite)]
async fn a_companion_is_beside_its_archive_and_looked_after_with_it(engine: Engine) {
    let house = House::on(engine).await;
    house.append("orders", 50, 10).await;
    let wanted = crate::Wanted {
        format: crate::Format::Parquet,
        ..only("orders")
    };
    assert_eq!(house.archive(wanted).await.unwrap().archives, 2);
    let objects = house.objects().await;
    let kinds: Vec<_> = objects.iter().map(|key| &key[key.len() - 8..]).collect();
    assert_eq!(kinds, ["jsonl.gz", ".parquet", "jsonl.gz", ".parquet"]);
    let bytes = std::fs::read(house.path(&objects[1])).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    assert_eq!(house.verify(false).await.problems, []);
    std::fs::write(house.path(&objects[3]), "PAR1").unwrap();
    let report = house.verify(true).await;
    assert_eq!(
        (report.problems_found, report.repaired),
        (1, 1),
        "{report:?}"
    );
    assert_eq!(house.verify(false).await.problems, []);
    assert_eq!(house.objects().await, objects);
}
