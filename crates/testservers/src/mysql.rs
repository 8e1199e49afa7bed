//! MariaDB, or MySQL, as a private server. They are started alike; only how an empty one is made
//! differs.

use std::path::PathBuf;

use crate::{
    Context as _, Result,
    guard::prepare,
    programs::which,
    server::{Product, Site, USER, says},
};

pub static MYSQL: Product = Product {
    accounts: &["mysql", "nobody"],
    name: "mysql",
    prepare: init,
    arguments,
    // The last thing that it says about its start.
    is_ready: |_, _, log| says(log, "ready for connections"),
    stop: "TERM",
    last: "KILL",
    url: |site| {
        format!(
            "mysql://{USER}:{}@127.0.0.1:{}/mysql",
            site.password, site.port
        )
    },
};

fn is_mariadb(site: &Site) -> bool {
    site.found.product == "MariaDB"
}

fn accounts_file(site: &Site) -> PathBuf {
    site.folder.join("accounts")
}

fn init(site: &Site) -> Result<()> {
    // Only MySQL takes passwords in another way by default, one that wants TLS.
    let how = if is_mariadb(site) {
        "BY"
    } else {
        "WITH mysql_native_password BY"
    };
    let file = accounts_file(site);
    // It is run at each start, one statement a line.
    let statements = format!(
        "CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED {how} '{}';\n\
         GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n",
        site.password
    );
    std::fs::write(&file, statements).context(|| format!("cannot write {}", file.display()))?;
    site.account.give(&file)?;

    let data = format!("--datadir={}", site.data());
    if is_mariadb(site) {
        let program =
            which("mariadb-install-db").unwrap_or_else(|| site.found.beside("mariadb-install-db"));
        let arguments = [
            "--no-defaults",
            &data,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ];
        prepare(&program, arguments, &site.folder, site.account)
    } else {
        let arguments = ["--no-defaults", "--initialize-insecure", &data];
        prepare(&site.found.program, arguments, &site.folder, site.account)
    }
}

fn arguments(site: &Site) -> Vec<String> {
    let inside = |name: &str| site.folder.join(name).display().to_string();
    let mut arguments = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", site.data()),
        format!("--port={}", site.port),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--socket={}", inside("socket")),
        format!("--pid-file={}", inside("pid")),
        format!("--init-file={}", accounts_file(site).display()),
        "--skip-name-resolve".to_owned(),
        "--skip-log-bin".to_owned(),
        "--max-connections=300".to_owned(),
        "--default-time-zone=+05:45".to_owned(),
        "--innodb-buffer-pool-size=128M".to_owned(),
        "--performance-schema=OFF".to_owned(),
        // What a product does not know of these it passes over.
        "--loose-mysqlx=OFF".to_owned(),
        "--loose-mysql-native-password=ON".to_owned(),
    ];
    if !site.durable {
        arguments.extend(
            [
                // Each commit is handed to the system, and so survives the server.
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-doublewrite=OFF",
            ]
            .map(str::to_owned),
        );
    }
    arguments.extend(site.settings.iter().map(|setting| format!("--{setting}")));
    arguments
}
