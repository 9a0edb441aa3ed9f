//! The plan's file: what can be wrong with it before its text is parsed.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::problem::{Problems, nearest};

/// Larger than any plan: a file of this size is something else.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// The file's name for messages, and its text.
pub(super) fn read(path: &Path) -> Result<(String, String), Problems> {
    let label = path.display().to_string();
    let refuse = |message: String, hint: Option<String>| Problems::of_file(&label, message, hint.as_deref());
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => refuse("there is no such file".to_owned(), near(path)),
        ErrorKind::PermissionDenied => refuse(
            "cannot be read: permission denied".to_owned(),
            Some("check its permissions, and those of its directory".to_owned()),
        ),
        _ => refuse(format!("cannot be read: {error}"), None),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(refuse("is a directory; a plan is a YAML file".to_owned(), None));
    }
    if metadata.len() > MAX_BYTES {
        let message = format!("has {} bytes; a plan has at most {MAX_BYTES}", metadata.len());
        return Err(refuse(message, None));
    }
    let text = String::from_utf8(fs::read(path).map_err(unreadable)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let message = format!("is not UTF-8 text: line {line} has an invalid byte");
        refuse(message, Some("save it as UTF-8".to_owned()))
    })?;
    Ok((label, text))
}

/// Suggests a file beside it that was probably meant.
fn near(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else {
        return Some(format!("there is no directory {} either", folder.display()));
    };
    let names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let near = nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(format!("did you mean `{}`?", path.with_file_name(near).display()))
}
