//! What only S3 has: servers that go away, keys that are wrong, buckets that are not there.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tidewire_archive::objects::{Error, Objects};
use tidewire_testkit::servers::{self, S3};

use crate::place::{Place, noise, settings};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn wrong_keys_and_missing_buckets_are_told_and_secrets_are_not() {
    let Some(address) = servers::s3().await else {
        return;
    };
    let mut wrong = settings(&address);
    wrong.secret_access_key = Some("not-the-secret".to_owned());
    let place = Place::at(&wrong);
    for error in [
        place.objects.check().await.unwrap_err(),
        place.put("a.gz", b"x", 1).await.unwrap_err(),
        place.read("a.gz").await.unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains(place.objects.place()), "{error}");
        assert!(
            error.ends_with("are the access key and its rights the right ones?"),
            "{error}"
        );
        assert!(!error.contains("not-the-secret"), "{error}");
        assert!(!error.contains("AWSAccessKeyId"), "{error}");
    }

    let mut missing = settings(&address);
    missing.url = "s3://no-such-bucket/p".to_owned();
    let error = Place::at(&missing)
        .objects
        .check()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("make the bucket, or name another"),
        "{error}"
    );
    assert!(
        error.contains("s3://no-such-bucket/p at http://"),
        "{error}"
    );
}

#[tokio::test]
async fn an_endpoint_where_nobody_is_is_told_at_once() {
    let Some(address) = servers::s3().await else {
        return;
    };
    let mut nobody = settings(&address);
    nobody.endpoint = Some("http://127.0.0.1:9".to_owned());
    let objects = Objects::open(&nobody).unwrap();
    let error = objects.check().await.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot list the objects in s3://"),
        "{error}"
    );
}

/// The library tries again: a server that is away for a moment is not noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_gone_on_with() {
    let Some(s3) = S3::start().await else {
        return;
    };
    let place = Place::at(&settings(s3.address()));
    place.put("before.gz", b"whole", 2).await.unwrap();
    s3.kill().await;
    let (objects, again) = (place.objects.clone(), s3.clone());
    let reading = tokio::spawn(async move { objects.range("before.gz", 0..5).await });
    again.start_again().await;
    assert_eq!(&reading.await.unwrap().unwrap()[..], b"whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_in_the_middle_of_a_write_leaves_no_object() {
    let Some(s3) = S3::start().await else {
        return;
    };
    let place = Place::at(&settings(s3.address()));
    let dies = s3.clone();
    let pieces = stream::iter(0..40).then(move |n| {
        let dies = dies.clone();
        async move {
            if n == 20 {
                dies.kill().await;
            }
            Ok::<_, Error>(Bytes::from(noise(MIB)))
        }
    });
    let writing = place.objects.put("half.gz", pieces);
    let failed = tokio::time::timeout(Duration::from_secs(120), writing).await;
    let error = failed.expect("it gives up").unwrap_err().to_string();
    assert!(
        error.starts_with("cannot write the object `half.gz` in s3://"),
        "{error}"
    );
    s3.start_again().await;
    assert_eq!(place.keys("").await, Vec::<String>::new());
    // And the key is free.
    let put = place.put("half.gz", &noise(9 * MIB), MIB).await.unwrap();
    place
        .objects
        .verify("half.gz", put.bytes, &put.sha256)
        .await
        .unwrap();
}
