//! `postroom inspect`: what is in a data directory, told line by line; nothing is changed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use broker::{Bodies, Detail, Field, InspectError, Inspected, Inspection, Note};
use storage::disk::{Disk, RealDisk};

use crate::folders::{VHOSTS, existing, folder_name};

/// What to look at, and how closely.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArguments {
    /// The data directory; that of a running broker may be looked at too, but what it is writing or
    /// deleting meanwhile may show as damage
    #[arg(
        long,
        value_name = "DIR",
        env = "POSTROOM_DATA_DIR",
        hide_env_values = true,
        default_value = "./postroom-data"
    )]
    pub(crate) data_dir: PathBuf,

    /// Only this virtual host, and not the catalogue
    #[arg(long, value_name = "NAME")]
    pub(crate) vhost: Option<String>,

    /// How much to tell
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Telling::Frames)]
    pub(crate) detail: Telling,

    /// A JSON object a line, for programs
    #[arg(long)]
    pub(crate) json: bool,

    /// Only these journal files and segments, or directories of such, wherever they are
    #[arg(value_name = "PATH", conflicts_with = "vhost")]
    pub(crate) paths: Vec<PathBuf>,
}

/// How much to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Telling {
    /// Files, and what of them is damaged
    Files,
    /// Also every frame of a journal, with what is in it, and every run of a segment
    Frames,
    /// Also every record, and every block of a segment; of messages only sizes
    Records,
    /// Also the messages, with their bodies
    Bodies,
}

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectFailure {
    #[error(
        "{} is no data directory: it has neither a catalogue nor virtual hosts; name the right one \
         with --data-dir",
        .0.display()
    )]
    NothingThere(PathBuf),
    #[error("{} has no folder of a virtual host '{vhost}'", data_dir.display())]
    NoVhost { data_dir: PathBuf, vhost: String },
    #[error("{}: {error}", path.display())]
    Path { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Inspect { path: PathBuf, error: InspectError },
}

/// A directory to look at, and the files in it that are meant; all if there are none.
struct Place {
    directory: PathBuf,
    files: Vec<String>,
}

/// Prints what is there. The exit code says whether something is damaged.
pub(crate) fn run(arguments: &InspectArguments) -> Result<ExitCode, InspectFailure> {
    let style = if arguments.json { Style::Json } else { Style::Text };
    let (detail, bodies) = match arguments.detail {
        Telling::Files => (Detail::Files, Bodies::Hidden),
        Telling::Frames => (Detail::Frames, Bodies::Hidden),
        Telling::Records => (Detail::Records, Bodies::Hidden),
        Telling::Bodies => (Detail::Records, Bodies::Shown),
    };
    let mut damaged = false;
    for Place { directory, files } in places(arguments)? {
        style.heading(&directory);
        let inspection = Inspection { detail, bodies, files };
        let disk = open_disk(&directory)
            .map_err(|error| InspectFailure::Path { path: directory.clone(), error })?;
        let found = broker::inspect(&disk, &inspection, &mut |note| style.note(&directory, &note))
            .map_err(|error| InspectFailure::Inspect { path: directory, error })?;
        damaged |= found != Inspected::default();
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn places(arguments: &InspectArguments) -> Result<Vec<Place>, InspectFailure> {
    let InspectArguments { data_dir, vhost, paths, .. } = arguments;
    if !paths.is_empty() {
        return paths.iter().map(|path| place(path)).collect();
    }
    let mut folders = existing(data_dir)
        .map_err(|error| InspectFailure::Path { path: data_dir.clone(), error })?;
    if folders.is_empty() {
        return Err(InspectFailure::NothingThere(data_dir.clone()));
    }
    if let Some(vhost) = vhost {
        let wanted = Path::new(VHOSTS).join(folder_name(vhost));
        folders.retain(|folder| *folder == wanted);
        if folders.is_empty() {
            let (data_dir, vhost) = (data_dir.clone(), vhost.clone());
            return Err(InspectFailure::NoVhost { data_dir, vhost });
        }
    }
    let place = |folder: PathBuf| Place { directory: data_dir.join(folder), files: Vec::new() };
    Ok(folders.into_iter().map(place).collect())
}

fn place(path: &Path) -> Result<Place, InspectFailure> {
    let failed = |error| InspectFailure::Path { path: path.to_path_buf(), error };
    if path.metadata().map_err(failed)?.is_dir() {
        return Ok(Place { directory: path.to_path_buf(), files: Vec::new() });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default().to_owned();
    if !broker::is_stored_file(&file) {
        return Err(failed(io::Error::other(
            "it has not the name of a journal file or a segment (journal-…, spare-…, segment-…)",
        )));
    }
    Ok(Place { directory: parent.unwrap_or(Path::new(".")).to_path_buf(), files: vec![file] })
}

/// A disk makes its directory; here it must be there.
pub(crate) fn open_disk(path: &Path) -> io::Result<Arc<dyn Disk>> {
    std::fs::read_dir(path)?;
    Ok(Arc::new(RealDisk::open(path)?))
}

/// How lines are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Text,
    Json,
}

impl Style {
    /// What follows is about this directory.
    pub(crate) fn heading(self, directory: &Path) {
        if self == Style::Text {
            say(&format!("== {}", directory.display()));
        }
    }

    pub(crate) fn note(self, directory: &Path, note: &Note) {
        if self == Style::Text {
            say(&note.to_string());
            return;
        }
        let mut object = serde_json::Map::new();
        object.insert("kind".into(), note.kind.into());
        object.insert("directory".into(), directory.to_string_lossy().into());
        for (name, field) in &note.fields {
            let value = match field {
                Field::Number(number) => (*number).into(),
                Field::Text(text) => text.as_str().into(),
            };
            object.insert((*name).into(), value);
        }
        object.insert("text".into(), note.text.as_str().into());
        say(&serde_json::Value::Object(object).to_string());
    }
}

/// A reader that goes away (`| head`) is no failure.
pub(crate) fn say(line: &str) {
    let _gone = writeln!(io::stdout().lock(), "{line}");
}
