//! What only a folder has.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::mpsc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tidewire_archive::objects::{Error, Objects, ObjectsSettings};

use crate::place::{Place, noise};

#[tokio::test]
async fn the_folder_is_made_and_its_loss_is_noticed() {
    let place = Place::folder().await.unwrap();
    let folder = place.folder.as_ref().unwrap().path().join("objects");
    assert!(folder.is_dir());
    place.objects.check().await.unwrap();
    fs::remove_dir(&folder).unwrap();
    let error = place.objects.check().await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!(
            "cannot list the objects in {}: ",
            folder.display()
        )),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_told() {
    let place = Place::folder().await.unwrap();
    let file = place.folder.as_ref().unwrap().path().join("file");
    fs::write(&file, "").unwrap();
    let url = format!("file://{}/objects", file.display());
    let error = Objects::open(&ObjectsSettings::new(url))
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, Error::Place { .. }), "{error}");
    assert!(
        error.to_string().starts_with("cannot make the folder "),
        "{error}"
    );
}

#[tokio::test]
async fn an_object_is_a_file_under_its_key_and_what_a_crash_left_is_none() {
    let place = Place::folder().await.unwrap();
    place
        .put("threads/t/archives/1.gz", b"whole", 2)
        .await
        .unwrap();
    let folder = place
        .folder
        .as_ref()
        .unwrap()
        .path()
        .join("objects/threads/t/archives");
    assert_eq!(fs::read(folder.join("1.gz")).unwrap(), b"whole");
    assert_eq!(place.left_over(), 0);

    fs::write(folder.join("2.gz#1"), "half of anoth").unwrap();
    assert_eq!(place.left_over(), 1);
    assert_eq!(place.keys("").await, ["threads/t/archives/1.gz"]);
    // It is in nobody's way.
    place
        .put("threads/t/archives/2.gz", b"another", 3)
        .await
        .unwrap();
    assert_eq!(
        place.read("threads/t/archives/2.gz").await.unwrap(),
        b"another"
    );
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_named() {
    let place = Place::folder().await.unwrap();
    place.put("a.gz", b"whole", 2).await.unwrap();
    let file = place.folder.as_ref().unwrap().path().join("objects/a.gz");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read everything.
    if fs::read(&file).is_err() {
        let error = place.read("a.gz").await.unwrap_err().to_string();
        assert!(
            error.contains("the object `a.gz`") && error.contains("ermission"),
            "{error}"
        );
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let error = place.read("a.gz").await.unwrap_err().to_string();
    assert!(error.contains("`a.gz`"), "{error}");
}

/// The runtime takes no more tasks then, not even one that tidies up.
#[test]
fn a_process_that_ends_in_the_middle_of_a_write_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let place = runtime.block_on(Place::folder()).unwrap();
    let (sender, receiver) = mpsc::channel();
    let pieces = stream::iter(0..3).map(|_| Ok::<_, Error>(Bytes::from(noise(8 * 1024 * 1024))));
    let waits = stream::once(async move {
        sender.send(()).unwrap();
        std::future::pending().await
    });
    let objects = place.objects.clone();
    runtime.spawn(async move { objects.put("w.gz", pieces.chain(waits)).await });
    receiver.recv().unwrap();
    drop(runtime);
    assert!(place.folder.unwrap().path().join("objects").is_dir());
}
