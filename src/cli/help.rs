//! The text below the options in `--help` and on the man page: examples and exit codes.

pub(super) const PROGRAM: &str = "\
Examples:
  projh-bluegreen check plan.yaml       report all that stands in the way
  projh-bluegreen execute plan.yaml     migrate; asks before the swap
  projh-bluegreen status --watch        follow its progress, from any other terminal

Exit codes:
  0  done
  1  an unexpected failure; the run can be resumed
  2  usage, or the plan is not valid
  3  refused by a check before anything was changed, or the plan changed since the run began
  4  verification found a difference; nothing was swapped (in the soak: back)
  5  the swap did not fit into its budget, or a gate failed; the run can be resumed
  6  rolled back
  7  interrupted; the run can be resumed
  8  another orchestrator holds this run

Blue is the original table, green its shadow; the words stay with the relation for the whole run.";

pub(super) const CHECK: &str = "\
Example:
  projh-bluegreen check plans/project-h/appointments.yaml

Exit code 0: nothing stands in the way. 2: the plan is not valid. 3: refused, with a hint for each.";

pub(super) const EXECUTE: &str = "\
Examples:
  projh-bluegreen execute plan.yaml --dry-run         preview steps, locks and cost; changes nothing
  projh-bluegreen execute plan.yaml                   asks before the swap
  projh-bluegreen execute plan.yaml --until verify    all that clients cannot notice; run again to go on
  projh-bluegreen execute plan.yaml --yes --json      for a pipeline: no question, one JSON object a line
  projh-bluegreen execute plan.yaml --hold-swap       waits, verified and current, for `projh-bluegreen swap`

With a soak it stays after the swap, and applies the new table's changes to the old one. Ctrl-C once stops it after the work in hand, twice at once; in both cases `execute` resumes where it stopped.";

pub(super) const STATUS: &str = "\
Examples:
  projh-bluegreen status                    all runs of the database that PGHOST, PGDATABASE, ... select
  projh-bluegreen status plan.yaml --watch  one run, until there is nothing left to do";

pub(super) const ROLLBACK: &str = "\
Examples:
  projh-bluegreen rollback plan.yaml
  projh-bluegreen rollback plan.yaml --drop-green    no other swap is wanted

Before the swap: drops the slots, the publications and both schemas of the run; the journal is kept as evidence. During the soak: catches up, compares every row, and exchanges the tables again, with all that was written since the swap; green is kept. Given again, it says what was done, and drops green only with --drop-green, or after a question on a terminal. If another process executes the run, that process carries it out. Exit code 6.";

pub(super) const SWAP: &str = "\
Example:
  projh-bluegreen swap plan.yaml

Returns when the tables were exchanged, or with the reason and the exit code why they were not. If another process holds the swap, that process carries it out. If nobody executes the run, and it was verified, the command catches up, compares every row, swaps and settles by itself, without a question; then `execute` has to run for the soak. Gates are asked, so a run whose plan has some is named by the plan's file.";

pub(super) const PAUSE: &str = "\
Example:
  projh-bluegreen pause plan.yaml

Green, or in the soak blue, falls behind meanwhile, and the slots retain WAL: wal_budget still counts.";

pub(super) const RESUME: &str = "\
Example:
  projh-bluegreen resume plan.yaml";

pub(super) const SET: &str = "\
Examples:
  projh-bluegreen set plan.yaml workers=8 wal_budget=16GiB
  projh-bluegreen set plan.yaml swap.window=none      the swap need not wait
  projh-bluegreen set plan.yaml workers=plan          as the plan says again

The keys are those of the plan's `settings`. What is set counts within a second, and for every later `execute` of the run: it takes precedence over the plan. Workers of a copy begin, or end after the chunk in hand; an index build or a comparison keeps the number that it has begun with. `status` lists what was set, by whom and when.";

pub(super) const VERIFY: &str = "\
Example:
  projh-bluegreen verify plan.yaml

Carried out by the process that executes the run, while it waits before the swap or in the soak; otherwise by the command itself, once green's indexes are built, and nothing else of the run is done. Exit code 4: rows differ; during the soak, there is no way back as long as they do.";

pub(super) const FINISH: &str = "\
Examples:
  projh-bluegreen finish plan.yaml --yes
  projh-bluegreen finish plan.yaml --yes --force    although the way back does not verify, or work is left

Drops blue, or moves it to the plan's settings.archive. In the soak, every row is compared first; if blue does not verify, nothing is given up. --force compares nothing.

A session caches the row types that its functions use (PL/pgSQL: t%rowtype). If a function names the table, and the run's role may not alter it, finish waits for sessions that are older than the swap, and lists them: once blue is dropped, such calls fail in them until they reconnect. --now does not wait.";

pub(super) const PARTITIONS: &str = "\
Examples:
  projh-bluegreen partitions plan.yaml --dry-run
  projh-bluegreen partitions plan.yaml --ahead 6 --yes    from cron, once a day

Works on tables that the plan's swap has partitioned by `every`. New partitions are like their siblings. Rows in the default partition that belong to one are moved while clients read and write them. `retention` in the plan says which old partitions are archived or dropped: those of the plan's own periods and names. Doing it twice equals doing it once. In the soak, partitions are created, but none is detached.";

pub(super) const FIND: &str = "\
Example:
  projh-bluegreen find plan.yaml app.visits 4f1c09aa53d2e871

Reads both tables in full. The digest is keyed with a secret that is kept in the journal: without the journal it reveals nothing.";

pub(super) const PHI: &str = "\
Examples:
  projh-bluegreen phi keygen > phi-keys.yaml
  projh-bluegreen phi coverage plan.yaml
  projh-bluegreen phi rotate plan.yaml --to ID > rotation.yaml
  projh-bluegreen phi rekey plan.yaml";

pub(super) const KEYGEN: &str = "\
Examples:
  projh-bluegreen phi keygen > phi-keys.yaml    after `umask 077`
  projh-bluegreen phi keygen --json | vault kv put secret/phi-keys -
In the plan: keys: {provider: {file: phi-keys.yaml}, active: <its id>}";

pub(super) const COVERAGE: &str = "\
Examples:
  projh-bluegreen phi coverage plan.yaml --json | jq 'select(.type == \"phi_column\")'

It covers the columns that the plan encrypts, and in all tables those whose comment begins with the word PHI. Every value is read, and opened with the keys of the plan's provider. With plaintext anywhere in them it ends with exit code 4. Places where plaintext remains are listed, and do not change the exit code.";

pub(super) const ROTATE: &str = "\
Examples:
  projh-bluegreen phi keygen                       give the new key to the provider
  projh-bluegreen phi rotate plan.yaml --to ID > rotation.yaml
  projh-bluegreen execute rotation.yaml

The provider has to give both keys. The way back encrypts with the old one.";

pub(super) const REKEY: &str = "\
Examples:
  projh-bluegreen phi rekey plan.yaml --dry-run    how many values, and how long
  projh-bluegreen phi rekey plan.yaml

Give the provider the new key, make it `active` in the plan, and execute it: each value of the plan's columns that names another key, or none, is opened and encrypted again. The provider has to give the old keys as well. Clients go on; triggers fire, and WAL is written, as for any UPDATE. Exit code 4 if values cannot be opened: they are left as they are.";

pub(super) const SCHEMA: &str = "\
Examples:
  projh-bluegreen schema > plan.schema.json             # yaml-language-server: $schema=plan.schema.json
  projh-bluegreen schema --events > events.schema.json  for the lines of --json";

pub(super) const COMPLETIONS: &str = "\
Examples:
  projh-bluegreen completions bash > /etc/bash_completion.d/projh-bluegreen
  projh-bluegreen completions zsh  > ~/.zfunc/_projh-bluegreen
  projh-bluegreen completions fish > ~/.config/fish/completions/projh-bluegreen.fish";

pub(super) const MAN: &str = "\
Examples:
  projh-bluegreen man | man -l -
  projh-bluegreen man --dir /usr/local/share/man/man1";
