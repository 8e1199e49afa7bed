//! `#[every_engine]`: one scenario, one test for each engine. `tidewire-testkit` hands it on and
//! says how it is used; that it stands apart is the compiler's rule for attributes.
//!
//! A scenario is an ordinary function with an ordinary body, compiled once: only the few lines that
//! call it are made here, so no parser of Rust is needed.

use proc_macro::{TokenStream, TokenTree};

/// Makes a module of the scenario's name, with a test for each engine in it.
#[proc_macro_attribute]
pub fn every_engine(options: TokenStream, scenario: TokenStream) -> TokenStream {
    let made = Options::read(options).and_then(|options| {
        let name = name_of(&scenario).ok_or("#[every_engine] stands before an async fn")?;
        Ok(tests(&name, &options))
    });
    let text = made.unwrap_or_else(|why| format!("compile_error!({why:?});"));
    let tests: TokenStream = text.parse().expect("it is written above, and is Rust");
    scenario.into_iter().chain(tests).collect()
}

/// The engines, by the names of their tests and of `tidewire_testkit::Engine`.
const ENGINES: [(&str, &str); 3] = [
    ("sqlite", "Sqlite"),
    ("postgres", "Postgres"),
    ("mysql", "MySql"),
];

struct Options {
    engines: Vec<(&'static str, &'static str)>,
    threads: &'static str,
}

impl Options {
    fn read(options: TokenStream) -> Result<Options, String> {
        let mut engines = Vec::new();
        let mut threads = "One";
        for option in options {
            let word = option.to_string();
            match word.as_str() {
                "," => {}
                "servers" => engines.extend(&ENGINES[1..]),
                "multi_thread" => threads = "Many",
                _ => match ENGINES.iter().find(|(name, _)| *name == word) {
                    Some(engine) => engines.push(*engine),
                    None => {
                        return Err(format!(
                            "`{word}`: #[every_engine] takes multi_thread, servers, sqlite, postgres, mysql"
                        ));
                    }
                },
            }
        }
        if engines.is_empty() {
            engines.extend(ENGINES);
        }
        Ok(Options { engines, threads })
    }
}

/// The word after `fn`.
fn name_of(scenario: &TokenStream) -> Option<String> {
    let mut words = scenario
        .clone()
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Ident(word) => Some(word.to_string()),
            _ => None,
        });
    words.find(|word| word == "fn")?;
    words.next()
}

fn tests(name: &str, options: &Options) -> String {
    let threads = options.threads;
    let tests: String = options
        .engines
        .iter()
        .map(|(test, engine)| {
            format!(
                "#[::core::prelude::v1::test]
                fn {test}() {{
                    ::tidewire_testkit::run_on(
                        ::tidewire_testkit::Engine::{engine},
                        ::tidewire_testkit::Threads::{threads},
                        super::{name},
                    );
                }}"
            )
        })
        .collect();
    format!("#[cfg(test)] mod {name} {{ {tests} }}")
}
