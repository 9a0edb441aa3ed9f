//! `phi rotate`: prints the plan of a rotation, made of the plan that encrypted.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::Shell;
use crate::error::{Error, ExitCode};
use crate::pg::Ident;
use crate::phi::{Format, KeyId, KeysPlan, Provider};
use crate::plan::{ColumnChange, Plan, Section, TablePlan};

/// The most characters of a plan's name.
const NAME_MAX: usize = 40;
/// What the rotation takes over from the plan.
const KEPT: [&str; 4] = ["database", "settings", "hooks", "keys"];

pub(super) fn run(shell: &Shell<'_>, path: &Path, to: Option<KeyId>) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let sections = Section::load(path, &KEPT)?;
    let to = to.map_or_else(|| "${PHI_NEW_KEY}".to_owned(), |id| id.to_string());
    shell.screen.out(rotation(&plan, sections, &to)?.trim_end());
    Ok(ExitCode::Done)
}

/// The plan's text; file names in it are relative to the folder of the plan that it is made of.
fn rotation(plan: &Plan, mut sections: Vec<Section>, to: &str) -> Result<String, Error> {
    let mut tables = String::new();
    let mut old = Vec::new();
    for table in &plan.tables {
        tables.push_str(&of_table(table, to, &mut old));
    }
    if tables.is_empty() {
        let mut columns = plan.tables.iter().flat_map(|table| &table.columns);
        if !columns.any(|(_, change)| matches!(change, ColumnChange::Encrypt { .. })) {
            return Err(Error::Usage("the plan encrypts no column, so there is no key to rotate".to_owned()));
        }
        return Err(Error::Usage(format!(
            "key {to} is the one that the plan encrypts with: nothing would change"
        )));
    }
    let of_codes =
        plan.keys.iter().flat_map(|keys| [("blind indexes", keys.blind_index), ("tags", keys.tag)]);
    for (what, key) in of_codes {
        if key.is_some_and(|key| key.to_string() == to) {
            return Err(Error::Usage(format!(
                "key {to} is the one of {what}, which do not change in a rotation: give another one"
            )));
        }
    }
    if let Some(section) = sections.iter_mut().find(|section| section.key() == "keys") {
        section.set("active", to);
        // A function gives no keys but those that it is asked for.
        if let Some(KeysPlan { provider: Provider::Function(_), decrypt_only, .. }) = &plan.keys {
            old.retain(|key| !decrypt_only.contains(key));
            if !old.is_empty() {
                section.put_first("decrypt_only", &old);
            }
        }
    }
    let kept: String = sections.iter().map(Section::to_string).collect();
    let mut written = format!(
        "# The plan of a rotation, by `projh-bluegreen phi rotate`. Keep it in the folder of the plan {}.\n",
        plan.name
    );
    let _ = write!(written, "version: 1\nname: {}\n{kept}tables:\n{tables}", name_after(&plan.name));
    Ok(written)
}

/// The name of the plan of the next rotation.
fn name_after(name: &str) -> String {
    let rotated = name.rsplit_once("-rotation").and_then(|(base, number)| {
        let number =
            number.strip_prefix('-').map_or((number.is_empty()).then_some(1), |n| n.parse::<u32>().ok());
        Some((base, number?))
    });
    let (base, suffix) = match rotated {
        Some((base, number)) => (base, format!("-rotation-{}", number.saturating_add(1))),
        None => (name, "-rotation".to_owned()),
    };
    let base: String = base.chars().take(NAME_MAX - suffix.len()).collect();
    base + &suffix
}

/// The table with its columns under other keys than `to`; nothing if it has none. `old` gets those keys.
fn of_table(table: &TablePlan, to: &str, old: &mut Vec<KeyId>) -> String {
    let mut columns = String::new();
    let (mut is_bound, mut is_guessed) = (false, false);
    for (blue, change) in &table.columns {
        let ColumnChange::Encrypt { into, format, key, bound_to, blind_index, tag, .. } = change else {
            continue;
        };
        if key.to_string() == to {
            continue;
        }
        let name = into.as_ref().unwrap_or(blue);
        let binds = *format == Format::AesGcm || tag.is_some();
        let mut more = String::new();
        let guessed = bound_to.is_none().then(|| not_widened(table)).flatten();
        is_guessed |= binds && guessed.is_some();
        if let Some(names) = bound_to.clone().or(guessed).filter(|_| binds) {
            let names: Vec<String> = names.iter().map(Ident::in_plan).collect();
            let _ = write!(more, ", bound_to: [{}]", names.join(", "));
        }
        // They are of the text, under keys of their own: the rotation keeps them.
        let tag = tag.as_ref().map(|(name, _)| name);
        for (what, code) in [("blind_index", blind_index.as_ref()), ("tag", tag)] {
            let _ = code.map(|code| write!(more, ", {what}: {}", code.in_plan()));
        }
        let _ = writeln!(
            columns,
            "      {}: {{encrypt: {{format: {}, previous: {key}{more}}}}}",
            name.in_plan(),
            format.name()
        );
        is_bound |= binds;
        if !old.contains(key) {
            old.push(*key);
        }
    }
    if columns.is_empty() {
        return columns;
    }
    let identity = if is_bound || table.replica_identity_full { "    replica_identity: full\n" } else { "" };
    let partitions = match &table.partition_by {
        Some(_) => {
            "    # It is partitioned: change the keys in place with `phi rekey`; or add `partition_by`, with another `name` or `schema`.\n"
        }
        None => "",
    };
    let guessed = match &table.partition_by {
        Some(by) if is_guessed => format!(
            "    # `bound_to` is for a primary key that the plan has widened by {}: delete it if the table had the whole key before.\n",
            by.column.in_plan()
        ),
        _ => String::new(),
    };
    let table = quoted(&table.table.plain());
    format!("  - table: {table}\n{partitions}{guessed}{identity}    columns:\n{columns}")
}

/// The key that the table had before the plan, if it was the plan that widened it by the partition key: its values are bound to it.
/// Whether it was, the plan does not say. `None` if it cannot have.
fn not_widened(table: &TablePlan) -> Option<Vec<Ident>> {
    let (key, by) = (table.primary_key.as_ref()?, table.partition_by.as_ref()?);
    let names: Vec<Ident> = key.iter().filter(|name| **name != by.column).cloned().collect();
    (!names.is_empty() && names.len() < key.len()).then_some(names)
}

/// A name as YAML takes it.
fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.');
    if is_plain { name.to_owned() } else { format!("'{}'", name.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11";
    const NEW: &str = "0b0e7a39-6a5f-4c60-8a5f-0f4c1d1f7a10";

    #[test]
    fn a_rotation_is_a_plan_from_one_key_to_the_other() {
        for keys in [
            format!("keys:\n  provider: {{file: keys.yaml}}\n  active: {ID}   # the first\n"),
            format!("keys: {{provider: {{file: keys.yaml}}, active: {ID}}}\n"),
            format!("keys: {{active: {ID}, provider: {{function: get_encryption_key}}}}\n"),
            format!("keys:\n  active: {ID}\n  provider: {{function: get_encryption_key}}\n"),
        ] {
            let text = format!(
                "version: 1\nname: p\nsettings:\n  workers: 3\n{keys}tables:\n  - table: public.patients\n    replica_identity: full\n    columns:\n      \
                 ssn: {{encrypt: {{into: '\"Ssn, encrypted\"'}}}}\n      notes: {{encrypt: {{format: aes-gcm}}}}\n      name: drop\n  - table: public.other\n    primary_key: [id]\n"
            );
            let plan = |text: &str| Plan::parse("p.yaml", text, &|_| None).unwrap();
            let written = rotation(&plan(&text), Section::of(&text, &KEPT), NEW).unwrap();
            let rotation = plan(&written);
            assert_eq!(
                (rotation.name.as_str(), rotation.settings.workers, rotation.tables.len()),
                ("p-rotation", 3, 1)
            );
            let columns = rotation.tables[0].columns.iter().map(|(name, change)| match change {
                ColumnChange::Encrypt { key, previous, .. } => (name.as_str(), *key, *previous),
                _ => panic!("{name} is not encrypted"),
            });
            let (old, new) = (ID.parse().unwrap(), NEW.parse().unwrap());
            let expected = [
                ("Ssn, encrypted", new, Some((Format::Pgp, old))),
                ("notes", new, Some((Format::AesGcm, old))),
            ];
            assert!(columns.eq(expected));
            assert!(super::rotation(&plan(&text), Section::of(&text, &KEPT), ID).is_err());
        }
    }

    #[test]
    fn a_column_that_is_under_the_key_already_is_left_as_it_is() {
        let text = format!(
            "version: 1\nname: p\nkeys: {{provider: {{function: get_encryption_key}}, active: {ID}}}\ntables:\n  - table: public.t\n    columns:\n      \
             ssn: {{encrypt: {{key: {NEW}}}}}\n      notes: {{encrypt: {{}}}}\n  - table: public.u\n    columns: {{ssn: {{encrypt: {{key: {NEW}}}}}}}\n"
        );
        let plan = |text: &str| Plan::parse("p.yaml", text, &|_| None).unwrap();
        let of = |text: &str| rotation(&plan(text), Section::of(text, &KEPT), NEW);
        let rotated = plan(&of(&text).unwrap());
        assert_eq!(rotated.tables.len(), 1);
        assert!(rotated.tables[0].columns.keys().map(Ident::as_str).eq(["notes"]));
        assert_eq!(rotated.keys.unwrap().decrypt_only, [ID.parse::<KeyId>().unwrap()]);
        let none = text.replace("notes: {encrypt: {}}", "notes: drop");
        assert!(of(&none).unwrap_err().to_string().contains("nothing would change"));
    }

    #[test]
    fn what_values_are_bound_to_is_said_or_asked() {
        let of = |encrypt: &str, key: &str| {
            let text = format!(
                "version: 1\nname: p\nkeys: {{provider: {{file: keys.yaml}}, active: {ID}}}\ntables:\n  - table: public.t\n    \
                 replica_identity: full\n    {key}partition_by: {{range: at, every: 1 day}}\n    columns: {{ssn: {{encrypt: {{{encrypt}}}}}}}\n"
            );
            let plan = Plan::parse("p.yaml", &text, &|_| None).unwrap();
            rotation(&plan, Section::of(&text, &KEPT), NEW).unwrap()
        };
        let asked = "# `bound_to` is for a primary key that the plan has widened by at: delete it";
        for (encrypt, key, is_bound, is_asked) in [
            ("format: aes-gcm", "primary_key: [id, at]\n    ", true, true),
            ("format: aes-gcm, bound_to: [id]", "primary_key: [id, at]\n    ", true, false),
            ("format: aes-gcm", "", false, false),
            ("", "primary_key: [id, at]\n    ", false, false),
        ] {
            let written = of(encrypt, key);
            assert_eq!(written.contains(", bound_to: [id]"), is_bound, "{written}");
            assert_eq!(written.contains(asked), is_asked, "{written}");
            Plan::parse(
                "p.yaml",
                &written.replace("# It is", "partition_by: {range: at, every: 1 day, schema: s}\n    #"),
                &|_| None,
            )
            .unwrap();
        }
    }

    #[test]
    fn each_rotation_has_a_name_of_its_own() {
        let long = "a-name-of-as-many-characters-as-a-plan-may";
        let mut name = long[..40].to_owned();
        for expected in
            ["a-name-of-as-many-characters-as-rotation", "a-name-of-as-many-characters--rotation-2"]
        {
            name = name_after(&name);
            assert_eq!((name.as_str(), name.len()), (expected, 40));
        }
        assert_eq!(name_after("p-rotation-of-x"), "p-rotation-of-x-rotation");
        assert_eq!(name_after("p-rotation-9"), "p-rotation-10");
    }

    #[test]
    fn a_function_is_asked_for_all_old_keys() {
        const FIRST: &str = "5a3c9b1e-0d57-4f0e-9a0f-77a4f8d7c001";
        let of = |keys: &str| {
            let text = format!(
                "version: 1\nname: p\nkeys:{keys}\ntables:\n  - table: public.t\n    columns: {{ssn: {{encrypt: {{}}}}}}\n"
            );
            let plan = |text: &str| Plan::parse("p.yaml", text, &|_| None).unwrap();
            plan(&rotation(&plan(&text), Section::of(&text, &KEPT), NEW).unwrap()).keys.unwrap()
        };
        let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect::<Vec<KeyId>>();
        let function = "provider: {function: get_key}";
        for (keys, asked) in [
            (format!(" {{{function}, active: {ID}, decrypt_only: [{FIRST}]}}"), vec![ID, FIRST]),
            (format!("\n  decrypt_only: [{FIRST}]\n  {function}\n  active: {ID}"), vec![ID, FIRST]),
            (format!("\n  decrypt_only:\n    - {FIRST}\n  active: {ID}\n  {function}"), vec![ID, FIRST]),
            (
                format!("\n  decrypt_only:   # [none]\n    - {FIRST}\n  active: {ID}\n  {function}"),
                vec![ID, FIRST],
            ),
            (
                format!("   # active: encrypts\n  {function}   # decrypt_only: none\n  active: \"{ID}\""),
                vec![ID],
            ),
            (format!("\n  provider: {{env: K}}\n  active:   {ID}\n  decrypt_only: [{FIRST}]"), vec![FIRST]),
        ] {
            let rotated = of(&keys);
            assert_eq!((rotated.active, rotated.decrypt_only), (NEW.parse().unwrap(), ids(&asked)), "{keys}");
        }
    }
}
