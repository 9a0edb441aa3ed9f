//! The characters that the checklist is drawn with.

/// The characters of the checklist.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyphs {
    pub(super) done: &'static str,
    pub(super) failed: &'static str,
    pub(super) to_do: &'static str,
    pub(super) turning: &'static [&'static str],
    pub(super) bar: (&'static str, &'static str),
    pub(super) cut: &'static str,
}

/// Used if the locale is UTF-8.
pub(super) const UNICODE: Glyphs = Glyphs {
    done: "✓",
    failed: "✗",
    to_do: "·",
    turning: &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
    bar: ("█", "░"),
    cut: "…",
};
/// Used in all other locales.
pub(super) const ASCII: Glyphs =
    Glyphs { done: "x", failed: "!", to_do: "-", turning: &["|", "/", "-", "\\"], bar: ("#", "."), cut: "~" };
