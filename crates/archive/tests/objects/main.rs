//! Objects, in a folder and on servers that speak S3: one suite for all, and what only one of them has.

mod folder;
mod place;
mod s3;
mod suite;

/// Makes each scenario of the suite a test in each place.
macro_rules! everywhere {
    ($($scenario:ident),* $(,)?) => {
        everywhere! { @in in_a_folder, place::Place::folder, $($scenario),* }
        everywhere! { @in in_s3, place::Place::s3, $($scenario),* }
    };
    (@in $place:ident, $open:path, $($scenario:ident),*) => {
        mod $place {
            use crate::{place, suite};

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    if let Some(place) = $open().await {
                        suite::$scenario(place).await;
                    }
                }
            )*
        }
    };
}

everywhere! {
    what_is_written_is_read_back,
    what_is_larger_than_a_part_goes_in_parts,
    an_object_that_is_there_is_never_overwritten,
    what_is_not_there_is_told_by_its_name,
    ranges_are_read_whole_or_not_at_all,
    a_stream_that_fails_leaves_no_object,
    a_write_that_nobody_waits_for_leaves_no_object,
    what_differs_from_what_was_written_is_found,
    a_list_has_what_is_under_its_folder,
    keys_that_no_place_can_have_are_refused,
    many_write_and_read_at_once,
    an_archive_is_written_and_read_from_its_end,
}
