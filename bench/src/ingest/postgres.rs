//! The same bytes by `COPY` into JSONB of a PostgreSQL on the same disk, with its default settings.

use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tempfile::TempDir;

use super::door::CONNECTIONS;
use crate::Places;
use crate::process::Running;

/// What searching by time, actor, model and trace needs.
const INDEXED: [&str; 4] =
    ["doc->>'time'", "doc->'actor'->>'id'", "doc->'attributes'->>'gen_ai.request.model'", "doc->>'trace_id'"];
const START_MAX: Duration = Duration::from_secs(30);

/// Rows a second.
pub(crate) struct Copied {
    pub(crate) unindexed: f64,
    pub(crate) indexed: f64,
}

/// Copies bodies of JSON lines, so many bodies in a transaction; nothing where PostgreSQL is not installed.
pub(crate) fn copy(
    places: &Places,
    bodies: Vec<Vec<u8>>,
    together: usize,
    rows: usize,
) -> anyhow::Result<Option<Copied>> {
    let Some(programs) = programs() else {
        println!("  PostgreSQL is not installed (Debian: postgresql): not compared");
        return Ok(None);
    };
    let files = files(&places.memory, bodies, together)?;
    let cluster = Cluster::start(places, &programs)?;
    println!("  {}, JSONB, by COPY, {CONNECTIONS} connections:", cluster.sql("SELECT split_part(version(), ' (', 1)")?);
    let unindexed = cluster.fill_table(&files, rows)?;
    println!("  {:<44} {unindexed:>9.0}/s", "  without an index");
    cluster.sql("DROP TABLE t")?;
    cluster.make_table()?;
    for expression in INDEXED {
        cluster.sql(&format!("CREATE INDEX ON t (({expression}))"))?;
    }
    let indexed = cluster.fill_table(&files, rows)?;
    println!("  {:<44} {indexed:>9.0}/s", "  with indexes on time, actor, model, trace");
    for file in files {
        std::fs::remove_file(file)?;
    }
    Ok(Some(Copied { unindexed, indexed }))
}

/// Where `initdb`, `postgres` and `psql` are: of several, the newest.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    folders.into_iter().find(|folder| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).exists()))
}

/// A file for each connection, in memory: commands with their lines, in the text format of `COPY`.
fn files(folder: &Path, bodies: Vec<Vec<u8>>, together: usize) -> anyhow::Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = (0..CONNECTIONS).map(|nth| folder.join(format!("copy-{nth}.sql"))).collect();
    let files = paths.iter().map(|path| std::fs::File::create(path).map(BufWriter::new));
    let mut files = files.collect::<std::io::Result<Vec<_>>>()?;
    for (nth, body) in bodies.into_iter().enumerate() {
        let file = files.get_mut(nth / together % CONNECTIONS).context("a connection without a file")?;
        if nth % together == 0 {
            file.write_all(b"COPY t (doc) FROM STDIN;\n")?;
        }
        // Of what that format escapes JSON has nothing but backslashes.
        for part in body.split_inclusive(|byte| *byte == b'\\') {
            file.write_all(part)?;
            if part.ends_with(b"\\") {
                file.write_all(b"\\")?;
            }
        }
        if (nth + 1) % together == 0 {
            file.write_all(b"\\.\n")?;
        }
    }
    for file in &mut files {
        file.flush()?;
    }
    Ok(paths)
}

/// A server of PostgreSQL with a cluster of its own. It ends before its folders go.
struct Cluster {
    _server: Running,
    _home: TempDir,
    socket: TempDir,
    programs: PathBuf,
}

impl Cluster {
    fn start(places: &Places, programs: &Path) -> anyhow::Result<Self> {
        let account = Account::of_server()?;
        let folder = |parent: &Path| -> anyhow::Result<TempDir> {
            let folder = tempfile::Builder::new().prefix("testimony-postgres-").tempdir_in(parent)?;
            account.own(folder.path())?;
            Ok(folder)
        };
        // The path of a socket has at most 107 bytes.
        let (home, socket) = (folder(account.place(places)?.as_path())?, folder(Path::new("/tmp"))?);
        let data = home.path().join("data");
        let mut initdb = account.command(&programs.join("initdb"), home.path());
        initdb.args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
        let made = initdb.output()?;
        anyhow::ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut postgres = account.command(&programs.join("postgres"), home.path());
        postgres.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-c"]);
        postgres.arg(format!("unix_socket_directories={}", socket.path().display()));
        let server = Running(postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let cluster = Self { _server: server, _home: home, socket, programs: programs.to_owned() };
        let end = Instant::now() + START_MAX;
        while let Err(error) = cluster.sql("SELECT 1") {
            anyhow::ensure!(Instant::now() < end, "PostgreSQL did not start: {error}");
            std::thread::sleep(Duration::from_millis(100));
        }
        cluster.make_table()?;
        Ok(cluster)
    }

    fn make_table(&self) -> anyhow::Result<()> {
        self.sql("CREATE TABLE t (doc jsonb)").map(drop)
    }

    fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"]);
        psql.arg(self.socket.path());
        psql
    }

    fn sql(&self, statement: &str) -> anyhow::Result<String> {
        let output = self.psql().arg("-c").arg(statement).output()?;
        anyhow::ensure!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Rows a second, from the first `psql` to the last commit.
    fn fill_table(&self, files: &[PathBuf], rows: usize) -> anyhow::Result<f64> {
        self.sql("CHECKPOINT")?;
        rustix::fs::sync();
        let start = Instant::now();
        let mut clients = Vec::new();
        for file in files {
            let mut client = self.psql();
            client.arg("-f").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            clients.push(Running(client.spawn()?));
        }
        for client in &mut clients {
            let status = client.0.wait()?;
            anyhow::ensure!(status.success(), "psql ended with {status}");
        }
        let took = start.elapsed().as_secs_f64();
        let found = self.sql("SELECT count(*) FROM t")?;
        anyhow::ensure!(found == rows.to_string(), "{rows} rows were copied, {found} are found");
        Ok(rows as f64 / took)
    }
}

/// Who runs the server: it refuses to be root's.
struct Account(Option<(u32, u32)>);

impl Account {
    /// Whoever runs this, and for root the account `postgres`.
    fn of_server() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let accounts = std::fs::read_to_string("/etc/passwd")?;
        let account = accounts.lines().find_map(|line| line.strip_prefix("postgres:"));
        let account = account.context("PostgreSQL is installed, and there is no account postgres")?;
        let fields: Vec<&str> = account.split(':').collect();
        match fields.as_slice() {
            [_, user, group, ..] => Ok(Self(Some((user.parse()?, group.parse()?)))),
            _ => anyhow::bail!("the account postgres cannot be read in /etc/passwd"),
        }
    }

    fn own(&self, folder: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.0 {
            chown(folder, Some(user), Some(group))?;
        }
        Ok(())
    }

    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder);
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    /// A folder on the disk that is measured, to which the way is open to this account.
    fn place(&self, places: &Places) -> anyhow::Result<PathBuf> {
        if self.0.is_none() {
            return Ok(places.disk.clone());
        }
        std::fs::set_permissions(&places.disk, std::fs::Permissions::from_mode(0o711))?;
        let device = std::fs::metadata(&places.disk)?.dev();
        let is_open = |folder: &Path| std::fs::metadata(folder).is_ok_and(|folder| folder.mode() & 0o001 != 0);
        let is_fit = |folder: &PathBuf| {
            std::fs::metadata(folder).is_ok_and(|folder| folder.dev() == device) && folder.ancestors().all(is_open)
        };
        let mut folders = [places.disk.canonicalize()?, PathBuf::from("/var/tmp"), PathBuf::from("/tmp")].into_iter();
        folders.find(is_fit).context("no folder on the disk that is measured is open to the account postgres")
    }
}
