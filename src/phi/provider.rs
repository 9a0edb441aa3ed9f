//! Where keys come from: a file, a variable of the environment, a command, or a function in the database.
//!
//! Invariants: a command is executed without a shell, for a limited time, and nothing that it prints is reported. Once keys
//! are held, the process writes no core dump; and no child gets the variable that they come from, held or not.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_postgres::Client;
use zeroize::Zeroizing;

use super::keyfile::{self, DOCUMENT_MAX, Entry, Wrong};
use super::refused::NOT_COVERED;
use super::{Key, KeyError, KeyId, Keyring};
use crate::pg::QName;

/// Which keys a plan uses, and where they come from. It has no key in it; the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysPlan {
    /// Where they come from.
    pub provider: Provider,
    /// The key that encrypts, unless a column has another one.
    pub active: KeyId,
    /// The key of blind indexes.
    pub blind_index: Option<KeyId>,
    /// The key of tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<KeyId>,
    /// More keys to ask a function for: those that values are encrypted with now.
    pub decrypt_only: Vec<KeyId>,
    /// A program with its arguments that turns a wrapped key, on its standard input, into a key.
    pub unwrap: Option<Vec<String>>,
    /// How long a command may take.
    pub timeout: Duration,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// A file that only its owner, or its group, can read.
    File(PathBuf),
    /// A variable of the environment.
    Env(Variable),
    /// A program with its arguments, such as a client of a KMS or a vault.
    Command(Vec<String>),
    /// A function in the database that gives a key's text for its id.
    Function(QName),
}

/// The name of a variable that has keys. Invariant: once it is read, from a plan or from the journal, no child gets the variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Variable(String);

impl From<String> for Variable {
    fn from(name: String) -> Self {
        hide(&name);
        Self(name)
    }
}

/// Why there is no key ring. Never with a key, or with what a command printed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be used.
    #[error("the key file {} cannot be used: {why}", .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The variable is not set, or is no text.
    #[error("the environment variable {0}, which has the keys, is not set")]
    Env(String),
    /// A command failed.
    #[error("the key command {program} {why}")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// What it did.
        why: String,
    },
    /// The function failed.
    #[error("the key function {function} gave no key {id}{}", .code.as_ref().map_or_else(String::new, |code| format!(": SQLSTATE {code}")))]
    Function {
        /// The function.
        function: String,
        /// The key that it was asked for.
        id: KeyId,
        /// The SQLSTATE of the server's error; its message could have a key in it.
        code: Option<String>,
        /// Whether the connection was lost.
        is_transient: bool,
    },
    /// The document is malformed.
    #[error("the keys that {from} gave cannot be read: {wrong}")]
    Document {
        /// Where it is from.
        from: String,
        /// What is wrong.
        wrong: Wrong,
    },
    /// A key cannot be used.
    #[error("key {id} cannot be used: {why}")]
    Key {
        /// Its id.
        id: KeyId,
        /// What is wrong with it.
        why: KeyError,
    },
    /// A wrapped key, without a command that unwraps it.
    #[error("key {0} is wrapped, and the plan has no `unwrap` command")]
    Wrapped(KeyId),
    /// The plan uses a key that was not given.
    #[error("the key provider did not give key {0}, which the plan uses")]
    Missing(KeyId),
    /// The plan encrypts with a passphrase.
    #[error("key {0} is a passphrase: it can decrypt, and not encrypt")]
    Passphrase(KeyId),
    /// The plan uses a format that this build refuses.
    #[error("values under key {0} are in {NOT_COVERED}")]
    NotCovered(KeyId),
}

impl KeysError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::File { .. } => "give the path of a file that only this user can read: chmod 600",
            Self::Env(_) => "export it in the shell that executes",
            Self::Command { .. } => {
                "run the command by hand: it has to print `keys:` with its ids, and end with exit code 0"
            }
            Self::Function { .. } => {
                "it takes a uuid and returns text; grant execute on it to this role, and give it the key"
            }
            Self::Document { .. } => "its form is in docs/phi.md",
            Self::Key { id, .. } => {
                return format!(
                    "`projh-bluegreen phi keygen` makes a key; or write {id}: {{passphrase: ...}}"
                );
            }
            Self::Wrapped(_) => "give `unwrap: [program, argument, ...]` under `keys`",
            Self::Missing(id) => return format!("add {id} to what the provider gives"),
            Self::Passphrase(_) => {
                "make a key of 256 bits with `projh-bluegreen phi keygen`, and name it in the plan"
            }
            Self::NotCovered(_) => {
                "give `format: aes-gcm` for new values; the ordinary build reads and rotates those in the format pgp"
            }
        };
        text.to_owned()
    }

    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Function { is_transient: true, .. })
    }
}

impl KeysPlan {
    /// Gets the keys. `client` is for a function in the database.
    ///
    /// # Errors
    /// If the provider fails, or does not give every key that the plan uses.
    pub async fn load(&self, client: &Client) -> Result<Keyring, KeysError> {
        keep_out_of_core_dumps();
        let keys = match &self.provider {
            Provider::Function(function) => self.ask(client, function).await?,
            Provider::File(path) => self.keys(&path.display().to_string(), file(path)?).await?,
            Provider::Env(Variable(name)) => {
                let text = std::env::var(name).map_err(|_| KeysError::Env(name.clone()))?;
                self.keys(&format!("the variable {name}"), Zeroizing::new(text)).await?
            }
            Provider::Command(words) => {
                let printed = command(words, None, self.timeout).await?;
                let program = words.first().map_or("", String::as_str);
                self.keys(&format!("the command {program}"), printed).await?
            }
        };
        let keyring = Keyring::new(keys);
        for id in self.encrypting() {
            let key = keyring.get(id).ok_or(KeysError::Missing(id))?;
            if !key.encrypts() {
                return Err(KeysError::Passphrase(id));
            }
        }
        Ok(keyring)
    }

    /// The keys that have to be able to encrypt.
    fn encrypting(&self) -> impl Iterator<Item = KeyId> {
        std::iter::once(self.active).chain(self.blind_index).chain(self.tag)
    }

    async fn ask(&self, client: &Client, function: &QName) -> Result<Vec<Key>, KeysError> {
        let mut keys = Vec::new();
        for id in self.encrypting().chain(self.decrypt_only.iter().copied()) {
            let error = |source: Option<tokio_postgres::Error>| KeysError::Function {
                function: function.plain(),
                id,
                code: source.as_ref().and_then(|error| Some(error.code()?.code().to_owned())),
                is_transient: source.as_ref().is_some_and(crate::pg::is_transient),
            };
            let row = client.query_one(&format!("SELECT {function}($1::uuid)::text"), &[&id]).await;
            let text: Option<String> =
                row.and_then(|row| row.try_get(0)).map_err(|source| error(Some(source)))?;
            let text = Zeroizing::new(text.ok_or_else(|| error(None))?);
            keys.push(Key::from_either(id, &text).map_err(|why| KeysError::Key { id, why })?);
        }
        Ok(keys)
    }

    async fn keys(&self, from: &str, document: Zeroizing<String>) -> Result<Vec<Key>, KeysError> {
        let wrong = |wrong| KeysError::Document { from: from.to_owned(), wrong };
        let mut keys = Vec::new();
        for (id, entry) in keyfile::read(&document).map_err(wrong)? {
            let key = match entry {
                Entry::Key(text) => Key::from_base64(id, &text),
                Entry::Passphrase(text) => Key::from_passphrase(id, &text),
                Entry::Wrapped(wrapped) => {
                    let words = self.unwrap.as_deref().ok_or(KeysError::Wrapped(id))?;
                    Key::from_base64(id, &command(words, Some(&wrapped), self.timeout).await?)
                }
            };
            keys.push(key.map_err(|why| KeysError::Key { id, why })?);
        }
        Ok(keys)
    }
}

/// Reads a file of keys, if others can neither read nor write it.
fn file(path: &PathBuf) -> Result<Zeroizing<String>, KeysError> {
    let failed = |why: String| KeysError::File { path: path.clone(), why };
    // A pipe without a writer would be waited for.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let mut file = file.map_err(|error| failed(error.kind().to_string()))?;
    let found = file.metadata().map_err(|error| failed(error.kind().to_string()))?;
    let us = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        return Err(failed("it is not a file".to_owned()));
    }
    if found.mode() & 0o027 != 0 {
        let mode = found.mode() & 0o777;
        return Err(failed(format!(
            "its mode is {mode:03o}: others can read it, or its group can write it; chmod 600"
        )));
    }
    if ![0, us].contains(&found.uid()) {
        return Err(failed("it belongs to another user, who can change it".to_owned()));
    }
    if found.len() > DOCUMENT_MAX as u64 {
        return Err(failed("it is larger than 1 MiB".to_owned()));
    }
    let mut text = Zeroizing::new(String::with_capacity(DOCUMENT_MAX.min(found.len() as usize + 1)));
    file.read_to_string(&mut text).map_err(|error| failed(error.kind().to_string()))?;
    Ok(text)
}

/// What a command prints. It is ended, with what it started, when the time is over.
async fn command(
    words: &[String],
    input: Option<&str>,
    timeout: Duration,
) -> Result<Zeroizing<String>, KeysError> {
    let (program, arguments) =
        words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let failed = |why: String| KeysError::Command { program: program.to_owned(), why };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).kill_on_drop(true).process_group(0);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    without_keys(command.as_std_mut());
    let mut child =
        command.spawn().map_err(|error| failed(format!("could not be started: {}", error.kind())))?;
    let group = child.id();
    let work = async {
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A command that does not read its input fails in another way.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let mut printed = Zeroizing::new(Vec::with_capacity(DOCUMENT_MAX + 1));
        if let Some(stdout) = child.stdout.take() {
            let read = stdout.take(DOCUMENT_MAX as u64 + 1).read_to_end(&mut printed).await;
            read.map_err(|error| failed(format!("could not be read from: {}", error.kind())))?;
        }
        if printed.len() > DOCUMENT_MAX {
            return Err(failed("printed more than 1 MiB".to_owned()));
        }
        let status = child.wait().await.map_err(|error| failed(format!("was lost: {}", error.kind())))?;
        if !status.success() {
            return Err(failed(format!("failed: {status}")));
        }
        match std::str::from_utf8(&printed) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(failed("printed something that is not text".to_owned())),
        }
    };
    let outcome = match tokio::time::timeout(timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(failed(format!("did not end within {} s", timeout.as_secs_f64()))),
    };
    if let Some(group) = group.filter(|_| outcome.is_err()) {
        let group = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw);
        // Nobody may be left.
        let _ = group.map(|group| rustix::process::kill_process_group(group, rustix::process::Signal::KILL));
    }
    outcome
}

/// Variables of the environment that have keys.
static HIDDEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn hide(name: &str) {
    let mut hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !hidden.iter().any(|known| known == name) {
        hidden.push(name.to_owned());
    }
}

/// Keeps keys out of the environment of a command that is to be started.
pub fn without_keys(command: &mut Command) {
    for name in HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
}

fn keep_out_of_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // It can always be lowered.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
