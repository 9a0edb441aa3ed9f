//! The signs that a terminal is drawn with.

/// The signs of the checklist; plain ones where the locale is not UTF-8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyphs {
    pub(super) done: &'static str,
    pub(super) failed: &'static str,
    pub(super) to_do: &'static str,
    pub(super) turning: &'static [&'static str],
    pub(super) bar: (&'static str, &'static str),
    pub(super) cut: &'static str,
}

/// For terminals that know them.
pub(super) const UNICODE: Glyphs = Glyphs {
    done: "✓",
    failed: "✗",
    to_do: "·",
    turning: &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
    bar: ("█", "░"),
    cut: "…",
};
/// For all others.
pub(super) const ASCII: Glyphs =
    Glyphs { done: "x", failed: "!", to_do: "-", turning: &["|", "/", "-", "\\"], bar: ("#", "."), cut: "~" };
