//! `tidewire archive get`: the bytes of an archive, to a file or to standard output.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use tidewire_client::{Client, Download};

use super::super::{Fault, output, output::Printer};

pub(super) async fn run(
    id: &str,
    out: Option<PathBuf>,
    client: &Client,
    printer: Printer,
) -> Result<(), Fault> {
    let mut download = client.archives().download(id).await?;
    let Some(path) = out else {
        if output::is_terminal() {
            return Err(Fault::Usage(
                "an archive is no text: name a file with --out, or pipe it into zcat".to_owned(),
            ));
        }
        while let Some(chunk) = download.chunk().await? {
            printer.bytes(&chunk)?;
        }
        return Ok(());
    };
    // Beside it first: what is under the name is whole.
    let part = part_of(&path);
    let written = write(&mut download, &part).await;
    let bytes = written.inspect_err(|_| drop(std::fs::remove_file(&part)))?;
    std::fs::rename(&part, &path).map_err(|error| unwritten(&path, &error))?;
    output::tell(&format!("{}: {}", path.display(), super::size(bytes)));
    Ok(())
}

async fn write(download: &mut Download, path: &Path) -> Result<u64, Fault> {
    let mut file = File::create(path).map_err(|error| unwritten(path, &error))?;
    let mut bytes = 0;
    while let Some(chunk) = download.chunk().await? {
        bytes += chunk.len() as u64;
        file.write_all(&chunk)
            .map_err(|error| unwritten(path, &error))?;
    }
    file.sync_all().map_err(|error| unwritten(path, &error))?;
    Ok(bytes)
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn unwritten(path: &Path, error: &std::io::Error) -> Fault {
    Fault::Failed(format!("cannot write {}: {error}", path.display()))
}
