//! What the pages show of code is the code that runs here.

use std::fs;

use super::place;

/// A listing is announced by the line `<!-- the file PATH -->` above its fence.
const ANNOUNCED: &str = "<!-- the file ";

const PAGES: [(&str, usize); 3] = [
    ("docs/consumers.md", 6),
    ("clients/python/README.md", 1),
    ("clients/typescript/README.md", 1),
];

#[test]
fn the_pages_show_the_files_that_they_name() {
    for (page, expected) in PAGES {
        let text = fs::read_to_string(place(page)).expect("the page");
        let mut listings = 0;
        for announced in text.split(ANNOUNCED).skip(1) {
            let (file, rest) = announced.split_once(" -->\n").expect("the end of a line");
            let (_, code) = rest.split_once('\n').expect("a fence");
            let (shown, _) = code.split_once("```").expect("the end of the listing");
            let runs =
                fs::read_to_string(place(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(shown, runs, "{page} shows another {file}");
            listings += 1;
        }
        assert_eq!(listings, expected, "{page}");
    }
}
