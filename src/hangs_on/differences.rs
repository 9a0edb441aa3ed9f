//! What a swap would have lost: blue's definition compared with that of the table that took its
//! place. The last check of a swap, and the oracle of its tests.

use super::canonical::same;
use super::columns::Column;
use super::definition::Definition;
use super::grant::Grant;
use super::green::{Green, Source};
use super::indexes::Index;
use crate::pg::Ident;

/// Collects sentences.
struct Differences<'a> {
    green: &'a Green,
    found: Vec<String>,
}

impl Definition {
    /// What `other`, the definition of the table that is live in place of this one, lacks or has
    /// too much, apart from what the plan asked for. Empty when nothing was lost. Foreign keys of
    /// a partitioned table count once they are on the parent, which is after [`Green::settle`];
    /// before that, those of the leaves count.
    #[must_use]
    pub fn differences(&self, other: &Definition, green: &Green) -> Vec<String> {
        let mut differences = Differences { green, found: Vec::new() };
        differences.table(self, other);
        differences.leaves(self, other);
        differences.columns(self, other);
        differences.sequences(self, other);
        differences.checks(self, other);
        differences.indexes(self, other);
        differences.foreign_keys(self, other);
        differences.policies(self, other);
        differences.grants(self, other);
        differences.found
    }
}

impl Differences<'_> {
    fn note(&mut self, what: impl Into<String>) {
        self.found.push(what.into());
    }

    fn check<T: PartialEq + std::fmt::Debug>(&mut self, what: impl std::fmt::Display, blue: &T, now: &T) {
        if blue != now {
            self.note(format!("{what}: was {blue:?}, is {now:?}"));
        }
    }

    fn table(&mut self, blue: &Definition, now: &Definition) {
        let (was, is) = (&blue.table, &now.table);
        self.check("owner", &was.owner, &is.owner);
        self.check("comment", &was.comment, &is.comment);
        self.check("row security", &was.row_security, &is.row_security);
        self.check("forced row security", &was.force_row_security, &is.force_row_security);
        self.check("tablespace", &was.tablespace, &is.tablespace);
        self.check("name", &was.name, &is.name);
        if now.leaves.is_empty() && !is.is_partitioned() {
            self.check("storage parameters", &was.options, &is.options);
            self.check("TOAST storage parameters", &was.toast_options, &is.toast_options);
            self.check("access method", &was.access_method, &is.access_method);
        }
        self.check("replica identity", &was.replica_identity, &is.replica_identity);
    }

    fn leaves(&mut self, blue: &Definition, now: &Definition) {
        for leaf in &now.leaves {
            let name = leaf.name.plain();
            let was = &blue.table;
            self.check(format!("owner of {name}"), &was.owner, &leaf.owner);
            self.check(format!("tablespace of {name}"), &was.tablespace, &leaf.tablespace);
            self.check(format!("storage parameters of {name}"), &was.options, &leaf.options);
            self.check(
                format!("TOAST storage parameters of {name}"),
                &was.toast_options,
                &leaf.toast_options,
            );
            self.check(
                format!("replica identity of {name}"),
                &was.replica_identity.kind,
                &leaf.replica_identity,
            );
            self.check(format!("row security of {name}"), &true, &leaf.row_security);
            self.check(format!("roles that reach {name} directly"), &Vec::new(), &leaf.grantees);
        }
    }

    fn columns(&mut self, blue: &Definition, now: &Definition) {
        let order: Vec<&Ident> = now.columns.iter().map(|column| &column.name).collect();
        let wanted: Vec<&Ident> = self.green.columns.iter().map(|column| &column.name).collect();
        self.check("columns", &wanted, &order);
        for column in self.green.columns.clone() {
            let Some(was) = column.blue().and_then(|name| blue.column(name)) else { continue };
            let Some(is) = now.column(&column.name) else { continue };
            let retyped =
                matches!(column.source, Source::Expression { .. }) && was.data_type != column.data_type;
            self.column(was, is, retyped);
        }
    }

    fn column(&mut self, was: &Column, is: &Column, retyped: bool) {
        let name = &is.name;
        let of = |what: &str| format!("{what} of column {name}");
        self.check(of("NOT NULL"), &was.not_null, &is.not_null);
        self.check(of("name of NOT NULL"), &was.not_null_name, &is.not_null_name);
        self.check(of("comment on NOT NULL"), &was.not_null_comment, &is.not_null_comment);
        self.check(of("identity"), &was.identity, &is.identity);
        self.check(of("comment"), &was.comment, &is.comment);
        self.check(of("statistics target"), &was.statistics_target, &is.statistics_target);
        self.check(of("options"), &was.options, &is.options);
        self.check(of("grants"), &sorted(&was.grants), &sorted(&is.grants));
        if retyped {
            self.check(of("presence of a default"), &was.default.is_some(), &is.default.is_some());
            return;
        }
        self.check(of("type"), &was.data_type, &is.data_type);
        self.check(of("collation"), &was.collation, &is.collation);
        self.check(of("storage"), &was.storage, &is.storage);
        self.check(of("compression"), &was.compression, &is.compression);
        if !same(was.default.as_deref(), is.default.as_deref()) {
            self.note(format!("{}: was {:?}, is {:?}", of("default"), was.default, is.default));
        }
        let text = |column: &Column| column.generated.as_ref().map(|generated| generated.expression.clone());
        let renamed =
            was.generated.iter().flat_map(|generated| &generated.columns).any(|read| self.is_changed(read));
        let both = was.generated.is_some() == is.generated.is_some();
        if !both || !renamed && !same(text(was).as_deref(), text(is).as_deref()) {
            self.note(format!("{}: was {:?}, is {:?}", of("generation"), was.generated, is.generated));
        }
    }

    /// Renamed or of another type: texts over it are printed differently.
    fn is_changed(&self, blue: &Ident) -> bool {
        !self
            .green
            .columns
            .iter()
            .any(|column| column.source == Source::Same(blue.clone()) && column.name == *blue)
            && !self
                .green
                .columns
                .iter()
                .any(|column| column.source == Source::Generated(blue.clone()) && column.name == *blue)
    }

    fn sequences(&mut self, blue: &Definition, now: &Definition) {
        for was in &blue.sequences {
            let Some(column) = self.green.name_of(&was.column).cloned() else { continue };
            let Some(is) = now.sequence_of(&column) else {
                self.note(format!("sequence {} no longer belongs to column {column}", was.name.plain()));
                continue;
            };
            let mut expected = was.clone();
            expected.column = column;
            if self.is_changed(&was.column) && is.data_type != was.data_type {
                expected.data_type.clone_from(&is.data_type);
                (expected.min, expected.max) = (is.min, is.max);
            }
            self.check(format!("sequence {}", was.name.plain()), &expected, is);
        }
    }

    fn checks(&mut self, blue: &Definition, now: &Definition) {
        for was in &blue.checks {
            let Some(is) = now.checks.iter().find(|is| is.name == was.name) else {
                self.note(format!("CHECK {} is gone", was.name));
                continue;
            };
            self.check(format!("comment on CHECK {}", was.name), &was.comment, &is.comment);
            self.check(format!("validity of CHECK {}", was.name), &was.validated, &is.validated);
            let text = |definition: &str| {
                definition.trim_end_matches(" NOT VALID").trim_end_matches(" NO INHERIT").to_owned()
            };
            let changed = was.columns.iter().any(|name| self.is_changed(name));
            if !changed && !same(Some(&text(&was.definition)), Some(&text(&is.definition))) {
                self.note(format!("CHECK {}: was {}, is {}", was.name, was.definition, is.definition));
            }
        }
    }

    fn indexes(&mut self, blue: &Definition, now: &Definition) {
        for planned in self.green.indexes.clone() {
            let Some(is) = now.indexes.iter().find(|is| is.name == planned.name) else {
                self.note(format!("index {} is gone", planned.name));
                continue;
            };
            let name = &planned.name;
            self.check(format!("validity of index {name}"), &true, &is.valid);
            self.check(
                format!("kind of index {name}"),
                &(planned.primary, planned.unique, planned.constraint),
                &(is.primary, is.unique, is.constraint.is_some()),
            );
            if planned.keys.is_some() {
                self.check(format!("columns of index {name}"), &planned.keys, &is.plain_keys());
            }
            if let Some(was) = blue.indexes.iter().find(|was| was.name == *name) {
                self.index(was, is, now.table.is_partitioned());
            }
        }
    }

    fn index(&mut self, was: &Index, is: &Index, partitioned: bool) {
        let of = |what: &str| format!("{what} of index {}", was.name);
        self.check(of("comment"), &was.comment, &is.comment);
        let comment =
            |index: &Index| index.constraint.as_ref().and_then(|constraint| constraint.comment.clone());
        self.check(of("constraint's comment"), &comment(was), &comment(is));
        self.check(of("statistics targets"), &was.statistics_targets, &is.statistics_targets);
        self.check(of("storage parameters"), &was.options, &is.options);
        if !partitioned {
            self.check(of("tablespace"), &was.tablespace, &is.tablespace);
            self.check(of("CLUSTER mark"), &was.clustered, &is.clustered);
        }
        let changed = was.columns.iter().any(|name| self.is_changed(name));
        let equal = same(was.body.as_deref(), is.body.as_deref())
            && same(was.predicate.as_deref(), is.predicate.as_deref());
        if !changed && !was.primary && !equal {
            self.note(format!(
                "{}: was {:?} {:?}, is {:?} {:?}",
                of("definition"),
                was.body,
                was.predicate,
                is.body,
                is.predicate
            ));
        }
    }

    fn foreign_keys(&mut self, blue: &Definition, now: &Definition) {
        for was in &blue.foreign_keys {
            let name = &was.name;
            let Some(is) = now.foreign_keys.iter().find(|is| is.name == *name) else {
                let on_leaf =
                    |leaf: &super::LeafState| leaf.own_foreign_keys.iter().any(|key| key.name == *name);
                if now.leaves.is_empty() || !now.leaves.iter().all(on_leaf) {
                    self.note(format!("foreign key {name} is gone"));
                }
                continue;
            };
            self.check(format!("comment on foreign key {name}"), &was.comment, &is.comment);
            self.check(format!("validity of foreign key {name}"), &was.validated, &is.validated);
            self.check(format!("definition of foreign key {name}"), &was.tail, &is.tail);
            self.check(
                format!("columns of foreign key {name}"),
                &self.green.green_names(&was.columns),
                &is.columns,
            );
        }
    }

    fn policies(&mut self, blue: &Definition, now: &Definition) {
        for was in &blue.policies {
            let Some(is) = now.policies.iter().find(|is| is.name == was.name) else {
                self.note(format!("policy {} is gone", was.name));
                continue;
            };
            let of = |what: &str| format!("{what} of policy {}", was.name);
            self.check(of("comment"), &was.comment, &is.comment);
            self.check(of("roles"), &was.roles, &is.roles);
            self.check(
                of("command and kind"),
                &(&was.command, was.permissive),
                &(&is.command, is.permissive),
            );
            let changed = was.columns.iter().any(|name| self.is_changed(name));
            let equal = same(was.using.as_deref(), is.using.as_deref())
                && same(was.check.as_deref(), is.check.as_deref());
            let present =
                was.using.is_some() == is.using.is_some() && was.check.is_some() == is.check.is_some();
            if !present || !changed && !equal {
                self.note(format!(
                    "{}: was {:?} {:?}, is {:?} {:?}",
                    of("condition"),
                    was.using,
                    was.check,
                    is.using,
                    is.check
                ));
            }
        }
        for extra in now.policies.iter().filter(|is| blue.policies.iter().all(|was| was.name != is.name)) {
            self.note(format!("policy {} is new", extra.name));
        }
    }

    fn grants(&mut self, blue: &Definition, now: &Definition) {
        self.check("the owner's privileges", &blue.grants.owner, &now.grants.owner);
        self.check("grants", &sorted(&blue.grants.others), &sorted(&now.grants.others));
    }
}

fn sorted(grants: &[Grant]) -> Vec<Grant> {
    let mut grants = grants.to_vec();
    for grant in &mut grants {
        grant.privileges.sort();
    }
    grants.sort();
    grants
}
